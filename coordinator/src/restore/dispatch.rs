//! Step 2 of a restore: one stream per storage to its agent.
//!
//! Does not own: repositories. A storage that fails as a whole is a named failure; the others go on.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use packhorse_model::{BackupId, Component, ItemFailure, Problem, RestoredItem, Subject};
use packhorse_proto::{
    problem_of_status,
    v1::{self, RestoreStorageFinished, restore_storage_event::Event, restore_storage_request::Request},
};
use tokio_util::sync::CancellationToken;

use super::request::{RestorePlan, RestoreRequest, StorageRestore};
use crate::{
    board::Board,
    fleet::Fleet,
    run::{ended_early, filter_parts, matched_nothing},
};

/// What stays the same for all storages of a restore.
pub struct Restore<'a> {
    /// The backup.
    pub backup_id: &'a BackupId,
    /// Identity of the vault.
    pub vault_id: &'a str,
    /// What was asked.
    pub request: &'a RestoreRequest,
    /// The agents.
    pub fleet: &'a Fleet,
}

/// Restores all storages of a plan.
pub async fn dispatch(
    restore: &Restore<'_>,
    plan: &RestorePlan,
    board: &Board,
    cancel: &CancellationToken,
) -> Vec<RestoredItem> {
    let mut jobs = Vec::new();
    for storage in &plan.storages {
        jobs.push(async move { (storage, restore_one(restore, storage, board, cancel).await) });
    }
    let mut items = Vec::new();
    let mut unmatched: Option<BTreeSet<String>> = None;
    for (storage, finished) in join_all(jobs).await {
        match finished {
            Ok(finished) => {
                let name = storage.target.to_string();
                items.push(RestoredItem { name, items: finished.restored, bytes: finished.bytes });
                let patterns: BTreeSet<String> = finished.unmatched.into_iter().collect();
                unmatched = Some(match unmatched {
                    Some(others) => others.intersection(&patterns).cloned().collect(),
                    None => patterns,
                });
            }
            Err(problem) => {
                let storage = Some(storage.target.to_string());
                let item = "(whole storage)".into();
                board
                    .failed(ItemFailure { component: Component::Repositories, storage, item, problem })
                    .await;
            }
        }
    }
    for pattern in unmatched.unwrap_or_default() {
        board.failed(matched_nothing(pattern)).await;
    }
    items
}

async fn restore_one(
    restore: &Restore<'_>,
    storage: &StorageRestore,
    board: &Board,
    cancel: &CancellationToken,
) -> Result<RestoreStorageFinished, Problem> {
    let agent = restore.fleet.agent_of(&storage.target)?;
    let address = agent.address.to_string();
    let failed = |status: tonic::Status| problem_of_status(&status, Subject::Agent, &address);
    let job = v1::RestoreJob {
        backup_id: restore.backup_id.to_string(),
        source_storage: storage.source.to_string(),
        target_storage: storage.target.to_string(),
        vault_id: restore.vault_id.to_owned(),
        catalogue: Some((&storage.catalogue).into()),
        force: restore.request.force,
    };
    let filters = filter_parts(&restore.request.filter).into_iter().map(Request::Filter);
    let requests: Vec<_> = [Request::Job(job)]
        .into_iter()
        .chain(filters)
        .map(|request| v1::RestoreStorageRequest { request: Some(request) })
        .collect();
    let mut client = agent.client.clone();
    let call = client.restore_storage(tokio_stream::iter(requests));
    let mut events = call.await.map_err(failed)?.into_inner();
    loop {
        let event = tokio::select! {
            event = events.message() => event.map_err(failed)?,
            () = cancel.cancelled() => return Err(Problem::cancelled("restore storage")),
        };
        match event.and_then(|event| event.event) {
            Some(Event::Progress(progress)) => board.storage(progress),
            Some(Event::Failure(failure)) => board.failed(failure.try_into()?).await,
            Some(Event::Finished(finished)) => return Ok(finished),
            None => return Err(ended_early(&address)),
        }
    }
}
