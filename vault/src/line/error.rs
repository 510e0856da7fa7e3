//! What went wrong on the line, in the words by which the store's client decides whether to try again.
//!
//! Does not own: that decision. `Request` says that the store did not answer, and is tried again also for writes;
//! `Timeout` and `Interrupted` only for what may be done twice. URLs are left out: the store's client adds them.

use std::{error::Error, io, time::Duration};

use object_store::client::{HttpError, HttpErrorKind};

#[derive(Debug, thiserror::Error)]
#[error("operation timed out: nothing moved on the connection for {0:?}")]
struct Stalled(Duration);

#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct BrokenOff(#[source] Box<dyn Error + Send + Sync>);

#[derive(Debug, thiserror::Error)]
#[error("501 Not Implemented{condition}: {words}")]
struct NotImplemented {
    condition: &'static str,
    words: String,
}

/// The store cannot do what it was asked for, with or without the condition that a name must be free.
pub fn not_implemented(conditional: bool, body: &str) -> HttpError {
    let condition = if conditional { " for a request with `If-None-Match`" } else { "" };
    HttpError::new(HttpErrorKind::Unknown, NotImplemented { condition, words: crate::words::plain(body) })
}

/// An error with its causes, on one line.
pub fn causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

/// Nothing moved for so long.
pub fn stalled(patience: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Stalled(patience))
}

/// The answer ended before it was whole.
pub fn broken_off(error: Box<dyn Error + Send + Sync>) -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, BrokenOff(error))
}

/// The client failed.
pub fn of_reqwest(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        of_causes(error.source()).unwrap_or(HttpErrorKind::Unknown)
    };
    HttpError::new(kind, error.without_url())
}

fn of_causes(mut cause: Option<&(dyn Error + 'static)>) -> Option<HttpErrorKind> {
    while let Some(error) = cause {
        let kind =
            error.downcast_ref().and_then(of_hyper).or_else(|| error.downcast_ref().and_then(of_system));
        if kind.is_some() {
            return kind;
        }
        cause = error.source();
    }
    None
}

fn of_hyper(error: &hyper::Error) -> Option<HttpErrorKind> {
    // One that is cancelled waited for a connection that ended, and was never sent.
    let not_answered = error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted();
    if not_answered || error.is_canceled() {
        return Some(HttpErrorKind::Request);
    }
    error.is_timeout().then_some(HttpErrorKind::Timeout)
}

fn of_system(error: &io::Error) -> Option<HttpErrorKind> {
    match error.kind() {
        io::ErrorKind::TimedOut => Some(HttpErrorKind::Timeout),
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Some(HttpErrorKind::Interrupted),
        _ => None,
    }
}
