//! Creating an object under a name that is free, once, whatever becomes of the answers.
//!
//! Does not own: the HTTP client's retries. It does not repeat a create-only write whose answer was lost, because it
//! cannot know what the first one did. We can: what lies at the name is read back, and says whether our bytes are there,
//! others, or none; when there are none, the write is tried again until the retry budget is spent. Trying again is
//! safe, because the store refuses a second write itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{PutMode, PutOptions};
use packhorse_model::{ErrorKind, ObjectDigest};

use crate::{ObjectKey, Vault, VaultError, digest_of, open::BRIEF};

/// Longest pause before a write is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How much longer a write is tried again.
pub(crate) struct Patience {
    ends: Instant,
    pause: Duration,
}

/// What lies at a name after a write whose answer did not say.
enum Found {
    Ours,
    Others,
    Nothing,
    Unreadable(VaultError),
    Unanswered,
}

impl Vault {
    /// Creates an object that must not exist yet. Durable when it returns.
    pub async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectDigest, VaultError> {
        self.unless_stopped(("create object", key.as_str()), self.create_surely(key, bytes)).await
    }

    async fn create_surely(&self, key: &ObjectKey, bytes: Bytes) -> Result<ObjectDigest, VaultError> {
        let digest = digest_of(key, &bytes);
        let mut patience = self.patience();
        loop {
            let Err(error) = self.put_new(key, bytes.clone()).await else { return Ok(digest) };
            if !error.may_have_written() {
                return Err(error);
            }
            // What was just tried for long is not waited for as long again.
            let found = tokio::time::timeout(patience.left().max(self.brief_budget()), self.find(&digest));
            let error = match found.await.unwrap_or(Found::Unanswered) {
                Found::Ours => return Ok(digest),
                Found::Others => return Err(error.because_taken()),
                Found::Nothing => error,
                // "Exists" says nothing about whose it is, so what counts is that it could not be read.
                Found::Unreadable(unread) if error.kind() == ErrorKind::AlreadyExists => unread,
                Found::Unreadable(unread) if unread.kind() == ErrorKind::Denied => unread,
                Found::Unreadable(_) | Found::Unanswered => error,
            };
            if !error.is_transient() || !patience.pause().await {
                return Err(error);
            }
            tracing::debug!(%key, %error, "an object was not created; it is tried again");
        }
    }

    /// The patience with a write that begins now; a folder's answers need none.
    pub(crate) fn patience(&self) -> Patience {
        Patience::of(if self.folder().is_some() { Duration::ZERO } else { self.retry_budget() })
    }

    /// The patience with what follows a failure.
    pub(crate) fn brief_patience(&self) -> Patience {
        Patience::of(if self.folder().is_some() { Duration::ZERO } else { self.brief_budget() })
    }

    /// How long the store is asked for what follows a failure, or for what somebody waits for.
    pub(crate) fn brief_budget(&self) -> Duration {
        self.retry_budget().min(BRIEF)
    }

    /// Asks once for an object to be created, and says what the store answered.
    pub(crate) async fn put_new(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), VaultError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let _turn = self.pace().upload(bytes.len()).await;
        self.counter().put();
        if let Some(folder) = self.folder() {
            let failed = |e: std::io::Error| self.failed_file("create object", key.as_str(), &e);
            folder.root().map_err(failed)?;
            return folder.create(&self.path(key), bytes).await.map_err(failed);
        }
        let put = self.store().put_opts(&self.path(key), bytes.into(), options).await;
        put.map(drop).map_err(|e| self.failed("create object", key.as_str(), e))
    }

    async fn find(&self, digest: &ObjectDigest) -> Found {
        match self.get_checked(digest).await {
            Ok(_) => Found::Ours,
            Err(error) if error.kind() == ErrorKind::Corrupt => Found::Others,
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
            Err(error) => Found::Unreadable(error),
        }
    }
}

impl Patience {
    fn of(budget: Duration) -> Self {
        Self { ends: Instant::now() + budget, pause: Duration::from_millis(200) }
    }

    /// How much time there is.
    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Waits a little, longer each time; false when there is no time left.
    pub(crate) async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause > self.ends {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}
