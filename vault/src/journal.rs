//! The journal of a run: who started it, when, and that its backup ID is taken.
//!
//! Does not own: progress. Created create-only before anything else of the run, so a backup ID belongs to one run.

use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind};
use serde::{Deserialize, Serialize};

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
    /// When it started.
    pub started_at: Timestamp,
    /// Version of the coordinator.
    pub packhorse_version: String,
}

impl RunJournal {
    /// Claims the backup ID; refused when another run has it or objects of it exist.
    pub async fn claim(&self, vault: &Vault) -> Result<(), VaultError> {
        let refuse = |key: &ObjectKey| {
            let answer = "the backup ID is taken: choose another, or leave it out";
            VaultError::new(ErrorKind::AlreadyExists, "start run", key, answer)
        };
        let folder = ObjectKey::backup(&self.backup_id);
        if !vault.list_names(&folder).await?.is_empty() {
            return Err(refuse(&folder));
        }
        let key = ObjectKey::run(&self.backup_id);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|e| VaultError::new(ErrorKind::Internal, "start run", &key, e))?;
        match vault.create(&key, json.into()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(refuse(&key)),
            Err(error) => Err(error),
        }
    }
}
