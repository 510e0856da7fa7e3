//! The calls `RestoreStorage` and `PlanRestore`.
//!
//! Does not own: the pipeline (`crate::restore`) or who is at it (`jobs`).

use std::sync::{Arc, Mutex, PoisonError};

use packhorse_model::{Problem, StorageName};
use packhorse_proto::v1::{self, restore_storage_event::Event, restore_storage_request::Request};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Shared,
    catalogue::catalogue_of,
    job::{self, JobRequest, Part, Told, required},
    jobs::{Finished, Job, JobKind, JobName, Manner},
};
use crate::restore::{
    RestoreEvent, RestoreJob, RestoreProgress, StoragePlan, Unmatched, plan_storage, restore_storage,
};

type RestoreStorageEvents = mpsc::Receiver<Result<v1::RestoreStorageEvent, Status>>;

/// Reads the request, and parses the job in it.
async fn read_job(
    shared: &Arc<Shared>,
    requests: &mut Streaming<v1::RestoreStorageRequest>,
) -> Result<(RestoreJob, v1::RestoreJob), Problem> {
    let JobRequest { job: wire, filter, .. } = job::read_request(requests, |message| match message.request {
        Some(Request::Job(job)) => Part::Job(job),
        Some(Request::Filter(filter)) => Part::Filter(filter),
        Some(Request::Go(_)) => Part::Go,
        None => Part::Unknown,
    })
    .await?;
    let target: StorageName = wire.target_storage.parse()?;
    let options = shared.options.now();
    let config = options.storage(&target)?;
    let source: StorageName = wire.source_storage.parse()?;
    let catalogue = catalogue_of(required(wire.catalogue.clone(), "catalogue")?, &source)?;
    let job = RestoreJob {
        backup_id: wire.backup_id.parse()?,
        source,
        target,
        root: config.path.clone(),
        root_is_typed: config.is_typed,
        catalogue,
        filter,
        gone_unconfirmed: wire.gone_unconfirmed,
        force: wire.force,
        skip_existing: wire.skip_existing,
        optimise: wire.optimise,
        last_good: wire.last_good,
        jobs: if config.jobs == 0 { options.jobs } else { config.jobs.min(options.jobs) },
        git: options.git.clone(),
    };
    shared.check_places(&options).await?;
    shared.check_vault(&wire.vault_id).await?;
    Ok((job, wire))
}

/// Reads the request, and says what the job would do. What nobody waits for any more is given up.
pub(super) async fn plan(
    shared: &Arc<Shared>,
    mut requests: Streaming<v1::RestoreStorageRequest>,
) -> Result<v1::PlanRestoreResponse, Problem> {
    let (job, _) = read_job(shared, &mut requests).await?;
    let cancel = shared.stopping.child_token();
    let _given_up = cancel.clone().drop_guard();
    plan_storage(&shared.vault, job, cancel).await.map(plan_response)
}

/// Reads the request, and joins or starts the job.
pub(super) async fn start(
    shared: &Arc<Shared>,
    mut requests: Streaming<v1::RestoreStorageRequest>,
) -> Result<RestoreStorageEvents, Problem> {
    let (job, wire) = read_job(shared, &mut requests).await?;
    let target = job.target.clone();
    let name = JobName { kind: JobKind::Restore, run: wire.run, backup: job.backup_id.clone() };
    let latest = Arc::new(Mutex::new(RestoreProgress::default()));
    let (shown, told_as) = (Arc::clone(&latest), target.to_string());
    let vault = shared.vault.clone();
    let joined = shared.jobs.join_or_start(
        &target,
        name,
        Manner { only_join: wire.join, keep: shared.options.now().rejoin_within },
        move || progress_of(&told_as, &shown.lock().unwrap_or_else(PoisonError::into_inner)),
        |handle, cancel| async move {
            tracing::info!(storage = %job.target, backup = %job.backup_id, "a restore starts");
            let target = job.target.clone();
            let (out, told) = mpsc::channel(64);
            let work = restore_storage(vault, job, out, cancel);
            let (result, ()) = tokio::join!(work, record(told, &handle, latest));
            let result = result?;
            tracing::info!(storage = %target, restored = result.restored, failures = result.failures, "a restore ends");
            Ok(Finished::Restore(v1::RestoreStorageFinished {
                restored: result.restored,
                already: result.already,
                bytes: result.bytes,
                failures: result.failures,
                unmatched: result.unmatched,
                remarks: result.remarks.iter().map(Into::into).collect(),
            }))
        },
    );
    Ok(job::pass_on(shared, joined.await?, |told| {
        let event = match told {
            Told::Progress(progress) => Event::Progress(progress),
            Told::Failure(failure) => Event::Failure(failure),
            Told::Finished(Finished::Restore(finished)) => Event::Finished(finished),
            Told::Finished(Finished::Backup(_)) => return Err(Status::internal("the job is a backup")),
        };
        Ok(v1::RestoreStorageEvent { event: Some(event) })
    }))
}

async fn record(mut told: mpsc::Receiver<RestoreEvent>, job: &Job, latest: Arc<Mutex<RestoreProgress>>) {
    while let Some(event) = told.recv().await {
        match event {
            RestoreEvent::Progress(progress) => {
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = progress;
            }
            RestoreEvent::Failed(failure) => {
                let storage = failure.storage.as_deref();
                tracing::warn!(storage, item = %failure.item, problem = %failure.problem, "a repository failed");
                job.course().failed(failure);
            }
        }
    }
}

fn plan_response(plan: StoragePlan) -> v1::PlanRestoreResponse {
    let unmatched = |Unmatched { pattern, nearest }| v1::Unmatched { pattern, nearest };
    v1::PlanRestoreResponse {
        added: plan.added,
        replaced: plan.replaced,
        already: plan.already,
        refused: plan.refused,
        bytes: plan.bytes,
        needed: plan.needed,
        room: plan.room.map(|room| v1::Room { device: room.device, available: room.available }),
        failures: plan.failures.iter().map(Into::into).collect(),
        failures_total: plan.failures_total,
        problems: plan.problems.iter().map(Into::into).collect(),
        unmatched: plan.unmatched.into_iter().map(unmatched).collect(),
        unmatched_excluded: plan.unmatched_excluded.into_iter().map(unmatched).collect(),
    }
}

fn progress_of(storage: &str, now: &RestoreProgress) -> v1::StorageProgress {
    v1::StorageProgress {
        storage: storage.to_owned(),
        known: now.known,
        known_all: true,
        done: now.done,
        failed: now.failed,
        bytes: now.bytes,
        working_on: now.working_on.clone(),
        stored: 0,
        stored_bytes: 0,
        waits_for: String::new(),
    }
}
