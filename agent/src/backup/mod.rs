//! Backs up one storage: discover → snapshot → plan → bundle → upload → commit, for every repository.
//!
//! Order: `scan` walks the storage beside the base catalogue (`discover`); workers take a `snapshot` of each repository
//! and settle the unchanged ones on the spot; the others go, a bounded number at a time, through `repository`, which
//! plans, bundles, uploads and commits; `collate` writes the catalogue in path order.
//!
//! Retries: the vault's client has its own; git is tried again on a repository that moves (`repository`). A failed
//! repository is an entry, never the end of the storage.
//!
//! Cancellation: one token stops the walk, kills git and leaves the catalogue unwritten.
//!
//! A crash leaves: repositories that were committed keep their manifests, which the next run does not need; nothing
//! names the rest. The catalogue is the last thing written here, so a storage is either wholly accounted for or not.

mod bundle;
mod collate;
mod commit;
mod copy;
mod discover;
mod hooks;
mod pack_proof;
mod plan;
mod prerequisites;
mod progress;
mod refs;
mod reftable;
mod repository;
mod scan;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use packhorse_model::{
    BackupId, Component, Counts, ErrorKind, ItemFailure, ObjectDigest, Outcome, Problem, RepoFilter,
    StorageName, Subject,
};
use packhorse_vault::{CatalogueReader, CatalogueWriter, ObjectKey, Vault};
pub use plan::Rules;
pub use progress::{Progress, ProgressSnapshot};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::git::Git;

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct BackupJob {
    /// The run.
    pub backup_id: BackupId,
    /// The storage's name.
    pub storage: StorageName,
    /// The storage's folder.
    pub root: PathBuf,
    /// The catalogue that increments are built on.
    pub base: Option<ObjectDigest>,
    /// Which repositories.
    pub filter: RepoFilter,
    /// When to start new chains.
    pub rules: Rules,
    /// Write Gitaly's manifest for unchanged repositories too.
    pub manifest_every_run: bool,
    /// Look and decide, write nothing.
    pub dry_run: bool,
    /// Repositories packed at once.
    pub jobs: usize,
    /// The git executable.
    pub git: PathBuf,
}

/// What a backup tells while it runs.
#[derive(Clone, Debug)]
pub enum BackupEvent {
    /// One repository, or path, failed.
    Failed(ItemFailure),
}

/// What became of a storage.
#[derive(Clone, Debug)]
pub struct StorageResult {
    /// Repositories by outcome.
    pub counts: Counts,
    /// Bytes written by this run.
    pub bytes_new: u64,
    /// Bytes of everything that the catalogue's manifests name.
    pub bytes_total: u64,
    /// The catalogue; none in a dry run.
    pub catalogue: Option<ObjectDigest>,
    /// Failures told, those without a repository included.
    pub failures: u64,
    /// Included patterns that matched no repository.
    pub unmatched: Vec<String>,
}

/// What every part of one storage's backup shares.
#[derive(Debug)]
pub struct Run {
    vault: Vault,
    backup_id: BackupId,
    storage: StorageName,
    root: PathBuf,
    filter: RepoFilter,
    rules: Rules,
    manifest_every_run: bool,
    dry_run: bool,
    git: Git,
    cancel: CancellationToken,
    progress: Arc<Progress>,
    /// Steps being committed: they wait for the vault, not for a CPU, so there are many more than jobs.
    commits: Arc<Semaphore>,
    /// Why the vault is given up: its client's time budget is spent, or it refuses us.
    vault_lost: OnceLock<Problem>,
}

/// Steps that are committed at once, small ones; a larger one counts as several, to bound memory.
const COMMITS: u32 = 256;
/// Refs that count as one step.
const REFS_EACH: usize = 1_250;
/// Bytes of a bundle that wait to be written, likewise.
const BYTES_EACH: usize = 128 * 1024;

impl Run {
    /// Waits for room to commit a step. The semaphore is never closed, so there always comes a permit.
    async fn room_to_commit(
        &self,
        snapshot: &snapshot::Snapshot,
        buffered: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let size = 1 + snapshot.refs.refs.len() / REFS_EACH + buffered / BYTES_EACH;
        let size = u32::try_from(size).unwrap_or(COMMITS).min(COMMITS);
        Arc::clone(&self.commits).acquire_many_owned(size).await.ok()
    }

    /// Ends the storage when the vault is gone for good: every further repository would only wait as long for nothing.
    fn give_up_if_vault_is_lost(&self, problem: &Problem) {
        let lost = matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::Denied);
        if lost && problem.subject == Subject::Vault {
            let _ = self.vault_lost.set(problem.clone());
            self.cancel.cancel();
        }
    }
}

/// Backs up one storage to its end.
pub async fn back_up_storage(
    vault: Vault,
    job: BackupJob,
    progress: Arc<Progress>,
    events: mpsc::Sender<BackupEvent>,
    cancel: CancellationToken,
) -> Result<StorageResult, Problem> {
    // A child token, so that whatever ends this storage early also stops its parts.
    let cancel = cancel.child_token();
    let _stop_parts = cancel.clone().drop_guard();
    let BackupJob { backup_id, storage, root, filter, rules, manifest_every_run, dry_run, git, .. } = job;
    let git = Git::new(git);
    let base = match &job.base {
        Some(digest) => open_base(&vault, digest, &storage).await?,
        None => None,
    };
    check_vault_is_elsewhere(&vault, &root)?;
    let run = Arc::new(Run {
        vault,
        backup_id,
        storage,
        root,
        filter,
        rules,
        manifest_every_run,
        dry_run,
        git,
        cancel,
        progress,
        commits: Arc::new(Semaphore::new(COMMITS as usize)),
        vault_lost: OnceLock::new(),
    });
    let jobs = job.jobs.max(1);
    let (batches_out, batches_in) = mpsc::channel(4);
    let (lines_out, lines_in) = mpsc::channel(1024);

    let scan = spawn_blocking({
        let run = Arc::clone(&run);
        move || scan::run(&run, base, &batches_out)
    });
    let work = work_off(Arc::clone(&run), batches_in, lines_out, jobs);
    let (settled_out, settled_in) = tokio::sync::oneshot::channel::<Result<u64, Problem>>();
    let collate = spawn_blocking({
        let (run, events) = (Arc::clone(&run), events.clone());
        move || {
            let expected =
                || settled_in.blocking_recv().unwrap_or_else(|_| Err(Problem::cancelled("back up storage")));
            let collated = write_catalogue(&run, lines_in, &events, expected);
            // Without a catalogue the rest of the work would be for nothing.
            collated.inspect_err(|_| run.cancel.cancel())
        }
    });
    work.await;
    let scanned = scan.await.unwrap_or_else(|panic| Err(defect(panic)));
    let stopped = run.vault_lost.get().cloned();
    let stopped = stopped.or_else(|| {
        run.cancel.is_cancelled().then(|| Problem::cancelled("back up storage").on(&run.storage))
    });
    let settled = match (&scanned, stopped) {
        (_, Some(problem)) => Err(problem),
        (Err(problem), None) => Err(problem.clone()),
        (Ok(scanned), None) => Ok(scanned.items),
    };
    let _ = settled_out.send(settled);
    let collated = collate.await.unwrap_or_else(|panic| Err(defect(panic)))?;
    let scan::Scanned { unnamable, unmatched, .. } = scanned?;
    let failures = collated.counts.failed + unnamable.len() as u64;
    for (item, problem) in unnamable {
        let storage = Some(run.storage.to_string());
        let failure = ItemFailure { component: Component::Repositories, storage, item, problem };
        let _ = events.send(BackupEvent::Failed(failure)).await;
    }
    Ok(StorageResult {
        counts: collated.counts,
        bytes_new: collated.bytes_new,
        bytes_total: collated.bytes_total,
        catalogue: collated.catalogue,
        failures,
        unmatched,
    })
}

/// The base catalogue; none when it is damaged or gone, because a new chain for everything is better than no backup.
async fn open_base(
    vault: &Vault,
    digest: &ObjectDigest,
    storage: &StorageName,
) -> Result<Option<CatalogueReader>, Problem> {
    match CatalogueReader::open(vault, digest, storage).await {
        Ok(reader) => Ok(Some(reader)),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
            tracing::error!(%storage, %error, "the catalogue to build on is unusable: every repository gets a new chain");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses a vault within the storage, where the next run would take its folders for broken repositories.
fn check_vault_is_elsewhere(vault: &Vault, root: &Path) -> Result<(), Problem> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match vault.local_folder() {
        Some(folder) if real(folder).starts_with(real(root)) => {
            Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "back up storage")
                .on(root.display())
                .answered(format!("the vault {} lies in it", folder.display()))
                .next("move the vault, or name a storage that does not hold it"))
        }
        _ => Ok(()),
    }
}

fn write_catalogue(
    run: &Run,
    lines: mpsc::Receiver<collate::Line>,
    events: &mpsc::Sender<BackupEvent>,
    expected: impl FnOnce() -> Result<u64, Problem>,
) -> Result<collate::Collated, Problem> {
    let key = ObjectKey::catalogue(&run.backup_id, &run.storage);
    let writer = if run.dry_run { None } else { Some(CatalogueWriter::create(&run.vault, key)?) };
    collate::run(lines, writer, run.storage.as_str(), events, expected)
}

/// Takes batches until the walk ends, and every repository through the pipeline.
async fn work_off(
    run: Arc<Run>,
    batches: mpsc::Receiver<Vec<scan::Item>>,
    lines: mpsc::Sender<collate::Line>,
    jobs: usize,
) {
    let batches = Arc::new(tokio::sync::Mutex::new(batches));
    let slots = Arc::new(Semaphore::new(jobs));
    let tracker = TaskTracker::new();
    // Reading refs is quick but waits for the disk: a few readers, whatever the number of jobs.
    for _ in 0..jobs.clamp(2, 16) {
        let (run, batches, lines) = (Arc::clone(&run), Arc::clone(&batches), lines.clone());
        let (slots, jobs) = (Arc::clone(&slots), tracker.clone());
        tracker.spawn(async move {
            loop {
                let Some(batch) = batches.lock().await.recv().await else { return };
                let (run, lines, slots, jobs) =
                    (Arc::clone(&run), lines.clone(), Arc::clone(&slots), jobs.clone());
                let settled = spawn_blocking(move || settle(&run, batch, &lines, &slots, &jobs)).await;
                if settled.is_err() {
                    // A defect in a reader: stopping the storage is the honest end.
                    return;
                }
            }
        });
    }
    drop(lines);
    tracker.close();
    tracker.wait().await;
}

/// Snapshots a batch; settles what is unchanged or failed, starts a job for the rest. Blocking.
fn settle(
    run: &Arc<Run>,
    batch: Vec<scan::Item>,
    lines: &mpsc::Sender<collate::Line>,
    slots: &Arc<Semaphore>,
    jobs: &TaskTracker,
) {
    run.progress.found(batch.len() as u64);
    for scan::Item { number, found, base, permit } in batch {
        if run.cancel.is_cancelled() {
            return;
        }
        let (candidate, snapshot) = match found {
            Err((path, problem)) => {
                let entry = repository::failed_entry(&path, base, problem);
                push(run, lines, number, entry, permit);
                continue;
            }
            Ok(candidate) => {
                let snapshot = snapshot::take(&candidate, &run.git, &run.cancel);
                (candidate, snapshot)
            }
        };
        let entry = match snapshot {
            Err(snapshot::SnapshotError::Gone) => repository::missing(&candidate),
            Err(snapshot::SnapshotError::Failed(problem)) => repository::failed(&candidate, base, problem),
            Ok(snapshot) => match base {
                Some(base) if settles(run, &snapshot, &base) => {
                    repository::unchanged(base, snapshot.refs.is_empty())
                }
                base => {
                    start(run, lines, slots, jobs, (number, candidate, base, snapshot, permit));
                    continue;
                }
            },
        };
        push(run, lines, number, entry, permit);
    }
}

fn settles(run: &Run, snapshot: &snapshot::Snapshot, base: &packhorse_vault::CatalogueEntry) -> bool {
    plan::is_unchanged(snapshot, Some(base), run.rules) && (!run.manifest_every_run || run.dry_run)
}

type Work = (
    u64,
    discover::Candidate,
    Option<packhorse_vault::CatalogueEntry>,
    snapshot::Snapshot,
    OwnedSemaphorePermit,
);

/// Waits for a free slot, then works on one repository beside the others.
fn start(
    run: &Arc<Run>,
    lines: &mpsc::Sender<collate::Line>,
    slots: &Arc<Semaphore>,
    jobs: &TaskTracker,
    (number, candidate, base, snapshot, permit): Work,
) {
    let runtime = tokio::runtime::Handle::current();
    let Ok(slot) = runtime.block_on(Arc::clone(slots).acquire_owned()) else { return };
    let (run, lines) = (Arc::clone(run), lines.clone());
    let job = async move {
        run.progress.start(&candidate.path);
        let path = candidate.path.clone();
        let mut entry = repository::back_up(&run, candidate, base, snapshot, slot).await;
        let settled = matches!(entry.outcome, Outcome::Unchanged | Outcome::Empty) && entry.bytes_new == 0;
        if run.manifest_every_run && !run.dry_run && settled {
            entry = repository::carry_over(&run, entry).await;
        }
        run.progress.end(&path);
        if let Some(problem) = &entry.error {
            run.give_up_if_vault_is_lost(problem);
        }
        let failed = entry.outcome == Outcome::Failed;
        run.progress.done(failed);
        let _ = lines.send(collate::Line { number, entry, permit: Some(permit) }).await;
    };
    jobs.spawn_on(job, &runtime);
}

fn push(
    run: &Run,
    lines: &mpsc::Sender<collate::Line>,
    number: u64,
    entry: packhorse_vault::CatalogueEntry,
    permit: OwnedSemaphorePermit,
) {
    run.progress.done(entry.outcome == Outcome::Failed);
    // The receiver is gone only when the catalogue cannot be written, which ends the storage anyway.
    let _ = lines.blocking_send(collate::Line { number, entry, permit: Some(permit) });
}

fn defect(panic: tokio::task::JoinError) -> Problem {
    Problem::new(ErrorKind::Internal, Subject::Agent, "back up storage")
        .answered(panic)
        .next("report this defect with the agent's log")
}
