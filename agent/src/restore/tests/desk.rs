//! A storage to restore into, and running a restore there.
//!
//! Does not own: what is in the vault (`writer`).

use std::{collections::BTreeSet, fs, path::PathBuf};

use packhorse_model::{ItemFailure, ObjectDigest, Problem, RepoFilter};
use packhorse_testkit::GitRepo;
use packhorse_vault::Vault;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::writer::{Writer, storage};
use crate::restore::{RestoreEvent, RestoreJob, RestoreProgress, RestoreResult, restore_storage};

/// A storage folder.
pub(super) struct Desk {
    pub folder: tempfile::TempDir,
}

/// What a restore came to.
pub(super) struct Ran {
    pub result: Result<RestoreResult, Problem>,
    pub failures: Vec<ItemFailure>,
    pub last: RestoreProgress,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("temporary folder") }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(super) fn job(&self, catalogue: ObjectDigest) -> RestoreJob {
        RestoreJob {
            backup_id: "run001".parse().expect("valid ID"),
            source: storage(),
            target: "other".parse().expect("valid name"),
            root: self.folder.path().to_owned(),
            root_is_typed: false,
            catalogue,
            gone_unconfirmed: false,
            filter: RepoFilter::default(),
            force: false,
            skip_existing: false,
            optimise: false,
            last_good: false,
            jobs: 2,
            git: "git".into(),
        }
    }

    /// Restores everything that a writer has.
    pub(super) async fn restore(&self, writer: &mut Writer) -> Ran {
        let job = self.job(writer.catalogue().await);
        run(&writer.vault, job, CancellationToken::new()).await
    }

    /// Restores everything and expects no failure.
    pub(super) async fn restore_all(&self, writer: &mut Writer) -> RestoreResult {
        let ran = self.restore(writer).await;
        assert_eq!(ran.failures, []);
        let result = ran.result.expect("restore");
        assert_eq!(ran.last.done, ran.last.known);
        self.assert_tidy();
        result
    }

    /// The restored repository, after git has checked it.
    pub(super) fn repo(&self, path: &str) -> GitRepo {
        let repo = GitRepo::open(self.path(path));
        repo.fsck();
        repo
    }

    /// Nothing temporary is left.
    pub(super) fn assert_tidy(&self) {
        assert!(!self.path("+packhorse").exists(), "temporary files are left");
    }

    /// Nothing at all is there.
    pub(super) fn assert_untouched(&self) {
        let left: BTreeSet<_> = fs::read_dir(self.folder.path())
            .expect("read storage")
            .map(|entry| entry.expect("read storage").file_name())
            .collect();
        assert_eq!(left, BTreeSet::new());
    }
}

pub(super) async fn run(vault: &Vault, job: RestoreJob, cancel: CancellationToken) -> Ran {
    let (sender, mut events) = mpsc::channel(4);
    let (mut failures, mut last) = (Vec::new(), RestoreProgress::default());
    let listening = async {
        while let Some(event) = events.recv().await {
            match event {
                RestoreEvent::Failed(failure) => failures.push(failure),
                RestoreEvent::Progress(progress) => last = progress,
            }
        }
    };
    let (result, ()) = tokio::join!(restore_storage(vault.clone(), job, sender, cancel), listening);
    Ran { result, failures, last }
}
