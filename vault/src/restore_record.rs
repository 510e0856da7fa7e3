//! The record of a restore: who asked for it, which backup, and what it came to.
//!
//! Does not own: the restore. Nothing reads it but `show`, and a restore is what it is without one: from a vault that may
//! only be read it leaves none. It is created once, at the restore's end.

use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind, Problem, RestoreSummary};
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, Vault, VaultError};

/// What a restore was, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// Its ID, which has the alphabet of a backup's.
    pub restore: BackupId,
    /// The backup; none when it was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<BackupId>,
    /// Who asked for it.
    pub requested_by: String,
    /// Host of the coordinator.
    pub host: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it was allowed to replace what exists.
    pub force: bool,
    /// What it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<RestoreSummary>,
    /// Why it did nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl RestoreRecord {
    /// Puts it into the vault.
    pub async fn create(&self, vault: &Vault) -> Result<(), VaultError> {
        let key = ObjectKey::restore(&self.restore);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|e| VaultError::new(ErrorKind::Internal, "write restore record", &key, e))?;
        json.push(b'\n');
        vault.create(&key, json.into()).await.map(drop)
    }

    /// The record of a restore, if there is one.
    pub async fn read(vault: &Vault, id: &BackupId) -> Result<Option<Self>, VaultError> {
        let key = ObjectKey::restore(id);
        match vault.get(&key).await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| VaultError::corrupt("read restore record", &key, e)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The IDs of all restores that left a record.
    pub async fn all(vault: &Vault) -> Result<Vec<BackupId>, VaultError> {
        let names = vault.list_names(&ObjectKey::restores()).await?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_is_read_back_and_is_never_replaced() {
        let vault = Vault::in_memory();
        let id: BackupId = "restore-1795177711-1f3a9c2e".parse().expect("valid ID");
        let record = RestoreRecord {
            restore: id.clone(),
            backup_id: Some("b1".parse().expect("valid ID")),
            requested_by: "uid 0, gid 0".into(),
            host: "host".into(),
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            force: true,
            summary: None,
            problem: Some(Problem::cancelled("restore backup")),
        };
        assert_eq!(RestoreRecord::read(&vault, &id).await.expect("answered"), None);
        record.create(&vault).await.expect("created");
        let other = RestoreRecord { force: false, ..record.clone() };
        assert_eq!(other.create(&vault).await.expect_err("taken").kind(), ErrorKind::AlreadyExists);
        assert_eq!(RestoreRecord::read(&vault, &id).await.expect("answered"), Some(record));
        assert_eq!(RestoreRecord::all(&vault).await.expect("answered"), [id]);
    }
}
