//! Step 3 of a run, dispatch: one stream per storage to its agent.
//!
//! Does not own: repositories; the agent sends back counts, failures and its catalogue's digest. All storages run
//! beside each other; one that fails, or whose agent dies, is a named failure and does not hold up the others.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use packhorse_model::{
    Component, Counts, ErrorKind, ItemFailure, ObjectDigest, Problem, RepoFilter, StorageSummary, Subject,
};
use packhorse_proto::{
    filter_to_wire, problem_of_status,
    v1::{self, BackupStorageFinished, backup_storage_event::Event, backup_storage_request::Request},
};
use packhorse_vault::ObjectKey;
use tokio_util::sync::CancellationToken;

use super::{
    plan::{RunPlan, StoragePlan},
    request::RunRequest,
};
use crate::board::Board;

/// Backs up all storages of a plan.
pub async fn dispatch(
    plan: &RunPlan,
    request: &RunRequest,
    board: &Board,
    cancel: &CancellationToken,
) -> Vec<StorageSummary> {
    let mut jobs = Vec::new();
    for storage in &plan.storages {
        jobs.push(async move { (storage, back_up(plan, storage, request, board, cancel).await) });
    }
    let mut summaries = Vec::new();
    let mut unmatched: Option<BTreeSet<String>> = None;
    for (storage, finished) in join_all(jobs).await {
        match finished.and_then(|finished| Ok((summary(storage, request, &finished)?, finished.unmatched))) {
            Ok((summary, patterns)) => {
                summaries.push(summary);
                let patterns: BTreeSet<String> = patterns.into_iter().collect();
                unmatched = Some(match unmatched {
                    Some(others) => others.intersection(&patterns).cloned().collect(),
                    None => patterns,
                });
            }
            Err(problem) => board.failed(whole_storage(storage, problem)).await,
        }
    }
    for pattern in unmatched.unwrap_or_default() {
        board.failed(matched_nothing(pattern)).await;
    }
    summaries
}

/// The failure of a pattern that names no repository anywhere.
pub fn matched_nothing(pattern: String) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Repository, "find repository")
        .on(&pattern)
        .answered("matches no repository of the selected storages");
    ItemFailure { component: Component::Repositories, storage: None, item: pattern, problem }
}

fn whole_storage(storage: &StoragePlan, problem: Problem) -> ItemFailure {
    ItemFailure {
        component: Component::Repositories,
        storage: Some(storage.storage.to_string()),
        item: "(whole storage)".into(),
        problem,
    }
}

fn summary(
    storage: &StoragePlan,
    request: &RunRequest,
    finished: &BackupStorageFinished,
) -> Result<StorageSummary, Problem> {
    let catalogue: Option<ObjectDigest> = finished.catalogue.clone().map(TryInto::try_into).transpose()?;
    // It becomes part of the report, so an agent may name nothing but its own.
    if let Some(other) = catalogue.iter().find(|c| !ObjectKey::is_catalogue_of(&c.path, &storage.storage)) {
        let problem = Problem::new(ErrorKind::Invalid, Subject::Agent, "read the agent's result");
        return Err(problem.on(&other.path).answered("is not the key of a catalogue of this storage"));
    }
    Ok(StorageSummary {
        storage: storage.storage.clone(),
        counts: finished.counts.map(Counts::from).unwrap_or_default(),
        bytes_new: finished.bytes_new,
        bytes_total: finished.bytes_total,
        catalogue,
        filtered: !request.filter.is_all(),
        failures: finished.failures,
    })
}

async fn back_up(
    plan: &RunPlan,
    storage: &StoragePlan,
    request: &RunRequest,
    board: &Board,
    cancel: &CancellationToken,
) -> Result<BackupStorageFinished, Problem> {
    let address = storage.agent.address.to_string();
    let failed = |status: tonic::Status| problem_of_status(&status, Subject::Agent, &address);
    let job = v1::BackupJob {
        backup_id: plan.backup_id.to_string(),
        storage: storage.storage.to_string(),
        vault_id: plan.vault_id.clone(),
        mode: request.mode.into(),
        // A full backup gets it too: a failed repository keeps its last good manifest from there.
        base: storage.base.as_ref().map(|base| (&base.catalogue).into()),
        dry_run: request.dry_run,
    };
    let requests = [Request::Job(job)].into_iter().chain(filter_requests(&request.filter));
    let requests: Vec<_> =
        requests.map(|request| v1::BackupStorageRequest { request: Some(request) }).collect();
    let mut client = storage.agent.client.clone();
    let call = client.backup_storage(tokio_stream::iter(requests));
    let mut events = call.await.map_err(failed)?.into_inner();
    loop {
        let event = tokio::select! {
            event = events.message() => event.map_err(failed)?,
            // Dropping the stream tells the agent to stop.
            () = cancel.cancelled() => return Err(Problem::cancelled("back up storage")),
        };
        match event.and_then(|event| event.event) {
            Some(Event::Progress(progress)) => board.storage(progress),
            Some(Event::Failure(failure)) => board.failed(failure.try_into()?).await,
            Some(Event::Finished(finished)) => return Ok(finished),
            None => return Err(ended_early(&address)),
        }
    }
}

/// The error of a stream that ended without its last event.
pub fn ended_early(address: &str) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Agent, "follow job")
        .on(address)
        .answered("the agent ended its stream before the job's end")
        .next("look at the agent's log, then run again")
}

/// Patterns in messages of bounded size.
fn filter_requests(filter: &RepoFilter) -> Vec<Request> {
    filter_parts(filter).into_iter().map(Request::Filter).collect()
}

/// A filter cut into messages of at most a thousand patterns.
pub fn filter_parts(filter: &RepoFilter) -> Vec<v1::RepositoryFilter> {
    let v1::RepositoryFilter { include, exclude } = filter_to_wire(filter);
    let include =
        include.chunks(1000).map(|part| v1::RepositoryFilter { include: part.to_vec(), exclude: vec![] });
    let exclude =
        exclude.chunks(1000).map(|part| v1::RepositoryFilter { include: vec![], exclude: part.to_vec() });
    include.chain(exclude).collect()
}
