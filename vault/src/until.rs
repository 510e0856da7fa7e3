//! A handle of the vault that is told to stop: what waits through it, for its turn or for the store, ends at once.
//!
//! Does not own: what was sent already. A request that is broken off may or may not have taken effect, so this is for work
//! whose objects count only when a later one names them. An upload in parts is aborted (`upload`).

use packhorse_model::ErrorKind;
use tokio_util::sync::CancellationToken;

use crate::{Pace, Vault, VaultError};

impl Vault {
    /// The same vault until this token is cancelled: from then on whatever waits through it fails as cancelled.
    #[must_use]
    pub fn until(&self, stop: CancellationToken) -> Self {
        let mut vault = self.clone();
        vault.stop = stop;
        vault
    }

    /// The same vault without a pace and to the end: for the few bytes by which a run that was stopped tells the next one
    /// what it did.
    #[must_use]
    pub fn unbound(&self) -> Self {
        self.paced(Pace::default()).until(CancellationToken::new())
    }

    /// What an operation that was stopped ends with.
    pub(crate) fn stopped(operation: &str, object: &str) -> VaultError {
        VaultError::new(ErrorKind::Cancelled, operation, object, "asked to stop")
    }

    /// Does something unless, or until, the vault is told to stop.
    pub(crate) async fn unless_stopped<T>(
        &self,
        (operation, object): (&str, &str),
        work: impl Future<Output = Result<T, VaultError>>,
    ) -> Result<T, VaultError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Self::stopped(operation, object)),
            done = work => done,
        }
    }
}
