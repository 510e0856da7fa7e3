//! `backup_information.json`, the commit record: created once, last of all. A backup exists when this object does.
//!
//! Does not own: the order of writing (`coordinator::run::publish`). Flat, with GitLab's keys first, because GitLab's
//! reader refuses nesting; unknown keys are ignored by both readers.

use jiff::Timestamp;
use packhorse_model::{BackupId, RunState, Sha256Hex};
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, VaultError};

/// The commit record of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupInformation {
    /// GitLab's version of this file: 2.
    pub metadata_version: u32,
    /// The backup.
    pub backup_id: BackupId,
    /// When the run started, for GitLab's tools.
    pub created_at: Timestamp,
    /// Version of the instance, as configured.
    pub gitlab_version: String,
    /// Version of the writer.
    pub packhorse_version: String,
    /// Format number of everything the backup names.
    pub packhorse_format: u32,
    /// Whether anything selected is missing, or left unproven.
    pub state: RunState,
    /// Whether a storage, filter or component selection left parts out on purpose.
    #[serde(default)]
    pub partial: bool,
    /// Whether increments were built on an earlier backup.
    pub incremental: bool,
    /// That earlier backup; of several storages' bases the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_backup_id: Option<BackupId>,
    /// When the run started.
    pub started_at: Timestamp,
    /// When everything but this record was durable.
    pub finished_at: Timestamp,
    /// The coordinator's clock when it wrote this record. `started_at` orders backups, and so lies after that of every
    /// earlier backup, also of one that a wrong clock put into the future; this does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// The schedule that started the run; none when somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Repositories in the backup, failed ones not counted.
    pub repositories: u64,
    /// Repositories that failed.
    pub repositories_failed: u64,
    /// Repositories that were deleted since the backup before.
    #[serde(default)]
    pub repositories_gone: u64,
    /// Repositories of which it was left to `verify` to prove that everything is there.
    #[serde(default)]
    pub unproven: u64,
    /// Databases in the backup.
    pub databases: u64,
    /// Directories in the backup.
    pub directories: u64,
    /// Everything that is missing.
    pub failures: u64,
    /// Bytes that the run wrote.
    pub bytes_new: u64,
    /// Bytes of everything that the backup names.
    pub bytes_total: u64,
    /// Digest of `report.json`.
    pub report_sha256: Sha256Hex,
    /// Size of `report.json`.
    pub report_size: u64,
}

impl BackupInformation {
    /// The record as stored.
    pub fn to_json(&self) -> Result<Vec<u8>, VaultError> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|e| {
            VaultError::new(packhorse_model::ErrorKind::Internal, "write commit record", &self.backup_id, e)
        })?;
        json.push(b'\n');
        Ok(json)
    }

    /// The record stored at `key`; refuses a format that this version does not read.
    pub fn parse(bytes: &[u8], key: &ObjectKey) -> Result<Self, VaultError> {
        let record: Self =
            serde_json::from_slice(bytes).map_err(|e| VaultError::corrupt("read commit record", key, e))?;
        crate::format_marker::check_format(record.packhorse_format, key)?;
        Ok(record)
    }
}
