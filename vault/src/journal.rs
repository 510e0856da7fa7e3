//! The journal of a run: who started it, when, what it was told to do, what it has finished, and how it ended when it
//! committed nothing.
//!
//! Does not own: what the order means (the coordinator's) or the catalogue segments (`segments`). The start record is
//! created before anything else of the run, so a backup ID belongs to one run; every record is created once. A run
//! without a commit record and without an end record is under way, or dead: the vault cannot tell which, and nobody has
//! to know, because what it made durable may be used either way.

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind, Problem};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ObjectKey, Vault, VaultError};

/// The start record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunJournal {
    /// The run.
    pub backup_id: BackupId,
    /// Random identity of this attempt, by which an ambiguous write is recognised as our own.
    pub attempt: String,
    /// Host of the coordinator.
    pub host: String,
    /// Process of the coordinator.
    pub pid: u32,
    /// Which coordinator, by a name that it keeps when it restarts; none of one that will not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// Version of the coordinator.
    pub packhorse_version: String,
    /// Who asked for it, as the connection proved it, or which schedule; none of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// What the run is to do, for the coordinator that resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<serde_json::Value>,
}

/// The end record of a run that committed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why.
    pub problem: Problem,
}

/// A run that has committed nothing, so far or for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// Its start record.
    pub journal: RunJournal,
    /// Its end record; none when it is under way or dead.
    pub end: Option<RunEnd>,
}

fn taken(key: &ObjectKey) -> VaultError {
    let answer = "the backup ID is taken: choose another, or leave it out";
    VaultError::new(ErrorKind::AlreadyExists, "start run", key, answer)
}

/// Journals read at once.
const PARALLEL: usize = 32;

impl RunJournal {
    /// Claims the backup ID; refused when another run has it or objects of it exist.
    pub async fn claim(&self, vault: &Vault) -> Result<(), VaultError> {
        Self::check_without_objects(vault, &self.backup_id).await?;
        let key = ObjectKey::run(&self.backup_id);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|e| VaultError::new(ErrorKind::Internal, "start run", &key, e))?;
        match vault.create(&key, json.into()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(taken(&key)),
            Err(error) => Err(error),
        }
    }

    /// Refuses a backup ID that could not be claimed now.
    pub async fn check_free(vault: &Vault, id: &BackupId) -> Result<(), VaultError> {
        Self::check_without_objects(vault, id).await?;
        let key = ObjectKey::run(id);
        if vault.head(&key).await?.is_some() { Err(taken(&key)) } else { Ok(()) }
    }

    async fn check_without_objects(vault: &Vault, id: &BackupId) -> Result<(), VaultError> {
        let folder = ObjectKey::backup(id);
        if !vault.list_names(&folder).await?.is_empty() {
            return Err(taken(&folder));
        }
        // A run of Gitaly's own leaves nothing but this.
        let marker = ObjectKey::marker(id);
        if vault.head(&marker).await?.is_some() { Err(taken(&marker)) } else { Ok(()) }
    }
}

impl RunEnd {
    /// Records the end of a run. When another end was recorded before, that one stays.
    pub async fn record(&self, vault: &Vault, id: &BackupId) -> Result<(), VaultError> {
        create_once(vault, &ObjectKey::run_end(id), self).await.map(drop)
    }
}

/// The start record of a run; none when it is gone.
pub async fn journal_of(vault: &Vault, id: &BackupId) -> Result<Option<RunJournal>, VaultError> {
    read(vault, &ObjectKey::run(id)).await
}

/// The identity of the run that made a backup; none when its journal is gone.
pub async fn name_of_run(vault: &Vault, id: &BackupId) -> Result<Option<String>, VaultError> {
    Ok(journal_of(vault, id).await?.map(|journal| journal.attempt))
}

/// Records that a part of a run is finished, for whoever resumes it; what was recorded before stays, and is returned.
pub async fn record_part<T: Serialize + DeserializeOwned>(
    vault: &Vault,
    id: &BackupId,
    part: &str,
    finished: T,
) -> Result<T, VaultError> {
    let earlier = create_once(vault, &ObjectKey::run_part(id, part), &finished).await?;
    Ok(earlier.unwrap_or(finished))
}

/// The record of a part that an earlier attempt at the run finished.
pub async fn finished_part<T: DeserializeOwned>(
    vault: &Vault,
    id: &BackupId,
    part: &str,
) -> Result<Option<T>, VaultError> {
    read(vault, &ObjectKey::run_part(id, part)).await
}

/// The runs that have committed nothing, newest first; records that cannot be read are left out with a warning.
pub async fn unfinished(
    vault: &Vault,
    committed: &[crate::CommittedBackup],
) -> Result<Vec<UnfinishedRun>, VaultError> {
    let names = vault.list_names(&ObjectKey::runs()).await?;
    let ids = names.iter().filter_map(|name| name.parse::<BackupId>().ok());
    let open: Vec<BackupId> = ids.filter(|id| !committed.iter().any(|b| b.backup_id == *id)).collect();
    let mut reads = Vec::new();
    for id in open {
        reads.push(unfinished_run(vault, id));
    }
    let runs: Vec<Option<UnfinishedRun>> = stream::iter(reads).buffered(PARALLEL).try_collect().await?;
    let mut runs: Vec<UnfinishedRun> = runs.into_iter().flatten().collect();
    runs.sort_by(|a, b| {
        (b.journal.started_at, &b.journal.backup_id).cmp(&(a.journal.started_at, &a.journal.backup_id))
    });
    Ok(runs)
}

async fn unfinished_run(vault: &Vault, id: BackupId) -> Result<Option<UnfinishedRun>, VaultError> {
    let journal: Option<RunJournal> = match read(vault, &ObjectKey::run(&id)).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::warn!(%error, "a run's journal is unusable: the run is left out");
            None
        }
        other => other?,
    };
    let Some(journal) = journal.filter(|journal| journal.backup_id == id) else { return Ok(None) };
    // A commit record that cannot be read is one all the same.
    if vault.head(&ObjectKey::information(&id)).await?.is_some() {
        return Ok(None);
    }
    let end = match read(vault, &ObjectKey::run_end(&id)).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => None,
        other => other?,
    };
    Ok(Some(UnfinishedRun { journal, end }))
}

async fn read<T: DeserializeOwned>(vault: &Vault, key: &ObjectKey) -> Result<Option<T>, VaultError> {
    match vault.get(key).await {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|e| VaultError::corrupt("read journal", key, e))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a record, or returns the one that is there.
async fn create_once<T: Serialize + DeserializeOwned>(
    vault: &Vault,
    key: &ObjectKey,
    record: &T,
) -> Result<Option<T>, VaultError> {
    let mut json = serde_json::to_vec_pretty(record)
        .map_err(|e| VaultError::new(ErrorKind::Internal, "write journal", key, e))?;
    json.push(b'\n');
    match vault.create(key, json.into()).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(vault, key).await,
        Err(error) => Err(error),
    }
}
