//! An answer's body that is given up when its next bytes do not come.
//!
//! Does not own: the answer's head, whose time is the request's. Time runs only while somebody waits for more, so a
//! reader that is slow itself is never cut off.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::HttpError;
use tokio::time::{Sleep, sleep};

use super::error;

/// A body that is read.
pub struct Answer {
    body: reqwest::Body,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    /// Waits so long for each next piece of a body.
    pub fn new(body: reqwest::Body, patience: Duration) -> Self {
        Self { body, patience, waiting: None }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(error::of_reqwest)));
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Some(Err(error::stalled(patience))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
