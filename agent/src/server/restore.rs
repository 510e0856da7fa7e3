//! The call `RestoreStorage`.
//!
//! Does not own: the pipeline (`crate::restore`).

use std::sync::{Arc, Mutex, PoisonError};

use packhorse_model::{Problem, StorageName};
use packhorse_proto::v1::{self, restore_storage_event::Event, restore_storage_request::Request};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Shared,
    catalogue::catalogue_of,
    job::{self, Part, required},
};
use crate::restore::{RestoreEvent, RestoreJob, RestoreProgress, restore_storage};

type RestoreStorageEvents = mpsc::Receiver<Result<v1::RestoreStorageEvent, Status>>;

/// Reads the request and starts the job.
pub(super) async fn start(
    shared: &Arc<Shared>,
    requests: Streaming<v1::RestoreStorageRequest>,
) -> Result<RestoreStorageEvents, Problem> {
    let (wire, filter) = job::read_request(requests, |message| match message.request {
        Some(Request::Job(job)) => Part::Job(job),
        Some(Request::Filter(filter)) => Part::Filter(filter),
        None => Part::Unknown,
    })
    .await?;
    let target: StorageName = wire.target_storage.parse()?;
    let config = shared.storage(&target)?;
    let source: StorageName = wire.source_storage.parse()?;
    let catalogue = catalogue_of(required(wire.catalogue, "catalogue")?, &source)?;
    let job = RestoreJob {
        backup_id: wire.backup_id.parse()?,
        source,
        target: target.clone(),
        root: config.path.clone(),
        catalogue,
        filter,
        force: wire.force,
        jobs: shared.options.jobs,
        git: shared.options.git.clone(),
    };
    shared.check_vault(&wire.vault_id).await?;
    let claim = shared.claims.claim(&target, format!("restore of {}", job.backup_id))?;
    tracing::info!(storage = %target, backup = %job.backup_id, "restore starts");
    let latest = Arc::new(Mutex::new(RestoreProgress::default()));
    let shown = Arc::clone(&latest);
    let vault = shared.vault.clone();
    let name = target.to_string();
    let tell = move || progress_event(&name, &shown.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(job::run(shared, tell, |events, cancel| async move {
        let _claim = claim;
        let (out, told) = mpsc::channel(64);
        let work = restore_storage(vault, job, out, cancel);
        let (result, ()) = tokio::join!(work, forward(told, events, latest));
        let result = result?;
        tracing::info!(storage = %target, restored = result.restored, failures = result.failures, "restore ends");
        let finished = v1::RestoreStorageFinished {
            restored: result.restored,
            bytes: result.bytes,
            failures: result.failures,
            unmatched: result.unmatched,
        };
        Ok(v1::RestoreStorageEvent { event: Some(Event::Finished(finished)) })
    }))
}

async fn forward(
    mut told: mpsc::Receiver<RestoreEvent>,
    events: mpsc::Sender<v1::RestoreStorageEvent>,
    latest: Arc<Mutex<RestoreProgress>>,
) {
    while let Some(event) = told.recv().await {
        match event {
            RestoreEvent::Progress(progress) => {
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = progress;
            }
            RestoreEvent::Failed(failure) => {
                tracing::warn!(storage = ?failure.storage, item = %failure.item, problem = %failure.problem, "failed");
                let event = Event::Failure((&failure).into());
                let _ = events.send(v1::RestoreStorageEvent { event: Some(event) }).await;
            }
        }
    }
}

fn progress_event(storage: &str, now: &RestoreProgress) -> v1::RestoreStorageEvent {
    let event = Event::Progress(v1::StorageProgress {
        storage: storage.to_owned(),
        known: now.known,
        known_all: true,
        done: now.done,
        failed: now.failed,
        bytes: now.bytes,
        working_on: now.working_on.clone(),
    });
    v1::RestoreStorageEvent { event: Some(event) }
}
