//! One dump from the vault into its database: all of it, or the database stays as it was.
//!
//! Does not own: how (`beside`, `in_place`). A database is replaced by another that was made beside it, wherever the user
//! may make one; elsewhere what it holds is replaced in one transaction. Statements that the server refused, when the
//! operator said to go on, are failures by name.

use std::sync::Arc;

use packhorse_model::{BackupId, Component, DatabaseSummary, ItemFailure, Problem, RestoredItem};
use packhorse_vault::{ObjectKey, Vault};
use tokio_util::sync::CancellationToken;

use super::{
    RestoreOptions, Restored,
    beside::{self, Ended},
    connection::Connection,
    failure, in_place,
    replay::Fault,
    target::Target,
};
use crate::pipe::PlainReader;

/// What is left when a restore fails before its end.
pub(super) const UNTOUCHED: &str = "the database was left as it was";

/// What is to be restored, and how.
pub(super) struct Job<'a> {
    /// Where the dump is.
    pub(super) vault: &'a Vault,
    /// The backup.
    pub(super) id: &'a BackupId,
    /// Where the database is.
    pub(super) connection: &'a Connection,
    /// What the backup says of it.
    pub(super) summary: &'a DatabaseSummary,
    /// What the operator said.
    pub(super) options: RestoreOptions,
    /// Stops it.
    pub(super) cancel: &'a CancellationToken,
    /// Is told how many bytes were read.
    pub(super) progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// What came of it.
pub(super) struct Brought {
    /// What failed; the first ones.
    pub(super) faults: Vec<Fault>,
    /// How many failed.
    pub(super) number: u64,
    /// What the operator should know.
    pub(super) remarks: Vec<Problem>,
}

impl Job<'_> {
    /// Opens the dump at its beginning.
    pub(super) async fn open(&self) -> Result<PlainReader, Problem> {
        let key = ObjectKey::part_of(self.id, &self.summary.object.path)?;
        let progress = Arc::clone(&self.progress);
        PlainReader::open(self.vault, &key, &self.summary.object, self.cancel, move |bytes| progress(bytes))
            .await
    }
}

/// Puts the dump into the database of the job's connection.
pub(super) async fn restore(job: Job<'_>) -> Result<Restored, Problem> {
    let untouched = |problem: Problem| match problem.state {
        Some(_) => problem,
        None => problem.leaving(UNTOUCHED),
    };
    let force = job.options.force;
    let target = Target::find(job.connection, job.summary, force, job.cancel).await.map_err(untouched)?;
    let beside = if target.can_be_replaced() {
        beside::restore(&job, &target).await.map_err(untouched)?
    } else {
        Ended::NotAllowed
    };
    let brought = match beside {
        Ended::Done(brought) => brought,
        Ended::NotAllowed => in_place::restore(&job, &target).await.map_err(untouched)?,
    };
    Ok(told(&job, brought))
}

fn told(job: &Job<'_>, brought: Brought) -> Restored {
    let name = &job.summary.name;
    let item =
        |problem| ItemFailure { component: Component::Databases, storage: None, item: name.clone(), problem };
    let named = brought.faults.len() as u64;
    let mut failures: Vec<_> = brought
        .faults
        .into_iter()
        .map(|fault| failure::answered(job.connection, &format!("restore {}", fault.object), &fault.said))
        .map(item)
        .collect();
    if brought.number > named {
        let more = format!("{} more statements failed", brought.number - named);
        failures.push(item(failure::answered(job.connection, "restore database", &more)));
    }
    let remarks = brought.remarks.into_iter().map(item).collect();
    let item = RestoredItem { name: name.clone(), items: 1, already: 0, bytes: job.summary.object.size };
    Restored { item, failures, remarks }
}
