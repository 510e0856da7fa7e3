//! Backs up one storage: discover → snapshot → plan → bundle → upload → commit, for every repository.
//!
//! Order: `scan` walks the storage (`discover`) beside what the vault has (`bases`); readers (`work`) take a `snapshot` of
//! each repository and settle the unchanged ones on the spot; the others go, a bounded number at a time and the largest
//! first (`queue`), through `repository`, which plans, bundles, uploads and commits; `collate` writes the catalogue in
//! path order, and the journal's segments as it goes.
//!
//! Retries: the vault's client has its own; git is tried again on a repository that moves (`repository`). A failed
//! repository is an entry, never the end of the storage. Of a damaged one, what is whole is backed up (`damage`).
//!
//! Cancellation: one token stops the walk, kills git, breaks off what waits for the vault and leaves the catalogue unwritten;
//! another stops the walk and lets what is at hand come to its end.
//!
//! A crash leaves: manifests, each whole, and segments that list most of them. The next attempt at this run takes them as
//! its own results, the next run as what it builds on (`adopt`); nothing names the rest. The catalogue is the last thing
//! written here, so a storage is either wholly accounted for or not. What hangs is given up and named (`watch`).

mod absent;
mod adopt;
mod bases;
mod bundle;
mod collate;
mod commit;
mod copy;
mod damage;
mod discover;
mod hooks;
mod memory;
mod moved;
mod pack_proof;
mod plan;
mod planner;
mod prerequisites;
mod progress;
mod queue;
mod refs;
mod reftable;
mod repository;
mod scan;
mod snapshot;
mod tally;
#[cfg(test)]
mod tests;
mod watch;
mod work;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use discover::{Shape, is_repository, list, refuse_repository};
use packhorse_model::{
    BackupId, Component, Counts, ErrorKind, ItemFailure, ObjectDigest, PassedOver, Problem, RepoFilter,
    RepoPath, StorageName, Subject,
};
use packhorse_service::config::GitalyManifests;
use packhorse_vault::{CatalogueWriter, Limit, ObjectKey, RunAttempt, SegmentWriter, Vault};
pub use plan::Rules;
pub use progress::{Progress, ProgressSnapshot};
pub use snapshot::fingerprint_of;
pub use tally::Tallied;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;
pub use watch::Patience;

use self::{bases::Bases, tally::Tally, watch::Watch};
use crate::git::Git;

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct BackupJob {
    /// The run, and which attempt at this storage it is.
    pub attempt: RunAttempt,
    /// The storage's name.
    pub storage: StorageName,
    /// The storage's folder.
    pub root: PathBuf,
    /// The catalogue that increments are built on.
    pub base: Option<ObjectDigest>,
    /// Runs that committed nothing, the newest first: what they made durable is used.
    pub unfinished: Vec<BackupId>,
    /// Whether repositories that are gone in the base are still looked for: nobody said that they were deleted on purpose.
    pub gone_unconfirmed: bool,
    /// Which repositories.
    pub filter: RepoFilter,
    /// When to start new chains.
    pub rules: Rules,
    /// Which manifests are written for Gitaly.
    pub manifests: GitalyManifests,
    /// Look and decide, write nothing.
    pub dry_run: bool,
    /// Repositories packed at once.
    pub slots: Slots,
    /// How long a repository that hangs is waited for.
    pub patience: Patience,
    /// When cancelled, repositories at hand are finished and no others begun.
    pub stopping: CancellationToken,
    /// The git executable.
    pub git: PathBuf,
}

/// How many repositories may be packed at once.
#[derive(Clone, Debug)]
pub struct Slots {
    /// By this job.
    pub own: Limit,
    /// By all jobs of this agent.
    pub agent: Limit,
}

impl Slots {
    /// For a job that is alone.
    pub fn alone(jobs: usize) -> Self {
        Self { own: Limit::new(jobs), agent: Limit::new(jobs) }
    }
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
    /// Repositories of which it was left to `verify` to prove that everything is there.
    pub unproven: u64,
    /// The catalogue; none in a dry run.
    pub catalogue: Option<ObjectDigest>,
    /// Failures told, those without a repository included.
    pub failures: u64,
    /// Included patterns that matched no repository.
    pub unmatched: Vec<String>,
    /// Paths that are near to one of these.
    pub near: Vec<String>,
    /// Repositories of the base that were looked for.
    pub base_repositories: u64,
    /// Those of them that were gone at the last backup, too.
    pub still_gone: u64,
    /// Repositories that had refs in the base and have none now.
    pub emptied: Tallied,
    /// Some of those that are gone.
    pub gone: Vec<String>,
    /// What is odd, and is no failure.
    pub remarks: Vec<ItemFailure>,
    /// What was seen and not entered.
    pub passed_over: PassedOver,
}

/// What every part of one storage's backup shares.
#[derive(Debug)]
pub struct Run {
    vault: Vault,
    attempt: RunAttempt,
    unfinished: Vec<BackupId>,
    storage: StorageName,
    root: PathBuf,
    gone_unconfirmed: bool,
    filter: RepoFilter,
    rules: Rules,
    manifests: GitalyManifests,
    dry_run: bool,
    git: Git,
    cancel: CancellationToken,
    progress: Arc<Progress>,
    /// Steps being committed: they wait for the vault, not for a CPU, so there are many more than jobs.
    commits: Arc<Semaphore>,
    patience: Patience,
    stopping: CancellationToken,
    /// Why the storage is given up: the vault's time budget is spent, or it refuses us, or the disk is dead.
    given_up: OnceLock<Problem>,
    /// Threads that hang and were left behind.
    left_behind: AtomicUsize,
    /// Repositories that had refs in the base and have none now.
    emptied: Tally,
    /// Repositories that start a new chain because the vault has lost something of theirs.
    lost_chains: Tally,
    /// Repositories that are not there any more: gone since an earlier backup, or since the walk met them.
    gone: AtomicU64,
    /// Whether nothing was there to tell what is gone.
    is_first: bool,
}

/// Steps that are committed at once, small ones; a larger one counts as several, to bound memory.
const COMMITS: u32 = 256;
/// Refs that count as one step.
const REFS_EACH: usize = 1_250;
/// Threads that hang before the storage is given up: then it is no single repository.
const LEFT_BEHIND: usize = 16;
/// Bytes of a bundle that wait to be written, likewise.
const BYTES_EACH: usize = 128 * 1024;

impl Run {
    fn new(vault: Vault, job: BackupJob, progress: Arc<Progress>, cancel: CancellationToken) -> Self {
        Self {
            vault,
            attempt: job.attempt,
            unfinished: job.unfinished,
            storage: job.storage,
            root: job.root,
            gone_unconfirmed: job.gone_unconfirmed,
            filter: job.filter,
            rules: job.rules,
            manifests: job.manifests,
            dry_run: job.dry_run,
            git: Git::new(job.git),
            cancel,
            progress,
            commits: Arc::new(Semaphore::new(COMMITS as usize)),
            patience: job.patience,
            stopping: job.stopping,
            given_up: OnceLock::new(),
            left_behind: AtomicUsize::new(0),
            emptied: Tally::default(),
            lost_chains: Tally::default(),
            gone: AtomicU64::new(0),
            is_first: job.base.is_none(),
        }
    }

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
            self.give_up(problem.clone());
        }
    }

    fn give_up(&self, problem: Problem) {
        let _ = self.given_up.set(problem);
        self.cancel.cancel();
    }

    /// Whether no further repository may be begun.
    fn begins_nothing(&self) -> bool {
        self.cancel.is_cancelled() || self.stopping.is_cancelled()
    }

    /// Why the storage is not backed up to its end, if it is not.
    fn stopped(&self) -> Option<Problem> {
        let cancelled = || Problem::cancelled("back up storage").on(&self.storage);
        self.given_up.get().cloned().or_else(|| self.begins_nothing().then(cancelled))
    }

    /// Waits until that is so.
    async fn ends(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => (),
            () = self.stopping.cancelled() => (),
        }
    }

    /// Where this run keeps a repository.
    fn place(&self, repo: &RepoPath) -> commit::Place {
        let (run, storage) = (self.attempt.clone(), self.storage.clone());
        commit::Place { run, storage, repo: repo.clone(), as_latest: self.manifests.as_latest() }
    }

    /// Notes that a thread hangs and is not waited for.
    fn leave_behind(&self, watch: &Watch) {
        watch.leave_behind();
        let hanging = self.left_behind.fetch_add(1, Relaxed) + 1;
        if hanging >= LEFT_BEHIND {
            let problem = Problem::new(ErrorKind::Unavailable, Subject::Host, "read storage")
                .on(self.root.display())
                .answered(format!("{hanging} repositories hang at once"))
                .next("check the disk or the mount of the storage");
            self.give_up(problem);
        }
    }

    /// Notes that a thread is done after all, if it was left behind.
    fn came_back(&self, watch: &Watch) {
        if watch.is_left_behind() {
            self.left_behind.fetch_sub(1, Relaxed);
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
    let vault = vault.until(cancel.clone());
    let bases = Bases::open(&vault, &job.storage, job.base.as_ref(), &job.unfinished).await?;
    let slots = job.slots.clone();
    let run = Arc::new(Run::new(vault, job, progress, cancel));
    let (batches_out, batches_in) = mpsc::channel(4);
    let (lines_out, lines_in) = mpsc::channel(1024);

    let walk = walk(&run, bases, batches_out);
    let work = work::work_off(Arc::clone(&run), batches_in, lines_out, &slots);
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
    let (scanned, ()) = tokio::join!(walk, work);
    let scanned = match scanned {
        Ok(scanned) => look_again(&run, scanned).await,
        Err(problem) => Err(problem),
    };
    let stopped = run.stopped();
    let settled = match (&scanned, stopped) {
        (_, Some(problem)) => Err(problem),
        (Err(problem), None) => Err(problem.clone()),
        (Ok(scanned), None) => Ok(scanned.items),
    };
    let _ = settled_out.send(settled);
    let collated = collate.await.unwrap_or_else(|panic| Err(defect(panic)));
    // What a stop broke off is no reason of its own.
    let collated = collated.map_err(|problem| match problem.kind {
        ErrorKind::Cancelled => run.stopped().unwrap_or(problem),
        _ => problem,
    })?;
    let scan::Scanned {
        unnamable,
        unmatched,
        near,
        mut remarks,
        passed_over,
        base_repositories,
        still_gone,
        ..
    } = scanned?;
    remarks.extend(chains_are_lost(&run));
    let failures = collated.counts.failed + collated.counts.damaged + unnamable.len() as u64;
    let about = |item, problem| ItemFailure {
        component: Component::Repositories,
        storage: Some(run.storage.to_string()),
        item,
        problem,
    };
    for (item, problem) in unnamable {
        let _ = events.send(BackupEvent::Failed(about(item, problem))).await;
    }
    Ok(StorageResult {
        counts: collated.counts,
        bytes_new: collated.bytes_new,
        bytes_total: collated.bytes_total,
        unproven: collated.unproven,
        catalogue: collated.catalogue,
        failures,
        unmatched,
        near,
        base_repositories,
        still_gone,
        emptied: run.emptied.now(),
        gone: collated.gone,
        remarks: remarks.into_iter().map(|problem| about("(whole storage)".into(), problem)).collect(),
        passed_over,
    })
}

/// Walks the storage beside its bases.
async fn walk(
    run: &Arc<Run>,
    bases: Bases,
    batches: mpsc::Sender<Vec<scan::Item>>,
) -> Result<scan::Scanned, Problem> {
    // A walk that hangs must not keep the readers waiting for more.
    let weak = batches.downgrade();
    let scanned = watched(run, move |run, watch| scan::run(run, bases, watch, &weak)).await;
    drop(batches);
    scanned
}

/// Names what was moved to where the walk had been already, when everything has been read.
async fn look_again(run: &Arc<Run>, mut scanned: scan::Scanned) -> Result<scan::Scanned, Problem> {
    let Some(met) = scanned.met.take() else { return Ok(scanned) };
    let may_have_moved = run.is_first || run.gone.load(Relaxed) > scanned.still_gone;
    if may_have_moved && run.stopped().is_none() {
        let not_met = watched(run, move |run, watch| met.not_met(run, watch)).await?;
        scanned.unnamable.extend(not_met);
    }
    Ok(scanned)
}

/// Does what reads the folders of a storage, and gives the storage up when that hangs.
async fn watched<T: Send + 'static>(
    run: &Arc<Run>,
    work: impl FnOnce(&Arc<Run>, &Watch) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let watch = Watch::new(&run.cancel);
    let working = spawn_blocking({
        let (run, watch) = (Arc::clone(run), Arc::clone(&watch));
        move || work(&run, &watch)
    });
    let patience = Patience { whole: Duration::MAX, ..run.patience };
    tokio::select! {
        done = working => done.unwrap_or_else(|panic| Err(defect(panic))),
        said = watch.hangs(patience) => {
            let problem = Problem::new(ErrorKind::Unavailable, Subject::Host, "walk storage")
                .on(run.root.display())
                .answered(format!("it {said}"))
                .next("check the disk or the mount of the storage");
            run.give_up(problem.clone());
            Err(problem)
        }
    }
}

/// Says that the vault has lost what earlier backups name: this one does without, those cannot.
fn chains_are_lost(run: &Run) -> Option<Problem> {
    let lost = run.lost_chains.now();
    if lost.total == 0 {
        return None;
    }
    let names: Vec<&str> = lost.names.iter().map(|path| path.as_str()).collect();
    let more = if lost.total > names.len() as u64 { ", …" } else { "" };
    let answer = match lost.total {
        1 => format!("objects of one repository are gone or damaged: {}", names.join(", ")),
        total => format!("objects of {total} repositories are gone or damaged: {}{more}", names.join(", ")),
    };
    let problem = Problem::new(ErrorKind::Corrupt, Subject::Vault, "build on earlier backups")
        .on(&run.storage)
        .answered(answer)
        .leaving("this backup does not need them; earlier backups lack them")
        .next("find out what removed or damaged them: the agent's log names the first object of each");
    Some(problem)
}

fn write_catalogue(
    run: &Run,
    lines: mpsc::Receiver<collate::Line>,
    events: &mpsc::Sender<BackupEvent>,
    expected: impl FnOnce() -> Result<u64, Problem>,
) -> Result<collate::Collated, Problem> {
    let writers = if run.dry_run {
        None
    } else {
        let key = ObjectKey::catalogue(&run.attempt, &run.storage);
        let catalogue = CatalogueWriter::create(&run.vault, key)?;
        let (attempt, storage) = (run.attempt.clone(), run.storage.clone());
        Some(collate::Writers {
            catalogue,
            segments: SegmentWriter::new(run.vault.unbound(), attempt, storage),
        })
    };
    collate::run(lines, writers, run.storage.as_str(), events, expected)
}

fn defect(panic: tokio::task::JoinError) -> Problem {
    Problem::new(ErrorKind::Internal, Subject::Agent, "back up storage")
        .answered(panic)
        .next("report this defect with the agent's log")
}
