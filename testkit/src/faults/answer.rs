//! Answers: a status, a few headers, and bytes; and S3's way to say that something is wrong.
//!
//! Does not own: which answer is given. Codes and statuses are Amazon's.

use bytes::Bytes;

use super::{plan::Fault, request::Operation};
use crate::xml::escape;

/// What goes back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Answer {
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub fn xml(body: &str) -> Self {
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}");
        Self { body: body.into(), ..Self::empty(200) }.with("content-type", "application/xml".to_owned())
    }

    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let message = escape(message);
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Self { status, ..Self::xml(&body) }
    }

    pub fn no_such_key() -> Self {
        Self::error(404, "NoSuchKey", "The specified key does not exist.")
    }

    pub fn no_such_upload() -> Self {
        Self::error(404, "NoSuchUpload", "The specified upload does not exist.")
    }

    pub fn no_such_bucket() -> Self {
        Self::error(404, "NoSuchBucket", "The specified bucket does not exist")
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    #[must_use]
    pub fn with_etag(self, etag: &str) -> Self {
        self.with("etag", format!("\"{etag}\""))
    }
}

/// What a fault of the store's own says.
pub(super) fn refusal(fault: Fault, operation: Operation) -> Answer {
    let (status, code, message) = match fault {
        Fault::InternalError => (500, "InternalError", "We encountered an internal error. Please try again."),
        Fault::SlowDown => (503, "SlowDown", "Please reduce your request rate."),
        Fault::TooManyRequests => (429, "TooManyRequests", "Please reduce your request rate."),
        Fault::ErrorIn200 => (200, "InternalError", "We encountered an internal error. Please try again."),
        Fault::ExpiredToken => (400, "ExpiredToken", "The provided token has expired."),
        Fault::ClockSkew => (
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        Fault::AccessDenied => (403, "AccessDenied", "Access Denied"),
        Fault::NotImplemented => {
            (501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        }
        Fault::NoSuchBucket => return Answer::no_such_bucket(),
        _ => (409, "ConditionalRequestConflict", "A conflicting conditional operation is in progress."),
    };
    let answer = Answer::error(status, code, message);
    // A HEAD has no body to say why.
    if operation == Operation::Head { Answer { body: Bytes::new(), ..answer } } else { answer }
}
