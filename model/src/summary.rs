//! The result of a run and of a restore: the one type behind exit code, JSON, report and summary text.
//!
//! Does not own: how it is shown or stored. `state` is derived from the failures, so a summary cannot claim more than
//! it holds.

use serde::{Deserialize, Serialize};

use crate::{
    BackupId, Component, Counts, DatabaseAttributes, DatabaseContents, ItemFailure, ObjectDigest,
    RestoreOrder, StorageName,
};

/// Whether everything that was selected is in the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// All of it.
    Complete,
    /// Nothing is known to be missing, but of some repositories it was left to `verify` to prove that.
    Unproven,
    /// Committed, but the named items are missing.
    Incomplete,
}

impl RunState {
    /// The state as JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unproven => "unproven",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What a run did in one storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageSummary {
    /// The storage.
    pub storage: StorageName,
    /// Repositories by outcome.
    pub counts: Counts,
    /// Bytes of objects that this run wrote.
    pub bytes_new: u64,
    /// Bytes of all objects that the storage's manifests name.
    pub bytes_total: u64,
    /// The storage's catalogue; absent in a dry run and when the storage failed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<ObjectDigest>,
    /// Whether a filter left repositories out; such a catalogue is not a base for later runs.
    #[serde(default)]
    pub filtered: bool,
    /// Repositories of which it was left to `verify` to prove that everything is there.
    #[serde(default)]
    pub unproven: u64,
    /// Failures of this storage, all of them, also those that no longer fit the list of the summary.
    #[serde(default)]
    pub failures: u64,
    /// Repositories that are gone, and of which nobody has said that they were deleted on purpose: so many are gone that a
    /// file system that is not mounted is more likely. They stay in the catalogue until that is said, or they are back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gone_unconfirmed: u64,
    /// Repositories that had refs and have none now, so many that nobody may lose them without a word; likewise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub emptied_unconfirmed: u64,
    /// Repositories that had refs in the last backup and have none now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub emptied_total: u64,
    /// Some of these, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emptied: Vec<String>,
    /// Some of those that are gone, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// What may hold repositories and was not looked into.
    #[serde(default, skip_serializing_if = "PassedOver::is_empty")]
    pub passed_over: PassedOver,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a walk over a storage saw and did not enter, because a backup does not hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Symbolic links that lead to folders.
    pub links: u64,
    /// Repositories inside the folder of another repository.
    pub inner: u64,
    /// Some of both, by path.
    #[serde(default)]
    pub names: Vec<String>,
}

impl PassedOver {
    /// How many are named.
    pub const NAMED: usize = 20;

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.links == 0 && self.inner == 0
    }

    /// Notes a link.
    pub fn link(&mut self, name: String) {
        self.links += 1;
        self.name(name);
    }

    /// Notes a repository inside another one.
    pub fn inner(&mut self, name: String) {
        self.inner += 1;
        self.name(name);
    }

    fn name(&mut self, name: String) {
        if self.names.len() < Self::NAMED {
            self.names.push(name);
        }
    }
}

/// A storage, database or directory that an earlier backup has and the configuration of this run does not name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GonePart {
    /// What it belongs to; a storage to `repositories`.
    pub component: Component,
    /// The name of the storage, database or directory.
    pub name: String,
    /// The newest backup that has it.
    pub last_backup: BackupId,
    /// Whether somebody said that it was removed on purpose. Until then every run is incomplete.
    pub confirmed: bool,
}

/// A storage, database or directory that a backup should hold and does not, with what is known of it from before: so that
/// a night on which it fails is not the end of what is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LackingPart {
    /// What it belongs to; a storage to `repositories`.
    pub component: Component,
    /// Its name.
    pub name: String,
    /// The newest backup that has it.
    pub last_backup: BackupId,
    /// Whether that one is not empty, or was not before, without being confirmed.
    pub filled: bool,
}

/// What a run did with one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSummary {
    /// Name in the configuration.
    pub name: String,
    /// The compressed dump.
    pub object: ObjectDigest,
    /// Bytes of the dump before compression.
    pub bytes_plain: u64,
    /// Major version of the server it came from.
    pub server_major: u32,
    /// Whether it holds nothing, and an earlier backup does, and nobody said that this is meant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub emptied_unconfirmed: bool,
    /// What belongs to the database itself, which no dump holds; absent from backups of the first versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<DatabaseAttributes>,
    /// What it held at the moment of the dump; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<DatabaseContents>,
}

/// What a run did with one directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectorySummary {
    /// Name in the configuration.
    pub name: String,
    /// The compressed archive.
    pub object: ObjectDigest,
    /// Bytes of the archive before compression.
    pub bytes_plain: u64,
    /// Whether the folder held nothing; absent in backups of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
    /// Whether it is empty, and an earlier backup is not, and nobody said that this is meant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub emptied_unconfirmed: bool,
    /// Files, links, pipes and devices in the archive; absent in backups of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Files that changed or shrank while they were read, and are stored as read; as tar reported them, capped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed_while_read: Vec<String>,
    /// Files and folders that were removed before they were read, and are not stored; capped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_while_read: Vec<String>,
    /// By how many files the archive has fewer than the folder had before it was read, but for those that could not be read:
    /// they were removed, or moved to where they were not met. New files make up for others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fewer_files: u64,
    /// Patterns that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl DirectorySummary {
    /// Whether no file is in the archive: folders without files are what a file system leaves that is not mounted, too.
    /// None where neither is known.
    pub fn is_empty(&self) -> Option<bool> {
        self.files.map(|files| files == 0).or(self.empty)
    }
}

/// What a run of `create` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// URL of the vault; said of a summary that is shown, not of one that is stored, because a vault may be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// Its identity, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
    /// The run and the backup that it committed.
    pub backup_id: BackupId,
    /// Whether anything is missing.
    pub state: RunState,
    /// Nothing was written when true.
    #[serde(default)]
    pub dry_run: bool,
    /// A storage, filter or component selection left parts out on purpose.
    #[serde(default)]
    pub partial: bool,
    /// The backup that increments were built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_backup_id: Option<BackupId>,
    /// RFC 3339, UTC.
    pub started_at: jiff::Timestamp,
    /// RFC 3339, UTC.
    pub finished_at: jiff::Timestamp,
    /// The schedule that started the run; none when somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Repositories of all storages by outcome.
    pub repositories: Counts,
    /// Repositories of which it was left to `verify` to prove that everything is there.
    #[serde(default)]
    pub unproven: u64,
    /// Bytes that this run wrote.
    pub bytes_new: u64,
    /// Bytes of everything that the backup names.
    pub bytes_total: u64,
    /// One entry for each storage.
    pub storages: Vec<StorageSummary>,
    /// One entry for each database in the backup.
    pub databases: Vec<DatabaseSummary>,
    /// One entry for each directory in the backup.
    pub directories: Vec<DirectorySummary>,
    /// What is missing, by name; at most [`RunSummary::MAX_FAILURES`], the catalogues have the rest.
    pub failures: Vec<ItemFailure>,
    /// How many failures there were in all.
    pub failures_total: u64,
    /// Storages, databases and directories that have left the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<GonePart>,
    /// What earlier backups have, and this one should have and does not; not said by older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking: Option<Vec<LackingPart>>,
    /// What is odd, and is no failure; capped as failures are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<ItemFailure>,
}

impl RunSummary {
    /// How many failures a summary names.
    pub const MAX_FAILURES: usize = 1000;

    /// The state that follows from the numbers of failures and of unproven repositories.
    pub fn state_of(failures_total: u64, unproven: u64) -> RunState {
        match (failures_total, unproven) {
            (0, 0) => RunState::Complete,
            (0, _) => RunState::Unproven,
            _ => RunState::Incomplete,
        }
    }
}

/// One repository, database or directory that a restore put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredItem {
    /// Name of the storage, database or directory.
    pub name: String,
    /// Repositories put back; 1 for a database or directory.
    pub items: u64,
    /// Repositories that were there already, equal to what the backup has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub already: u64,
    /// Bytes read from the vault.
    pub bytes: u64,
}

fn complete() -> RunState {
    RunState::Complete
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSummary {
    /// URL of the vault; said of a summary that is shown, not of one that is stored, because a vault may be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// Its identity, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
    /// The backup that was restored.
    pub backup_id: BackupId,
    /// What was asked for, and where each part went; said of a summary that is shown, because its record says it once.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub order: Option<RestoreOrder>,
    /// Whether anything selected is missing.
    pub state: RunState,
    /// What the backup itself is.
    #[serde(default = "complete")]
    pub backup_state: RunState,
    /// Whether parts had been left out of the backup on purpose.
    #[serde(default)]
    pub backup_partial: bool,
    /// RFC 3339, UTC.
    pub started_at: jiff::Timestamp,
    /// RFC 3339, UTC.
    pub finished_at: jiff::Timestamp,
    /// One entry for each storage.
    pub storages: Vec<RestoredItem>,
    /// One entry for each database.
    pub databases: Vec<RestoredItem>,
    /// One entry for each directory.
    pub directories: Vec<RestoredItem>,
    /// What was not restored, or restored from an older backup, by name; capped as in [`RunSummary`].
    pub failures: Vec<ItemFailure>,
    /// How many failures there were in all.
    pub failures_total: u64,
    /// What went wrong and was made good, so that the repository is restored all the same; capped likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<ItemFailure>,
}
