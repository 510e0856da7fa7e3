//! The records of a restore: who asked for it, which backup, and what it came to.
//!
//! Does not own: the restore. Nothing reads them but `show` and `status`, and a restore is what it is without any: from a
//! vault that may only be read it leaves none. One is created before anything is touched, the other at the end, and neither
//! is changed: a restore that has only the first has died, is under way, or could not write the second.

use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind, Problem, RestoreOrder, RestoreSummary};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ObjectKey, Vault, VaultError};

/// That a restore has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreBegun {
    /// Its ID.
    pub restore: BackupId,
    /// The backup.
    pub backup_id: BackupId,
    /// Who asked for it.
    pub requested_by: String,
    /// Host of the coordinator.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The coordinator, when it is one that may start again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// What was asked for, and where each part goes.
    #[serde(flatten)]
    pub order: RestoreOrder,
}

impl RestoreBegun {
    /// Puts it into the vault.
    pub async fn create(&self, vault: &Vault) -> Result<(), VaultError> {
        create(vault, &ObjectKey::restore_begun(&self.restore), self).await
    }

    /// The record of a restore's beginning, if there is one.
    pub async fn read(vault: &Vault, id: &BackupId) -> Result<Option<Self>, VaultError> {
        read(vault, &ObjectKey::restore_begun(id)).await
    }

    /// The restores that have begun, and of which no end is recorded; those that cannot be read are passed over.
    pub async fn without_end(vault: &Vault) -> Result<Vec<Self>, VaultError> {
        let names = vault.list_names(&ObjectKey::restores()).await?;
        let (mut begun, ended) = (ids(&names, BEGUN), ids(&names, ENDED));
        begun.retain(|id| !ended.contains(id));
        let mut records = Vec::new();
        for id in begun {
            match Self::read(vault, &id).await {
                Ok(record) => records.extend(record),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(restore = %id, %error, "the record of a restore cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }
}

/// How the names of the records end.
const BEGUN: &str = ".began";
const ENDED: &str = ".json";

fn ids(names: &[String], ending: &str) -> Vec<BackupId> {
    names.iter().filter_map(|name| name.strip_suffix(ending)?.parse().ok()).collect()
}

async fn create(vault: &Vault, key: &ObjectKey, record: &impl Serialize) -> Result<(), VaultError> {
    let mut json = serde_json::to_vec_pretty(record)
        .map_err(|e| VaultError::new(ErrorKind::Internal, "write restore record", key, e))?;
    json.push(b'\n');
    vault.create(key, json.into()).await.map(drop)
}

async fn read<T: DeserializeOwned>(vault: &Vault, key: &ObjectKey) -> Result<Option<T>, VaultError> {
    match vault.get(key).await {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| VaultError::corrupt("read restore record", key, e)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

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
    /// What was asked for, and where each part went.
    #[serde(flatten)]
    pub order: RestoreOrder,
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
        create(vault, &ObjectKey::restore(&self.restore), self).await
    }

    /// The record of a restore, if there is one.
    pub async fn read(vault: &Vault, id: &BackupId) -> Result<Option<Self>, VaultError> {
        read(vault, &ObjectKey::restore(id)).await
    }

    /// The IDs of all restores that left a record, of their end or their beginning.
    pub async fn all(vault: &Vault) -> Result<Vec<BackupId>, VaultError> {
        let names = vault.list_names(&ObjectKey::restores()).await?;
        let mut all = [ids(&names, ENDED), ids(&names, BEGUN)].concat();
        all.sort_unstable();
        all.dedup();
        Ok(all)
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
            order: RestoreOrder { force: true, ..RestoreOrder::default() },
            summary: None,
            problem: Some(Problem::cancelled("restore backup")),
        };
        assert_eq!(RestoreRecord::read(&vault, &id).await.expect("answered"), None);
        record.create(&vault).await.expect("created");
        let other = RestoreRecord { order: RestoreOrder::default(), ..record.clone() };
        assert_eq!(other.create(&vault).await.expect_err("taken").kind(), ErrorKind::AlreadyExists);
        assert_eq!(RestoreRecord::read(&vault, &id).await.expect("answered"), Some(record));
        assert_eq!(RestoreRecord::all(&vault).await.expect("answered"), [id]);
    }

    #[tokio::test]
    async fn a_restore_that_has_begun_is_known_until_its_end_is() {
        let vault = Vault::in_memory();
        let begun = RestoreBegun {
            restore: "restore-1795177711-1f3a9c2e".parse().expect("valid ID"),
            backup_id: "b1".parse().expect("valid ID"),
            requested_by: "uid 0, gid 0".into(),
            host: "host".into(),
            pid: 7,
            coordinator: None,
            started_at: Timestamp::UNIX_EPOCH,
            order: RestoreOrder::default(),
        };
        begun.create(&vault).await.expect("created");
        let restore = begun.restore.clone();
        assert_eq!(RestoreRecord::all(&vault).await.expect("answered"), std::slice::from_ref(&restore));
        assert_eq!(RestoreBegun::without_end(&vault).await.expect("answered"), std::slice::from_ref(&begun));
        let ended = RestoreRecord {
            restore: restore.clone(),
            backup_id: None,
            requested_by: String::new(),
            host: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::UNIX_EPOCH,
            order: RestoreOrder::default(),
            summary: None,
            problem: None,
        };
        ended.create(&vault).await.expect("created");
        assert_eq!(RestoreBegun::without_end(&vault).await.expect("answered"), []);
        assert_eq!(RestoreRecord::all(&vault).await.expect("answered"), [restore]);
    }
}
