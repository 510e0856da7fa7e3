//! Runs a restore: opens what it needs, keeps the repositories going, tells how far it is, and cleans up.
//!
//! Does not own: any step of one repository. Every task it starts has ended when it returns.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use packhorse_model::{Component, ErrorKind, ItemFailure, Problem, RepoPath, Subject};
use packhorse_vault::{CatalogueEntry, Vault};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use crate::backup::refuse_repository;
use crate::restore::{
    Progress, RestoreEvent, RestoreJob, RestoreResult,
    borrowers::{Borrowers, lends},
    early_sync::EarlySync,
    git_child::GitChild,
    io_problem::task_problem,
    owner::Owner,
    place::Disk,
    repository::{Restored, Turn},
    select::Selection,
    workshop::Workshop,
};

/// Everything that the repositories of one restore share; cheap to clone.
#[derive(Clone)]
pub(super) struct Restore {
    pub vault: Vault,
    pub job: Arc<RestoreJob>,
    pub workshop: Arc<Workshop>,
    pub owner: Owner,
    pub git: GitChild,
    pub progress: Progress,
    pub cancel: CancellationToken,
    /// One permit for each repository at once that is not small.
    pub large: Arc<Semaphore>,
    /// Set when the storage's disk fails.
    pub broken: CancellationToken,
    pub events: mpsc::Sender<RestoreEvent>,
    pub borrowers: Arc<Borrowers>,
    /// What waits for those that borrow objects from the repositories in their places.
    pub later: Arc<Mutex<Vec<Lender>>>,
}

/// An entry whose place is taken by a repository that lends objects, its number, and who borrows them.
pub(super) type Lender = (u64, CatalogueEntry, BTreeSet<PathBuf>);

/// How often progress is told.
const PACE: Duration = Duration::from_millis(250);
/// How many repositories of an object store share the place of one: nearly all of its time a small one waits for answers.
const WAITING: usize = 16;
/// The same for those that are not small, each of which takes memory, or a git.
const LARGE_WAITING: usize = 3;
/// Repositories of an object store at once, however many jobs there are: each has a thread and up to two connections.
const MOST: usize = 128;

/// The entries that are still to be restored, and the number of the last one that was taken.
pub(super) type Entries = Mutex<(u64, mpsc::Receiver<CatalogueEntry>)>;

/// The next entry with its number; none at the end.
pub(super) fn next(entries: &Entries) -> Option<(u64, CatalogueEntry)> {
    let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = entries.1.blocking_recv()?;
    entries.0 += 1;
    Some((entries.0, entry))
}

/// A defect that panics fails only the repository that it met, which shares nothing that could be half done.
fn guarded(path: &RepoPath, work: impl FnOnce() -> Turn) -> Turn {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let problem = Problem::new(ErrorKind::Internal, Subject::Host, "restore repository");
        Turn::Done(Restored {
            placed: false,
            problem: Some(problem.on(path).answered("the thread panicked")),
        })
    })
}

/// Restores the selected repositories of one storage.
///
/// Repositories that could not be restored are told as events and counted in the result; an error means that the
/// restore as a whole did not take place or did not come to its end.
pub async fn restore_storage(
    vault: Vault,
    job: RestoreJob,
    events: mpsc::Sender<RestoreEvent>,
    cancel: CancellationToken,
) -> Result<RestoreResult, Problem> {
    check_root(&job)?;
    let selection = tokio::select! {
        () = cancel.cancelled() => return Err(Problem::cancelled("restore storage").on(&job.target)),
        opened = Selection::open(&vault, &job) => Arc::new(opened?),
    };
    let surveyed = Arc::clone(&selection);
    let survey = blocking(move || surveyed.survey()).await?;
    let restore = open(vault, job, events, cancel).await?;
    let mut watching = JoinSet::new();
    watching.spawn(restore.clone().tell_progress());
    watching.spawn(restore.clone().stop_when_cancelled());
    let root = restore.job.root.clone();
    let (disk, last) = blocking(move || Ok((Arc::new(Disk::open(&root)?), Disk::open(&root)?))).await?;
    let early = EarlySync::begin(move || disk.sync(), restore.broken.clone());
    let ran = restore.run(selection, survey.known).await;
    watching.shutdown().await;
    let ran = ran.and(early.end().await);
    let result = restore.close(last, ran).await?;
    let unmatched = survey.unmatched.into_iter().map(|unmatched| unmatched.pattern).collect();
    Ok(RestoreResult { unmatched, ..result })
}

pub(super) fn check_root(job: &RestoreJob) -> Result<(), Problem> {
    if job.root.is_dir() {
        // A backup would refuse it, too.
        return refuse_repository("open storage", &job.root);
    }
    let answer = if job.root.exists() { "is not a folder" } else { "there is no such folder" };
    let next = match job.root_is_typed {
        true => format!(
            "create the folder, or correct the path on the command line: --storage {}=PATH",
            job.target
        ),
        false => {
            "mount its file system, create the storage's folder, or correct its path in the configuration"
                .to_owned()
        }
    };
    Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "open storage")
        .on(format!("{} at {}", job.target, job.root.display()))
        .answered(answer)
        .next(next))
}

async fn open(
    vault: Vault,
    job: RestoreJob,
    events: mpsc::Sender<RestoreEvent>,
    cancel: CancellationToken,
) -> Result<Restore, Problem> {
    blocking(move || {
        let owner = Owner::of_storage(&job.root)?;
        let workshop = Arc::new(Workshop::open(&job.root, &job.backup_id)?);
        let not_small = job.jobs.max(1) * LARGE_WAITING;
        let git = GitChild::new(job.git.clone(), cancel.clone(), not_small);
        let (vault, job, progress) = (vault.here(), Arc::new(job), Progress::default());
        let (broken, large) = (CancellationToken::new(), Arc::new(Semaphore::new(not_small)));
        let (borrowers, later) = (Arc::new(Borrowers::new(&job.root)), Arc::default());
        Ok(Restore {
            vault,
            job,
            workshop,
            owner,
            git,
            progress,
            cancel,
            large,
            broken,
            events,
            borrowers,
            later,
        })
    })
    .await
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|e| task_problem("restore storage", &e))?
}

impl Restore {
    /// Restores all entries, so many at once, and returns when no task is left.
    async fn run(&self, selection: Arc<Selection>, known: u64) -> Result<(), Problem> {
        self.progress.know(known);
        let (sender, entries) = mpsc::channel::<CatalogueEntry>(16);
        let reading = spawn_blocking(move || selection.send(&sender));
        let entries = Arc::new(Mutex::new((0, entries)));
        let mut workers = JoinSet::new();
        for _ in 0..self.at_once() {
            let (restore, entries) = (self.clone(), Arc::clone(&entries));
            workers.spawn_blocking(move || restore.work(&entries));
        }
        drop(entries);
        let mut all = Ok(());
        while let Some(ended) = workers.join_next().await {
            all = all.and(ended.map_err(|e| task_problem("restore repositories", &e)));
        }
        let restore = self.clone();
        let lenders = blocking(move || {
            restore.work_on_lenders();
            Ok(())
        });
        let all = all.and(lenders.await);
        all.and(reading.await.map_err(|e| task_problem("read catalogue", &e))?)
    }

    /// Repositories at once.
    fn at_once(&self) -> usize {
        let jobs = self.job.jobs.max(1);
        if self.vault.local_folder().is_some() {
            jobs
        } else {
            (jobs * WAITING).min(MOST.max(jobs * LARGE_WAITING))
        }
    }

    /// Restores one repository after the other, until there are no more, the restore is cancelled, or the disk fails.
    /// Blocking.
    fn work(&self, entries: &Entries) {
        while !self.cancel.is_cancelled()
            && !self.broken.is_cancelled()
            && let Some((number, entry)) = next(entries)
        {
            self.turn(number, entry);
        }
    }

    fn turn(&self, number: u64, entry: CatalogueEntry) {
        self.progress.start(&entry.path);
        match guarded(&entry.path, || self.repository(&entry, number)) {
            Turn::Done(restored) => self.end(&entry.path, restored),
            Turn::Lends(borrowers) => {
                self.progress.put_off(&entry.path);
                self.later().push((number, entry, borrowers));
            }
        }
    }

    fn end(&self, path: &RepoPath, Restored { placed, problem }: Restored) {
        if let Some(problem) = problem {
            Handle::current().block_on(self.fail(path.to_string(), problem));
        }
        self.progress.end(path, placed);
    }

    fn later(&self) -> MutexGuard<'_, Vec<Lender>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the repositories that lend objects, each when nobody borrows from it any more; refuses those from which
    /// somebody goes on to borrow. Blocking.
    fn work_on_lenders(&self) {
        loop {
            let lenders = std::mem::take(&mut *self.later());
            let waiting = lenders.len();
            for (number, entry, _) in lenders {
                if self.cancel.is_cancelled() || self.broken.is_cancelled() {
                    return;
                }
                self.turn(number, entry);
            }
            if self.later().len() == waiting {
                break;
            }
        }
        for (_, entry, borrowers) in std::mem::take(&mut *self.later()) {
            let problem = Some(lends(&entry.path, &borrowers));
            self.end(&entry.path, Restored { placed: false, problem });
        }
    }

    /// Tells a failure; those that the cancellation itself caused are none.
    async fn fail(&self, item: String, problem: Problem) {
        if problem.kind == ErrorKind::Cancelled {
            return;
        }
        self.progress.fail();
        let storage = Some(self.job.target.to_string());
        let failure = ItemFailure { component: Component::Repositories, storage, item, problem };
        tracing::warn!(storage = %self.job.target, item = %failure.item, problem = %failure.problem, "a repository is not restored");
        let _ = self.events.send(RestoreEvent::Failed(failure)).await;
    }

    /// Notes something about a repository that is restored all the same.
    pub(super) fn remark(&self, path: &RepoPath, problem: Problem) {
        let (storage, item) = (Some(self.job.target.to_string()), path.to_string());
        let remark = ItemFailure { component: Component::Repositories, storage, item, problem };
        tracing::warn!(storage = %self.job.target, item = %remark.item, problem = %remark.problem, "a repository is restored, and damage was made good");
        self.progress.remark(remark);
    }

    async fn tell_progress(self) {
        while self.events.send(RestoreEvent::Progress(self.progress.now())).await.is_ok() {
            tokio::time::sleep(PACE).await;
        }
    }

    async fn stop_when_cancelled(self) {
        self.cancel.cancelled().await;
        self.progress.stop();
    }

    /// Makes what was restored durable and removes the temporary folder, whatever `ran` says.
    async fn close(self, disk: Disk, ran: Result<(), Problem>) -> Result<RestoreResult, Problem> {
        let Self { job, workshop, progress, cancel, events, .. } = self;
        let closed = blocking(move || {
            let synced = disk.sync();
            let closed = match Arc::try_unwrap(workshop) {
                Ok(workshop) => workshop.close(),
                // Not reached: every task that shared it has ended. Dropping the last share removes it as well.
                Err(_) => Ok(()),
            };
            Ok((synced, closed))
        })
        .await;
        let _ = events.send(RestoreEvent::Progress(progress.now())).await;
        let result = progress.result();
        let (synced, closed) = closed?;
        let state = match (result.restored, &synced) {
            (0, _) => None,
            (placed, Ok(())) => Some(format!("{placed} repositories were put in place, each of them whole")),
            (placed, Err(_)) => Some(format!(
                "{placed} repositories were put in place, but the disk did not take all that was written: \
                 they may be damaged"
            )),
        };
        let told = |problem: Problem| match &state {
            Some(state) => problem.leaving(state),
            None => problem,
        };
        let synced = synced.map_err(|problem| {
            problem.next("see what the kernel says of the disk (dmesg), then restore again with --force")
        });
        if cancel.is_cancelled() {
            let cancelled = Problem::cancelled("restore storage").on(&job.target);
            return Err(told(synced.err().unwrap_or(cancelled)));
        }
        // A disk that fails is told by its last word, whoever heard of it first.
        synced.and(ran).and(closed).map_err(told).map(|()| result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_one_repository_by_name() {
        let path: RepoPath = "a.git".parse().expect("valid path");
        let Turn::Done(restored) = guarded(&path, || panic!("a defect")) else { panic!("it waits") };
        assert!(!restored.placed);
        let problem = restored.problem.expect("told");
        assert_eq!(problem.kind, ErrorKind::Internal);
        assert!(problem.to_string().contains("a.git"), "{problem}");
    }
}
