//! Dumps and archives that an earlier attempt at a run finished, and the notes by which they are known.
//!
//! Does not own: making them. What a note names is taken over only after the vault has said that it is there with its size;
//! otherwise it is made again, under a name of this attempt. A note is created once, so one that names what is lost stays,
//! and is passed over by whoever reads it.

use packhorse_model::{DatabaseSummary, DirectorySummary, ItemFailure, ObjectDigest};
use packhorse_vault::{Vault, VaultError, finished_part, record_part};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::plan::RunPlan;

/// A part of a run that is in the vault.
pub trait Part: Clone + Serialize + DeserializeOwned {
    /// What it is made of.
    fn objects(&self) -> Vec<ObjectDigest>;
}

impl Part for Vec<DatabaseSummary> {
    fn objects(&self) -> Vec<ObjectDigest> {
        self.iter().map(|database| database.object.clone()).collect()
    }
}

/// A directory that is in the vault, with what is missing of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct DirectoryDone {
    /// The archive.
    pub summary: DirectorySummary,
    /// What is not in it.
    pub failures: Vec<ItemFailure>,
}

impl Part for DirectoryDone {
    fn objects(&self) -> Vec<ObjectDigest> {
        vec![self.summary.object.clone()]
    }
}

/// What an earlier attempt at this run finished, and is there.
pub async fn earlier<T: Part>(vault: &Vault, plan: &RunPlan, part: &str) -> Option<T> {
    if plan.run.attempt.is_first() {
        return None;
    }
    noted(vault, plan, part).await.unwrap_or_else(|error| {
        tracing::warn!(backup = %plan.run.id, %error, "what the journal says of {part} is unusable, doing it again");
        None
    })
}

async fn noted<T: Part>(vault: &Vault, plan: &RunPlan, part: &str) -> Result<Option<T>, VaultError> {
    let Some(done) = finished_part::<T>(vault, &plan.run.id, part).await? else { return Ok(None) };
    vault.check_present(&done.objects()).await?;
    Ok(Some(done))
}

/// Notes what is finished, for whoever resumes the run, and gives what the run has: where another writer of the same run was
/// faster, what that one made. Without the note it would be done again, and no more.
pub async fn record<T: Part>(vault: &Vault, plan: &RunPlan, part: &str, done: T) -> T {
    let noted = async {
        let noted = record_part(vault, &plan.run.id, part, done.clone()).await?;
        if noted.objects() != done.objects() {
            vault.check_present(&noted.objects()).await?;
        }
        Ok::<T, VaultError>(noted)
    };
    noted.await.unwrap_or_else(|error| {
        tracing::warn!(backup = %plan.run.id, %error, "the journal does not say that {part} is done");
        done
    })
}
