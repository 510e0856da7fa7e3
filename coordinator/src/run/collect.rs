//! Step 4 of a run, collect: everything that was done, as the one summary.
//!
//! Does not own: telling or storing it. The state follows from the number of failures and from nothing else.

use jiff::Timestamp;
use packhorse_model::{Component, Counts, DatabaseSummary, DirectorySummary, RunSummary, StorageSummary};

use super::{gone, plan::RunPlan, request::RunRequest};
use crate::board::Board;

/// The parts of a finished run.
pub struct Parts {
    /// Storages that ended.
    pub storages: Vec<StorageSummary>,
    /// Databases in the backup.
    pub databases: Vec<DatabaseSummary>,
    /// Directories in the backup.
    pub directories: Vec<DirectorySummary>,
}

impl Parts {
    /// Whether there is nothing to commit. Empty storages are something, unless repositories were asked for by name.
    pub fn is_empty(&self, request: &RunRequest) -> bool {
        let no_match = !request.filter.included().is_empty()
            && self.storages.iter().all(|storage| storage.counts.total() == 0);
        (self.storages.is_empty() || no_match) && self.databases.is_empty() && self.directories.is_empty()
    }
}

/// The summary of a run.
pub fn collect(
    plan: &RunPlan,
    request: &RunRequest,
    (started_at, finished_at): (Timestamp, Timestamp),
    parts: Parts,
    board: &Board,
) -> RunSummary {
    let Parts { storages, databases, directories } = parts;
    let (failures, failures_total) = board.failures();
    let mut repositories = Counts::default();
    let (mut bytes_new, mut bytes_total, mut unproven) = (0, 0, 0);
    for storage in &storages {
        repositories.merge(&storage.counts);
        unproven += storage.unproven;
        let catalogue = storage.catalogue.as_ref().map_or(0, |catalogue| catalogue.size);
        bytes_new += storage.bytes_new + catalogue;
        bytes_total += storage.bytes_total + catalogue;
    }
    let databases_bytes = databases.iter().map(|database| database.object.size);
    let others: u64 = databases_bytes.chain(directories.iter().map(|directory| directory.object.size)).sum();
    bytes_new += others;
    bytes_total += others;
    let is_partial = plan.some_storages_only || request.is_partial();
    let has = |component: &Component, name: &str| match component {
        Component::Repositories => storages.iter().any(|storage| storage.storage.as_str() == name),
        Component::Databases => databases.iter().any(|database| database.name == name),
        Component::Directory(name) => directories.iter().any(|directory| directory.name == *name),
    };
    // A run of some parts says nothing of the others, and none is compared with it.
    let lacking = (!is_partial).then(|| gone::lacking(&plan.known, request, &plan.gone, has));
    RunSummary {
        vault: None,
        vault_id: None,
        backup_id: plan.run.id.clone(),
        state: RunSummary::state_of(failures_total, unproven),
        dry_run: request.dry_run,
        partial: is_partial,
        base_backup_id: plan.base_backup_id(request),
        started_at,
        finished_at,
        schedule: request.schedule.clone(),
        repositories,
        unproven,
        bytes_new,
        bytes_total,
        storages,
        databases,
        directories,
        failures,
        failures_total,
        gone: plan.gone.clone(),
        lacking,
        remarks: board.remarks(),
    }
}
