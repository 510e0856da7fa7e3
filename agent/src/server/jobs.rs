//! The jobs of this agent, one per storage at a time: started, joined, replaced, stopped.
//!
//! Does not own: what a job does. A job belongs to a run, not to a connection: when its coordinator goes away it goes on,
//! and whoever comes back for the same run joins it and is told everything again. A job that nobody has followed for a
//! while gives way to another run's; until then it is kept for its coordinator, and the storage is busy. The last job of
//! a storage is remembered, so that an answer that got lost can be had again.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use packhorse_model::{BackupId, ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{START_JOB, v1};
use packhorse_service::{Course, Follower, daemon::Stages};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a job came to.
#[derive(Clone, Debug)]
pub enum Finished {
    /// Of a backup.
    Backup(Box<v1::BackupStorageFinished>),
    /// Of a restore.
    Restore(v1::RestoreStorageFinished),
}

/// Which job it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobName {
    /// Backup or restore.
    pub kind: JobKind,
    /// Identity of the run or restore.
    pub run: String,
    /// The backup that it makes or restores, for messages.
    pub backup: BackupId,
}

impl JobName {
    /// The ID by which `backupctl` knows it.
    fn id(&self) -> &str {
        match self.kind {
            JobKind::Backup => self.backup.as_str(),
            JobKind::Restore => &self.run,
        }
    }
}

/// What kind of job it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Goes on to its end without a coordinator: what it makes durable is of use in any case.
    Backup,
    /// Is stopped when no coordinator comes back.
    Restore,
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == JobKind::Backup { "backup" } else { "restore of" };
        write!(f, "{kind} {}", self.backup)
    }
}

/// Time that a restore goes on without a coordinator.
const ORPHANED: Duration = Duration::from_secs(120);

/// Time that whoever cancels a job waits for its end.
const ENDING: Duration = Duration::from_secs(15);

/// A job.
pub struct Job {
    name: JobName,
    course: Course<Finished>,
    cancel: CancellationToken,
    /// When another run first found that nobody follows it.
    abandoned: Mutex<Option<Instant>>,
    progress: Box<dyn Fn() -> v1::StorageProgress + Send + Sync>,
}

impl Job {
    /// Where its failures and its end are told.
    pub fn course(&self) -> &Course<Finished> {
        &self.course
    }

    /// Whether nobody has followed it since another run asked, so long ago.
    fn is_abandoned_for(&self, time: Duration) -> bool {
        if self.course.is_followed() {
            *self.abandoned() = None;
            return false;
        }
        self.abandoned().get_or_insert_with(Instant::now).elapsed() >= time
    }

    fn abandoned(&self) -> MutexGuard<'_, Option<Instant>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    pub fn progress(&self) -> v1::StorageProgress {
        (self.progress)()
    }
}

/// All jobs.
#[derive(Clone)]
pub struct Jobs {
    jobs: Arc<Mutex<HashMap<StorageName, Arc<Job>>>>,
    stopping: CancellationToken,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

/// What a request for a job may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Only join it, never start it.
    pub only_join: bool,
    /// How long another run's backup that nobody follows is kept for its coordinator.
    pub keep: Duration,
}

/// What becomes of a request for a job.
enum Admitted {
    Join(Arc<Job>),
    Start,
    Replace(Arc<Job>),
}

impl Jobs {
    /// No jobs; none is started when the process is stopping, and all are cancelled at its shutdown.
    pub fn new(stages: Stages) -> Self {
        let Stages { stopping, shutdown, tracker } = stages;
        Self { jobs: Arc::default(), stopping, shutdown, tracker }
    }

    /// Joins the job of this name, or starts it, unless it is only to be joined; refused while the storage is busy with
    /// another.
    pub async fn join_or_start<F>(
        &self,
        storage: &StorageName,
        name: JobName,
        manner: Manner,
        progress: impl Fn() -> v1::StorageProgress + Send + Sync + 'static,
        work: impl FnOnce(Arc<Job>, CancellationToken) -> F,
    ) -> Result<(Arc<Job>, Follower<Finished>), Problem>
    where
        F: Future<Output = Result<Finished, Problem>> + Send + 'static,
    {
        loop {
            let replaced = {
                let mut jobs = self.lock();
                match self.admit(jobs.get(storage), storage, &name, manner)? {
                    Admitted::Join(job) => {
                        *job.abandoned() = None;
                        let follower = job.course.follow();
                        return Ok((job, follower));
                    }
                    Admitted::Start => {
                        let job = Arc::new(Job {
                            name,
                            course: Course::new(),
                            cancel: self.shutdown.child_token(),
                            abandoned: Mutex::default(),
                            progress: Box::new(progress),
                        });
                        jobs.insert(storage.clone(), Arc::clone(&job));
                        let follower = job.course.follow();
                        self.spawn(Arc::clone(&job), work(Arc::clone(&job), job.cancel.clone()));
                        return Ok((job, follower));
                    }
                    Admitted::Replace(job) => job,
                }
            };
            tracing::warn!(%storage, job = %replaced.name, "nobody follows a job any more: it gives way to {name}");
            replaced.cancel.cancel();
            let _ = replaced.course.wait().await;
        }
    }

    fn spawn(&self, job: Arc<Job>, work: impl Future<Output = Result<Finished, Problem>> + Send + 'static) {
        let guarded = self.tracker.spawn(work);
        self.tracker.spawn(async move {
            let ended = tokio::select! {
                // A job that ends by a defect still has an end that can be told.
                ended = guarded => ended.unwrap_or_else(|panic| {
                    Err(Problem::new(ErrorKind::Internal, Subject::Agent, "do job").answered(panic))
                }),
                problem = stopped_as_orphan(&job) => problem,
            };
            if let Err(problem) = &ended {
                tracing::warn!(job = %job.name, %problem, "job ended without success");
            }
            job.course.end(ended);
        });
    }

    /// Stops a job, and waits a while for its end, from which on the storage is free; whether there was one under way.
    pub async fn cancel(&self, storage: &StorageName, run: &str) -> bool {
        let job = self.lock().get(storage).filter(|job| job.name.run == run).cloned();
        let Some(job) = job.filter(|job| job.course.ended().is_none()) else { return false };
        job.cancel.cancel();
        let _ = tokio::time::timeout(ENDING, job.course.wait()).await;
        true
    }

    fn admit(
        &self,
        known: Option<&Arc<Job>>,
        storage: &StorageName,
        name: &JobName,
        Manner { only_join, keep }: Manner,
    ) -> Result<Admitted, Problem> {
        let same = known.filter(|job| job.name == *name);
        match (same, same.and_then(|job| job.course.ended())) {
            (Some(job), None | Some(Ok(_))) => return Ok(Admitted::Join(Arc::clone(job))),
            (Some(_), Some(Err(problem))) if only_join => return Err(problem),
            (None, _) if only_join => return Err(not_joined(storage)),
            // What failed is tried again when it is asked for again.
            _ => {}
        }
        if self.stopping.is_cancelled() {
            // Of the kind that the jobs of a stopping agent end with: whoever asks may come again.
            return Err(Problem::cancelled(START_JOB).on(storage).answered("the agent is stopping"));
        }
        match known.filter(|job| job.course.ended().is_none()) {
            None => Ok(Admitted::Start),
            // Whoever restores wants that more than the backup that is in the way.
            Some(job)
                if job.is_abandoned_for(keep)
                    || name.kind == JobKind::Restore && !job.course.is_followed() =>
            {
                Ok(Admitted::Replace(Arc::clone(job)))
            }
            Some(job) => Err(busy(storage, job)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StorageName, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy(storage: &StorageName, job: &Job) -> Problem {
    let problem =
        |answer| Problem::new(ErrorKind::Unavailable, Subject::Agent, START_JOB).on(storage).answered(answer);
    if job.cancel.is_cancelled() {
        let answer = format!("the storage is busy with {}, which was cancelled and is ending", job.name);
        return problem(answer).next("run again in a moment");
    }
    problem(format!("the storage is busy with {}", job.name)).next(format!(
        "wait for it, or end it at the coordinator that started it: backupctl cancel {}",
        job.name.id()
    ))
}

fn not_joined(storage: &StorageName) -> Problem {
    Problem::new(ErrorKind::NotFound, Subject::Agent, "join restore")
        .on(storage)
        .answered("the agent was restarted, which ended the restore of this storage")
        .leaving("what was in place stays, each repository whole")
        .next("restore again with --skip-existing")
}

/// Cancels a restore that nobody has followed for a while; never returns, because the work itself ends then.
async fn stopped_as_orphan(job: &Job) -> Result<Finished, Problem> {
    if job.name.kind == JobKind::Restore {
        loop {
            job.course.unfollowed().await;
            tokio::time::sleep(ORPHANED).await;
            if !job.course.is_followed() {
                tracing::warn!(job = %job.name, "no coordinator came back for a job, which is stopped");
                job.cancel.cancel();
                break;
            }
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod restore_tests;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn name(run: &str) -> JobName {
        JobName { kind: JobKind::Backup, run: run.to_owned(), backup: "same".parse().expect("valid ID") }
    }

    fn done(bytes_new: u64) -> Finished {
        Finished::Backup(Box::new(v1::BackupStorageFinished { bytes_new, ..Default::default() }))
    }

    fn bytes(end: &Result<Finished, Problem>) -> Option<u64> {
        match end {
            Ok(Finished::Backup(finished)) => Some(finished.bytes_new),
            _ => None,
        }
    }

    struct Bench {
        jobs: Jobs,
        storage: StorageName,
        manner: Manner,
    }

    type Joined = Result<(Arc<Job>, Follower<Finished>), Problem>;

    impl Bench {
        fn new() -> Self {
            let jobs = Jobs::new(Stages::default());
            Self { jobs, storage: "default".parse().expect("valid name"), manner: Manner::default() }
        }

        /// Asks for a job that ends when it is told to, or cancelled.
        async fn ask(&self, run: &str, end: oneshot::Receiver<Finished>) -> Joined {
            let progress = v1::StorageProgress::default;
            let work = |_, cancel: CancellationToken| async move {
                tokio::select! {
                    end = end => end.map_err(|_| Problem::cancelled("work")),
                    () = cancel.cancelled() => Err(Problem::cancelled("work")),
                }
            };
            self.jobs.join_or_start(&self.storage, name(run), self.manner, progress, work).await
        }
    }

    #[tokio::test]
    async fn a_job_is_joined_by_its_run_also_when_it_has_ended_and_by_no_other() {
        let bench = Bench::new();
        let (end, ended) = oneshot::channel();
        let (first, _follower) = bench.ask("run 1", ended).await.expect("started");
        let (joined, _) = bench.ask("run 1", oneshot::channel().1).await.expect("joined");
        assert!(Arc::ptr_eq(&first, &joined));
        let busy = bench.ask("run 2", oneshot::channel().1).await.err().expect("busy");
        assert!(busy.to_string().contains("busy with backup same"), "{busy}");
        assert!(busy.next.as_ref().is_some_and(|next| next.ends_with("backupctl cancel same")), "{busy:?}");
        end.send(done(7)).expect("the job waits");
        assert_eq!(bytes(&first.course.wait().await), Some(7));
        let (again, _) = bench.ask("run 1", oneshot::channel().1).await.expect("joined");
        assert_eq!(bytes(&again.course.wait().await), Some(7));
        // The ID was used before, by a dry run or in a vault that is gone: its result is not this run's.
        let (end, ended) = oneshot::channel();
        let (other, _) = bench.ask("run 2", ended).await.expect("started");
        end.send(done(8)).expect("the job waits");
        assert_eq!(bytes(&other.course.wait().await), Some(8));
    }

    #[tokio::test]
    async fn a_job_that_nobody_follows_gives_way_and_one_that_failed_is_done_again() {
        let bench = Bench::new();
        let (_end, ended) = oneshot::channel();
        let (orphan, follower) = bench.ask("run 1", ended).await.expect("started");
        drop(follower);
        let (end, ended) = oneshot::channel();
        let (next, _follower) = bench.ask("run 2", ended).await.expect("the orphan gave way");
        assert!(bytes(&orphan.course.wait().await).is_none(), "it was cancelled");
        drop(end);
        assert!(bytes(&next.course.wait().await).is_none(), "it failed");
        let (end, ended) = oneshot::channel();
        let (again, _) = bench.ask("run 2", ended).await.expect("started again");
        assert!(!bench.jobs.cancel(&bench.storage, "run 1").await && again.course.ended().is_none());
        assert!(bench.jobs.cancel(&bench.storage, "run 2").await);
        let ended = again.course.ended().expect("it is waited for");
        assert!(bytes(&ended).is_none(), "cancelled by name");
        drop(end);
    }
    #[tokio::test(start_paused = true)]
    async fn a_job_is_kept_for_its_coordinator_for_a_while() {
        let keep = Duration::from_secs(30);
        let bench = Bench { manner: Manner { keep, only_join: false }, ..Bench::new() };
        let (_end, ended) = oneshot::channel();
        let (first, follower) = bench.ask("run 1", ended).await.expect("started");
        drop(follower);
        bench.ask("run 2", oneshot::channel().1).await.err().expect("kept");
        tokio::time::advance(keep / 2).await;
        let (joined, follower) =
            bench.ask("run 1", oneshot::channel().1).await.expect("its coordinator is back");
        assert!(Arc::ptr_eq(&first, &joined));
        tokio::time::advance(keep).await;
        bench.ask("run 2", oneshot::channel().1).await.err().expect("it is followed");
        drop(follower);
        bench.ask("run 2", oneshot::channel().1).await.err().expect("kept anew");
        tokio::time::advance(keep).await;
        bench.ask("run 2", oneshot::channel().1).await.expect("it has been long enough");
        assert!(bytes(&first.course.wait().await).is_none(), "the first was cancelled");
    }
}
