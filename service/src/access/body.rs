//! The bodies of a call: a request that is bounded in size and time, and a response that counts as a running call.
//!
//! Does not own: decoding. The length of a message stands before its bytes, so one that is too long is refused before
//! any of them is held.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tonic::{Status, body::Body};

use super::{Reason, Refusals, who::Running};

/// Largest message of a request.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Most bytes of all messages of a request.
const MAX_REQUEST: usize = 32 << 20;
/// Time for a request to be complete.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// A request's body within bounds.
pub struct Bounded {
    inner: Body,
    meter: Meter,
    /// None of a request that may stay open.
    deadline: Option<Pin<Box<Sleep>>>,
    note: (Refusals, String, String),
}

impl Bounded {
    /// Bounds a body; the note says who sent it to which method.
    pub fn new(inner: Body, note: (Refusals, String, String), stays_open: bool) -> Self {
        let deadline = (!stays_open).then(|| Box::pin(sleep(REQUEST_TIME)));
        Self { inner, meter: Meter::default(), deadline, note }
    }

    fn refuse(&self, reason: Reason, why: String) -> Status {
        let (refusals, who, method) = &self.note;
        refusals.note(reason, who, method, &why);
        Status::out_of_range(why)
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            let why = format!("the request was not complete after {REQUEST_TIME:?}");
            return Poll::Ready(Some(Err(self.refuse(Reason::Slow, why))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(why) = self.meter.count(data)
        {
            return Poll::Ready(Some(Err(self.refuse(Reason::Size, why))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Follows the messages of a gRPC body: one byte of flags, four of length, the message.
#[derive(Default)]
struct Meter {
    all: usize,
    prefix: Vec<u8>,
    left: usize,
}

impl Meter {
    fn count(&mut self, mut data: &[u8]) -> Result<(), String> {
        self.all = self.all.saturating_add(data.len());
        if self.all > MAX_REQUEST {
            return Err(format!("the request has more than {MAX_REQUEST} bytes"));
        }
        while data.has_remaining() {
            let skipped = self.left.min(data.len());
            data.advance(skipped);
            self.left -= skipped;
            let wanted = (5 - self.prefix.len()).min(data.len());
            self.prefix.extend_from_slice(&data[..wanted]);
            data.advance(wanted);
            if let [_, a, b, c, d] = self.prefix[..] {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.prefix.clear();
            }
            if self.left > MAX_MESSAGE {
                return Err(format!("a message has {} bytes, more than {MAX_MESSAGE}", self.left));
            }
        }
        Ok(())
    }
}

/// A response's body; the call counts as running until it was sent or dropped.
pub struct Counted {
    inner: Body,
    _running: (Running, OwnedSemaphorePermit),
}

impl Counted {
    /// Counts a call that answers with `inner`.
    pub(super) fn new(inner: Body, running: (Running, OwnedSemaphorePermit)) -> Self {
        Self { inner, _running: running }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let length = u32::try_from(length).expect("fits").to_be_bytes();
        [&[0], &length[..]].concat()
    }

    #[test]
    fn messages_are_measured_however_they_are_cut() {
        let mut bytes = [message(3), vec![1, 2, 3], message(0), message(2), vec![9, 9]].concat();
        bytes.extend(message(MAX_MESSAGE + 1));
        for cut in 1..bytes.len() {
            let mut meter = Meter::default();
            let counted: Result<Vec<()>, String> = bytes.chunks(cut).map(|part| meter.count(part)).collect();
            assert!(counted.expect_err("too long").contains("4194305"), "cut at {cut}");
        }
        let mut meter = Meter::default();
        meter.count(&bytes[..bytes.len() - 5]).expect("the others are short enough");
    }

    #[test]
    fn a_request_of_many_messages_is_bounded() {
        let mut meter = Meter::default();
        let part = [message(MAX_MESSAGE - 5), vec![0; MAX_MESSAGE - 5]].concat();
        for _ in 0..MAX_REQUEST / MAX_MESSAGE {
            meter.count(&part).expect("within bounds");
        }
        meter.count(&[0]).expect_err("one byte more");
    }

    async fn next(body: &mut Bounded) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_refused_unless_it_may_stay_open() {
        let refusals = Refusals::default();
        let bounded = |stays_open| {
            Bounded::new(
                Body::new(StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Status>>())),
                (refusals.clone(), "w".into(), "x".into()),
                stays_open,
            )
        };
        let begun = tokio::time::Instant::now();
        let refused = next(&mut bounded(false)).await.expect("an end").expect_err("too slow");
        assert_eq!((refused.code(), begun.elapsed()), (tonic::Code::OutOfRange, REQUEST_TIME));
        assert_eq!(refusals.counts().get(&Reason::Slow), Some(&1));
        tokio::time::timeout(10 * REQUEST_TIME, next(&mut bounded(true))).await.expect_err("it stays open");
    }
}
