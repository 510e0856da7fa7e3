//! The call `BackupStorage`.
//!
//! Does not own: the pipeline (`crate::backup`) or who is at it (`jobs`).

use std::sync::Arc;

use packhorse_model::{Problem, StorageName};
use packhorse_proto::v1::{self, BackupMode, backup_storage_event::Event, backup_storage_request::Request};
use packhorse_vault::RunAttempt;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    AgentOptions, Shared,
    catalogue::catalogue_of,
    job::{self, JobRequest, Part, Told},
    jobs::{Finished, Job, JobKind, JobName, Manner},
    limits::JobShare,
};
use crate::backup::{BackupEvent, BackupJob, Progress, Rules, StorageResult, back_up_storage};

type BackupStorageEvents = mpsc::Receiver<Result<v1::BackupStorageEvent, Status>>;

/// Reads the request, and joins or starts the job.
pub(super) async fn start(
    shared: &Arc<Shared>,
    mut requests: Streaming<v1::BackupStorageRequest>,
) -> Result<BackupStorageEvents, Problem> {
    let JobRequest { job: wire, filter, limits } =
        job::read_request(&mut requests, |message| match message.request {
            Some(Request::Job(job)) => Part::Job(job),
            Some(Request::Filter(filter)) => Part::Filter(filter),
            Some(Request::Go(_)) => Part::Go,
            Some(Request::Limits(limits)) => Part::Limits(limits),
            None => Part::Unknown,
        })
        .await?;
    let storage: StorageName = wire.storage.parse()?;
    let options = shared.options.now();
    let share = shared.limits.share_of(&options, options.storage(&storage)?);
    let run = wire.run.clone();
    let job = job_of(shared, &options, wire, filter, &share).await?;
    let name = JobName { kind: JobKind::Backup, run, backup: job.attempt.id.clone() };
    let progress = Arc::new(Progress::default());
    let (shown, told_as) = (Arc::clone(&progress), storage.to_string());
    let (vault, working) = (shared.vault.paced(share.pace()), share.clone());
    let joined = shared.jobs.join_or_start(
        &storage,
        name,
        Manner { only_join: false, keep: options.rejoin_within },
        move || progress_of(&told_as, &shown),
        |handle, cancel| async move {
            working.set(&limits);
            let _at_work = working.begin();
            tracing::info!(storage = %job.storage, backup = %job.attempt.id, "a backup starts");
            let storage = job.storage.clone();
            let (failures, told) = mpsc::channel(64);
            let work = back_up_storage(vault, job, progress, failures, cancel);
            let (result, ()) = tokio::join!(work, record(told, &handle));
            let result = result?;
            let counts = result.counts;
            tracing::info!(
                %storage,
                repositories = counts.total(),
                backed_up = counts.backed_up,
                unchanged = counts.unchanged,
                empty = counts.empty,
                missing = counts.missing,
                failed = counts.failed,
                "backup ends"
            );
            Ok(Finished::Backup(Box::new(finished(&result))))
        },
    );
    let joined = joined.await?;
    // Not before: a request that is refused changes nothing for the job that is at work.
    share.set(&limits);
    shared.tracker.spawn(follow_limits(requests, share, Arc::clone(&joined.0)));
    Ok(job::pass_on(shared, joined, |told| {
        let event = match told {
            Told::Progress(progress) => Event::Progress(progress),
            Told::Failure(failure) => Event::Failure(failure),
            Told::Finished(Finished::Backup(finished)) => Event::Finished(*finished),
            Told::Finished(Finished::Restore(_)) => return Err(Status::internal("the job is a restore")),
        };
        Ok(v1::BackupStorageEvent { event: Some(event) })
    }))
}

async fn job_of(
    shared: &Shared,
    options: &AgentOptions,
    wire: v1::BackupJob,
    filter: packhorse_model::RepoFilter,
    share: &JobShare,
) -> Result<BackupJob, Problem> {
    let storage: StorageName = wire.storage.parse()?;
    let full = wire.mode() == BackupMode::Full;
    let (vault_id, dry_run, prove_later) = (wire.vault_id, wire.dry_run, wire.prove_later);
    let job = BackupJob {
        attempt: RunAttempt { id: wire.backup_id.parse()?, attempt: wire.attempt.parse()? },
        root: options.storage(&storage)?.path.clone(),
        base: wire.base.map(|base| catalogue_of(base, &storage)).transpose()?,
        storage,
        unfinished: wire.unfinished_runs.iter().map(|id| id.parse()).collect::<Result<_, _>>()?,
        gone_unconfirmed: wire.gone_unconfirmed,
        filter,
        rules: Rules {
            max_chain: options.max_chain,
            full,
            prove_later,
            max_garbage: options.max_garbage,
            index_from: options.index_from,
        },
        manifests: options.manifests,
        dry_run,
        stopping: shared.stopping.clone(),
        slots: share.slots(),
        patience: options.patience,
        git: options.git.clone(),
    };
    shared.check_places(options).await?;
    if !dry_run {
        shared.check_vault(&vault_id).await?;
    }
    Ok(job)
}

/// Takes over what the coordinator lets the job have, as long as it says so.
async fn follow_limits(mut requests: Streaming<v1::BackupStorageRequest>, share: JobShare, job: Arc<Job>) {
    loop {
        let message = tokio::select! {
            biased;
            // What comes after the job's end is not for the storage's next one.
            _ = job.course().wait() => return,
            message = requests.message() => message,
        };
        match message {
            Ok(Some(v1::BackupStorageRequest { request: Some(Request::Limits(limits)) })) => {
                share.set(&limits)
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

async fn record(mut told: mpsc::Receiver<BackupEvent>, job: &Job) {
    while let Some(BackupEvent::Failed(failure)) = told.recv().await {
        let storage = failure.storage.as_deref();
        tracing::warn!(storage, item = %failure.item, problem = %failure.problem, "a repository failed");
        job.course().failed(failure);
    }
}

fn progress_of(storage: &str, progress: &Progress) -> v1::StorageProgress {
    let now = progress.snapshot();
    v1::StorageProgress {
        storage: storage.to_owned(),
        known: now.known,
        known_all: now.known_all,
        done: now.done,
        failed: now.failed,
        bytes: now.bytes,
        working_on: now.working_on,
        stored: now.stored,
        stored_bytes: now.stored_bytes,
        waits_for: String::new(),
    }
}

fn finished(result: &StorageResult) -> v1::BackupStorageFinished {
    v1::BackupStorageFinished {
        counts: Some((&result.counts).into()),
        bytes_new: result.bytes_new,
        bytes_total: result.bytes_total,
        catalogue: result.catalogue.as_ref().map(Into::into),
        failures: result.failures,
        unmatched: result.unmatched.clone(),
        near: result.near.clone(),
        unproven: result.unproven,
        base_repositories: result.base_repositories,
        still_gone: result.still_gone,
        emptied: result.emptied.total,
        emptied_names: result.emptied.names.iter().map(ToString::to_string).collect(),
        gone: result.gone.clone(),
        remarks: result.remarks.iter().map(Into::into).collect(),
        passed_over: (!result.passed_over.is_empty()).then(|| (&result.passed_over).into()),
    }
}
