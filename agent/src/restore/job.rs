//! What a restore of one storage is asked to do, what it tells while it runs, and what it did.
//!
//! Does not own: the wire form of these values (`proto`). Plain values, so that any caller can make and read them.

use std::path::PathBuf;

use packhorse_model::{BackupId, ItemFailure, ObjectDigest, RepoFilter, StorageName};

/// One storage of one backup, and where to put its repositories.
#[derive(Clone, Debug)]
pub struct RestoreJob {
    /// The backup.
    pub backup_id: BackupId,
    /// The storage as the backup names it.
    pub source: StorageName,
    /// The storage that receives the repositories, which failures are reported for.
    pub target: StorageName,
    /// The folder of the receiving storage; it must exist.
    pub root: PathBuf,
    /// Whether whoever asks has typed that folder, so that no configuration has it.
    pub root_is_typed: bool,
    /// The catalogue of the source storage.
    pub catalogue: ObjectDigest,
    /// Which repositories.
    pub filter: RepoFilter,
    /// Restore repositories that are gone in this backup as they were last: nobody said that they were deleted on purpose.
    pub gone_unconfirmed: bool,
    /// Replace repositories that exist.
    pub force: bool,
    /// Leave repositories that are there already and equal as they are.
    pub skip_existing: bool,
    /// Have git prepare what is restored for being served.
    pub optimise: bool,
    /// Restore damaged repositories as they were when nothing of them was left out.
    pub last_good: bool,
    /// Repositories restored at once; 0 counts as 1.
    pub jobs: usize,
    /// The git program.
    pub git: PathBuf,
}

/// What a restore tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreEvent {
    /// How far it is; a later one replaces an earlier one.
    Progress(RestoreProgress),
    /// One repository that was not restored, or only from an older backup.
    Failed(ItemFailure),
}

/// How far a restore is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Repositories to restore.
    pub known: u64,
    /// Repositories dealt with, failed ones among them.
    pub done: u64,
    /// Failures so far.
    pub failed: u64,
    /// Bytes read from the vault.
    pub bytes: u64,
    /// Repositories being restored now.
    pub working_on: Vec<String>,
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreResult {
    /// Repositories put in place.
    pub restored: u64,
    /// Repositories that were there already.
    pub already: u64,
    /// Bytes read from the vault.
    pub bytes: u64,
    /// Failures told by [`RestoreEvent::Failed`].
    pub failures: u64,
    /// Included patterns that no entry of this storage's catalogue matches.
    pub unmatched: Vec<String>,
    /// What went wrong and was made good, by repository; capped as failures are.
    pub remarks: Vec<ItemFailure>,
}
