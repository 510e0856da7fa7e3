//! Why a run has to stop: it was cancelled, or the coordinator ends.
//!
//! Does not own: stopping. The difference decides what becomes of a run: one that is cancelled is over, one whose
//! coordinator ends is left to be resumed, and its agents go on with it.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// What stops a run or restore.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Cancelled for either reason.
    pub token: CancellationToken,
    asked: CancellationToken,
    by: Arc<OnceLock<String>>,
}

impl Stop {
    /// Stops with the coordinator.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self { token: shutdown.child_token(), asked: CancellationToken::new(), by: Arc::default() }
    }

    /// Cancels the run; the first who does is remembered.
    pub fn cancel(&self, by: String) {
        let _ = self.by.set(by);
        self.asked.cancel();
        self.token.cancel();
    }

    /// Whether it has to stop.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Who cancelled it.
    pub fn asked_by(&self) -> Option<&str> {
        self.by.get().map(String::as_str)
    }

    /// Whether that is because it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.asked.is_cancelled()
    }
}
