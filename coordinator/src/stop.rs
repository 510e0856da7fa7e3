//! Why a run has to stop: it was cancelled, or the coordinator ends.
//!
//! Does not own: stopping. The difference decides what becomes of a run: one that is cancelled is over, one whose
//! coordinator ends is left to be resumed, and its agents go on with it.

use tokio_util::sync::CancellationToken;

/// What stops a run or restore.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Cancelled for either reason.
    pub token: CancellationToken,
    asked: CancellationToken,
}

impl Stop {
    /// Stops with the coordinator.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self { token: shutdown.child_token(), asked: CancellationToken::new() }
    }

    /// Cancels the run.
    pub fn cancel(&self) {
        self.asked.cancel();
        self.token.cancel();
    }

    /// Whether it has to stop.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Whether that is because it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.asked.is_cancelled()
    }
}
