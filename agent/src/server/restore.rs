//! The call `RestoreStorage`.
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
use crate::restore::{RestoreEvent, RestoreJob, RestoreProgress, restore_storage};

type RestoreStorageEvents = mpsc::Receiver<Result<v1::RestoreStorageEvent, Status>>;

/// Reads the request, and joins or starts the job.
pub(super) async fn start(
    shared: &Arc<Shared>,
    mut requests: Streaming<v1::RestoreStorageRequest>,
) -> Result<RestoreStorageEvents, Problem> {
    let JobRequest { job: wire, filter, .. } =
        job::read_request(&mut requests, |message| match message.request {
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
    let catalogue = catalogue_of(required(wire.catalogue, "catalogue")?, &source)?;
    let job = RestoreJob {
        backup_id: wire.backup_id.parse()?,
        source,
        target: target.clone(),
        root: config.path.clone(),
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
    let name = JobName { kind: JobKind::Restore, run: wire.run, backup: job.backup_id.clone() };
    let latest = Arc::new(Mutex::new(RestoreProgress::default()));
    let (shown, told_as) = (Arc::clone(&latest), target.to_string());
    let vault = shared.vault.clone();
    let joined = shared.jobs.join_or_start(
        &target,
        name,
        Manner { only_join: wire.join, keep: options.rejoin_within },
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
    }
}
