//! A request's body that notes when it was last asked for more, which is when the connection took what it had.
//!
//! Does not own: the connection's own buffers, of about a megabyte, in which the last bytes wait unseen: they have the
//! same time as an answer. Bodies are cut into pieces without copying, so that also one large part is seen to move.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpRequestBody};
use tokio::time::{Instant, sleep_until};

/// The largest piece that is handed over at once.
const PIECE: usize = 64 << 10;

/// A body that is watched.
pub struct Moving {
    body: HttpRequestBody,
    piece: Bytes,
    moved: Moved,
}

/// When a body last moved.
#[derive(Clone)]
pub struct Moved(Arc<Mutex<Instant>>);

impl Moving {
    /// Watches a body, beginning now.
    pub fn new(body: HttpRequestBody) -> (Self, Moved) {
        let moved = Moved(Arc::new(Mutex::new(Instant::now())));
        (Self { body, piece: Bytes::new(), moved: moved.clone() }, moved)
    }
}

impl Moved {
    /// Returns when nothing has moved for so long.
    pub async fn stops_for(&self, patience: Duration) {
        loop {
            let last = *self.last();
            sleep_until(last + patience).await;
            if *self.last() == last {
                return;
            }
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Instant> {
        // Nobody panics while holding it; an instant cannot be half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Moving {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        *self.moved.last() = Instant::now();
        if self.piece.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context))
                .map(|frame| frame.map(Frame::into_data))
            {
                Some(Ok(Ok(data))) => self.piece = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.piece.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.piece.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.size_hint().exact().unwrap_or_default();
        SizeHint::with_exact(left + self.piece.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_fn;

    async fn next(body: &mut Moving) -> Option<usize> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        Some(frame.expect("memory does not fail").into_data().expect("data").len())
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_out_only_while_nothing_moves() {
        let (mut body, moved) = Moving::new(vec![7; 3 * PIECE + 5].into());
        assert_eq!(body.size_hint().exact(), Some(3 * PIECE as u64 + 5));
        let patience = Duration::from_secs(10);
        let watched = moved.stops_for(patience);
        tokio::pin!(watched);
        for expected in [PIECE, PIECE, PIECE, 5] {
            let pause = tokio::time::sleep(Duration::from_secs(9));
            tokio::select! {
                () = pause => {}
                () = &mut watched => panic!("it moved {:?} ago", moved.last().elapsed()),
            }
            assert_eq!(next(&mut body).await, Some(expected));
        }
        assert!(body.is_end_stream());
        assert_eq!(next(&mut body).await, None);
        let ended = Instant::now();
        watched.await;
        assert_eq!(ended.elapsed(), patience);
    }
}
