//! The call `BackupStorage`.
//!
//! Does not own: the pipeline (`crate::backup`).

use std::sync::Arc;

use packhorse_model::{Problem, StorageName};
use packhorse_proto::v1::{self, BackupMode, backup_storage_event::Event, backup_storage_request::Request};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Shared,
    catalogue::catalogue_of,
    job::{self, Part},
};
use crate::backup::{BackupEvent, BackupJob, Progress, Rules, StorageResult, back_up_storage};

type BackupStorageEvents = mpsc::Receiver<Result<v1::BackupStorageEvent, Status>>;

/// Reads the request and starts the job.
pub(super) async fn start(
    shared: &Arc<Shared>,
    requests: Streaming<v1::BackupStorageRequest>,
) -> Result<BackupStorageEvents, Problem> {
    let (wire, filter) = job::read_request(requests, |message| match message.request {
        Some(Request::Job(job)) => Part::Job(job),
        Some(Request::Filter(filter)) => Part::Filter(filter),
        None => Part::Unknown,
    })
    .await?;
    let storage: StorageName = wire.storage.parse()?;
    let config = shared.storage(&storage)?;
    let options = &shared.options;
    let full = wire.mode() == BackupMode::Full;
    let job = BackupJob {
        backup_id: wire.backup_id.parse()?,
        storage: storage.clone(),
        root: config.path.clone(),
        base: wire.base.map(|base| catalogue_of(base, &storage)).transpose()?,
        filter,
        rules: Rules { max_chain: options.max_chain, full },
        manifest_every_run: options.manifest_every_run,
        dry_run: wire.dry_run,
        jobs: options.jobs,
        git: options.git.clone(),
    };
    if !wire.dry_run {
        shared.check_vault(&wire.vault_id).await?;
    }
    let claim = shared.claims.claim(&storage, format!("backup {}", job.backup_id))?;
    tracing::info!(%storage, backup = %job.backup_id, "backup starts");
    let progress = Arc::new(Progress::default());
    let shown = Arc::clone(&progress);
    let vault = shared.vault.clone();
    let name = storage.to_string();
    let tell = move || progress_event(&name, &shown);
    Ok(job::run(shared, tell, |events, cancel| async move {
        let _claim = claim;
        let (failures, told) = mpsc::channel(64);
        let work = back_up_storage(vault, job, progress, failures, cancel);
        let (result, ()) = tokio::join!(work, forward(told, events));
        let result = result?;
        tracing::info!(%storage, counts = ?result.counts, "backup ends");
        Ok(v1::BackupStorageEvent { event: Some(Event::Finished(finished(&result))) })
    }))
}

async fn forward(mut told: mpsc::Receiver<BackupEvent>, events: mpsc::Sender<v1::BackupStorageEvent>) {
    while let Some(BackupEvent::Failed(failure)) = told.recv().await {
        tracing::warn!(storage = ?failure.storage, item = %failure.item, problem = %failure.problem, "failed");
        let event = Event::Failure((&failure).into());
        let _ = events.send(v1::BackupStorageEvent { event: Some(event) }).await;
    }
}

fn progress_event(storage: &str, progress: &Progress) -> v1::BackupStorageEvent {
    let now = progress.snapshot();
    let event = Event::Progress(v1::StorageProgress {
        storage: storage.to_owned(),
        known: now.known,
        known_all: now.known_all,
        done: now.done,
        failed: now.failed,
        bytes: now.bytes,
        working_on: now.working_on,
    });
    v1::BackupStorageEvent { event: Some(event) }
}

fn finished(result: &StorageResult) -> v1::BackupStorageFinished {
    v1::BackupStorageFinished {
        counts: Some((&result.counts).into()),
        bytes_new: result.bytes_new,
        bytes_total: result.bytes_total,
        catalogue: result.catalogue.as_ref().map(Into::into),
        failures: result.failures,
        unmatched: result.unmatched.clone(),
    }
}
