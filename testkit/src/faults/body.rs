//! The bytes of an answer on their way, and answers that break off in the middle.
//!
//! Does not own: which ones do (`plan`). An answer that breaks off has promised its whole length before.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Response,
    body::{Body, Frame, SizeHint},
};
use tokio::time::Sleep;

use super::answer::Answer;

/// Makes a response of an answer; one that is to break ends after half of its bytes.
pub(super) fn respond(answer: Answer, broken: bool) -> Response<Sent> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let mut body = Sent { bytes: answer.body, breaking: None };
    if broken {
        response = response.header("content-length", body.bytes.len());
        body.bytes.truncate(body.bytes.len() / 2);
        body.breaking = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
    }
    response.body(body).expect("the store's headers are valid")
}

/// The body of an answer; one that breaks gives its bytes time to leave, and then fails.
pub(super) struct Sent {
    bytes: Bytes,
    breaking: Option<Pin<Box<Sleep>>>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        let Some(breaking) = &mut self.breaking else { return Poll::Ready(None) };
        ready!(breaking.as_mut().poll(context));
        Poll::Ready(Some(Err(io::Error::other("cut short on purpose"))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.breaking.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.breaking.is_some() { SizeHint::new() } else { SizeHint::with_exact(self.bytes.len() as u64) }
    }
}
