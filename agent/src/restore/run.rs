//! Runs a restore: opens what it needs, keeps the repositories going, tells how far it is, and cleans up.
//!
//! Does not own: any step of one repository. Every task it starts has ended when it returns.

use std::{sync::Arc, time::Duration};

use packhorse_model::{Component, ErrorKind, ItemFailure, Problem, Subject};
use packhorse_vault::{CatalogueEntry, Vault};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use crate::restore::{
    Progress, RestoreEvent, RestoreJob, RestoreResult,
    git_child::GitChild,
    io_problem::task_problem,
    owner::Owner,
    place,
    repository::Restored,
    select::{Selection, Survey},
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
    pub events: mpsc::Sender<RestoreEvent>,
}

/// How often progress is told.
const PACE: Duration = Duration::from_millis(250);

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
    let selection = Arc::new(Selection::open(&vault, &job).await?);
    let survey = blocking({
        let selection = Arc::clone(&selection);
        move || selection.survey()
    })
    .await?;
    let restore = open(vault, job, events, cancel).await?;
    let telling = restore.tell_progress();
    let stopping = restore.stop_when_cancelled();
    restore.tell_unmatched(&survey).await;
    let ran = restore.run(selection, survey.known).await;
    telling.abort();
    stopping.abort();
    restore.close(ran).await
}

fn check_root(job: &RestoreJob) -> Result<(), Problem> {
    if job.root.is_dir() {
        return Ok(());
    }
    Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "open storage")
        .on(format!("{} at {}", job.target, job.root.display()))
        .answered("is not a folder")
        .next("create the storage's folder, or correct its path in the agent's configuration"))
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
        let git = GitChild::new(job.git.clone(), cancel.clone());
        let (job, progress) = (Arc::new(job), Progress::default());
        Ok(Restore { vault, job, workshop, owner, git, progress, cancel, events })
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|e| task_problem("restore storage", &e))?
}

impl Restore {
    /// Restores all entries, at most `jobs` at once, and returns when no task is left.
    async fn run(&self, selection: Arc<Selection>, known: u64) -> Result<(), Problem> {
        self.progress.know(known);
        let (sender, mut entries) = mpsc::channel::<CatalogueEntry>(16);
        let reading = spawn_blocking(move || selection.send(&sender));
        let mut tasks = JoinSet::new();
        let mut number = 0;
        loop {
            while tasks.len() >= self.job.jobs.max(1) {
                tasks.join_next().await;
            }
            let entry = tokio::select! {
                () = self.cancel.cancelled() => break,
                entry = entries.recv() => entry,
            };
            let Some(entry) = entry else { break };
            number += 1;
            let restore = self.clone();
            tasks.spawn(async move { restore.one(entry, number).await });
        }
        drop(entries);
        while tasks.join_next().await.is_some() {}
        reading.await.map_err(|e| task_problem("read catalogue", &e))?
    }

    async fn one(self, entry: CatalogueEntry, number: u64) {
        self.progress.start(&entry.path);
        let path = entry.path.clone();
        // A task of its own: a defect that panics fails one repository, not the restore.
        let restore = self.clone();
        let task = tokio::spawn(async move { restore.repository(&entry, number).await });
        let Restored { placed, problem } = task.await.unwrap_or_else(|e| Restored {
            placed: false,
            problem: Some(task_problem("restore repository", &e)),
        });
        if let Some(problem) = problem {
            self.fail(path.to_string(), problem).await;
        }
        self.progress.end(&path, placed);
    }

    /// Tells a failure; those that the cancellation itself caused are none.
    async fn fail(&self, item: String, problem: Problem) {
        if problem.kind == ErrorKind::Cancelled {
            return;
        }
        self.progress.fail();
        let storage = Some(self.job.target.to_string());
        let failure = ItemFailure { component: Component::Repositories, storage, item, problem };
        tracing::warn!(storage = %self.job.target, item = %failure.item, problem = %failure.problem, "not restored");
        let _ = self.events.send(RestoreEvent::Failed(failure)).await;
    }

    async fn tell_unmatched(&self, survey: &Survey) {
        for pattern in &survey.unmatched {
            let problem = Problem::new(ErrorKind::NotFound, Subject::Repository, "select repositories")
                .on(pattern)
                .answered(format!(
                    "backup {} has no such repository in {}",
                    self.job.backup_id, self.job.source
                ))
                .next("correct the pattern, or choose another backup");
            self.fail(pattern.clone(), problem).await;
        }
    }

    fn tell_progress(&self) -> JoinHandle<()> {
        let (progress, events) = (self.progress.clone(), self.events.clone());
        tokio::spawn(async move {
            while events.send(RestoreEvent::Progress(progress.now())).await.is_ok() {
                tokio::time::sleep(PACE).await;
            }
        })
    }

    fn stop_when_cancelled(&self) -> JoinHandle<()> {
        let (progress, cancel) = (self.progress.clone(), self.cancel.clone());
        tokio::spawn(async move {
            cancel.cancelled().await;
            progress.stop();
        })
    }

    /// Makes what was restored durable and removes the temporary folder, whatever `ran` says.
    async fn close(self, ran: Result<(), Problem>) -> Result<RestoreResult, Problem> {
        let Self { job, workshop, progress, cancel, events, .. } = self;
        let root = job.root.clone();
        let closed = blocking(move || {
            let synced = place::sync(&root);
            let closed = match Arc::try_unwrap(workshop) {
                Ok(workshop) => workshop.close(),
                // Not reached: every task that shared it has ended. Dropping the last share removes it as well.
                Err(_) => Ok(()),
            };
            synced.and(closed)
        })
        .await;
        let _ = events.send(RestoreEvent::Progress(progress.now())).await;
        if cancel.is_cancelled() {
            let state =
                format!("{} repositories were put in place, each of them whole", progress.result().restored);
            return Err(Problem::cancelled("restore storage").on(&job.target).leaving(state));
        }
        ran.and(closed).map(|()| progress.result())
    }
}
