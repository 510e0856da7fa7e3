//! Syncs the storage now and then while repositories are restored, so that the last sync has little left to wait for.
//!
//! Does not own: the last sync, which alone makes a restore durable, or the sync before an old repository is replaced. Each
//! of these has opened the file system for itself and is told by the kernel what could not be written, whoever was told
//! before. What goes wrong here ends the restore: a disk that fails gets no more repositories.

use std::time::Duration;

use packhorse_model::Problem;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::restore::io_problem::task_problem;

/// From the end of one sync to the next.
const PACE: Duration = Duration::from_millis(400);

/// Syncing under way.
pub(super) struct EarlySync {
    /// One task, which ends with this value.
    task: JoinSet<Result<(), Problem>>,
    done: CancellationToken,
}

impl EarlySync {
    /// Begins to call `sync` again and again; when it fails, `broken` is set.
    pub(super) fn begin(
        sync: impl Fn() -> Result<(), Problem> + Clone + Send + 'static,
        broken: CancellationToken,
    ) -> Self {
        let (mut task, done) = (JoinSet::new(), CancellationToken::new());
        let syncing = again_and_again(sync, done.clone());
        task.spawn(async move { syncing.await.inspect_err(|_| broken.cancel()) });
        Self { task, done }
    }

    /// Ends it, and says the first thing that went wrong.
    pub(super) async fn end(mut self) -> Result<(), Problem> {
        self.done.cancel();
        let ended = self.task.join_next().await;
        ended.map_or(Ok(()), |ended| ended.map_err(|e| task_problem("sync storage", &e))?)
    }
}

async fn again_and_again(
    sync: impl Fn() -> Result<(), Problem> + Clone + Send + 'static,
    done: CancellationToken,
) -> Result<(), Problem> {
    while done.run_until_cancelled(sleep(PACE)).await.is_some() {
        spawn_blocking(sync.clone()).await.map_err(|e| task_problem("sync storage", &e))??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    use packhorse_model::{ErrorKind, Subject};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn it_goes_on_until_it_is_ended() {
        let (sender, mut syncs) = mpsc::unbounded_channel();
        let sync = move || {
            sender.send(()).expect("somebody listens");
            Ok(())
        };
        let broken = CancellationToken::new();
        let early = EarlySync::begin(sync, broken.clone());
        for _ in 0..3 {
            syncs.recv().await.expect("synced");
        }
        early.end().await.expect("no failure");
        assert!(!broken.is_cancelled());
        assert!(syncs.recv().await.is_none(), "nothing is left that could sync");
    }

    #[tokio::test]
    async fn a_failure_is_told_at_the_end() {
        let calls = Arc::new(AtomicU32::new(0));
        let (sender, mut failed) = mpsc::unbounded_channel();
        let counted = Arc::clone(&calls);
        let sync = move || {
            counted.fetch_add(1, SeqCst);
            sender.send(()).expect("somebody listens");
            Err(Problem::new(ErrorKind::Unavailable, Subject::Host, "sync storage").answered("bad disk"))
        };
        let broken = CancellationToken::new();
        let early = EarlySync::begin(sync, broken.clone());
        // With the task its sender goes.
        while failed.recv().await.is_some() {}
        broken.cancelled().await;
        let problem = early.end().await.expect_err("the disk is bad");
        assert_eq!(problem.kind, ErrorKind::Unavailable);
        assert_eq!(calls.load(SeqCst), 1, "nothing is synced after that");
    }
}
