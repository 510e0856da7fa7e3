//! Jobs that are restores: joined only by those who began them, stopped when nobody comes back.
//!
//! Does not own: backups, which go on without anybody (`jobs`). The clock is paused, so two minutes take no time and an
//! hour proves that something is never done.

use super::*;

type Joined = Result<(Arc<Job>, Follower<Finished>), Problem>;

struct Bench {
    jobs: Jobs,
    storage: StorageName,
}

impl Bench {
    fn new() -> Self {
        let jobs = Jobs::new(Stages::default());
        Self { jobs, storage: "default".parse().expect("valid name") }
    }

    /// Asks for a job that ends only when it is cancelled, or to join it.
    async fn ask(&self, kind: JobKind, run: &str, only_join: bool) -> Joined {
        let backup = "same".parse().expect("valid ID");
        let name = JobName { kind, run: run.to_owned(), backup };
        let work = |_, cancel: CancellationToken| async move {
            cancel.cancelled().await;
            Err(Problem::cancelled("work"))
        };
        let manner = Manner { only_join, ..Manner::default() };
        self.jobs.join_or_start(&self.storage, name, manner, v1::StorageProgress::default, work).await
    }

    async fn begin(&self, kind: JobKind) -> (Arc<Job>, Follower<Finished>) {
        self.ask(kind, "run 1", false).await.expect("started")
    }
}

/// Lets the time pass that a restore goes on alone, all but a moment.
async fn almost() {
    tokio::time::sleep(ORPHANED - Duration::from_millis(10)).await;
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_nobody_follows_is_stopped_after_two_minutes() {
    let bench = Bench::new();
    let (job, follower) = bench.begin(JobKind::Restore).await;
    tokio::time::sleep(ORPHANED * 30).await;
    assert!(job.course.ended().is_none(), "it is followed");
    drop(follower);
    almost().await;
    assert!(job.course.ended().is_none(), "too early");
    a_moment().await;
    let ended = job.course.ended().expect("it was stopped");
    assert_eq!(ended.expect_err("cancelled").kind, ErrorKind::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_restore_whose_coordinator_comes_back_in_time_goes_on() {
    let bench = Bench::new();
    let (job, follower) = bench.begin(JobKind::Restore).await;
    drop(follower);
    almost().await;
    let (joined, follower) = bench.ask(JobKind::Restore, "run 1", true).await.expect("joined");
    assert!(Arc::ptr_eq(&job, &joined));
    tokio::time::sleep(ORPHANED * 30).await;
    assert!(job.course.ended().is_none(), "it is followed again");
    drop(follower);
    almost().await;
    assert!(job.course.ended().is_none(), "the time begins anew");
    a_moment().await;
    assert!(job.course.ended().is_some(), "it was left for the second time");
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_nobody_follows_goes_on() {
    let bench = Bench::new();
    let (job, follower) = bench.begin(JobKind::Backup).await;
    drop(follower);
    tokio::time::sleep(ORPHANED * 30).await;
    assert!(job.course.ended().is_none(), "it was stopped");
}

#[tokio::test]
async fn a_restore_is_not_begun_again_by_who_only_joins() {
    let bench = Bench::new();
    let lost = bench.ask(JobKind::Restore, "run 1", true).await.err().expect("there is none");
    assert_eq!((lost.kind, lost.subject), (ErrorKind::NotFound, Subject::Agent));
    assert!(lost.answer.as_deref().is_some_and(|answer| answer.contains("the agent was restarted")));
    assert!(lost.next.as_deref().is_some_and(|next| next.contains("--skip-existing")));

    let (job, _follower) = bench.begin(JobKind::Restore).await;
    let other = bench.ask(JobKind::Restore, "run 2", true).await.err().expect("another's");
    assert_eq!(other.kind, ErrorKind::NotFound, "{other}");
    job.cancel.cancel();
    let ended = job.course.wait().await.expect_err("cancelled");
    let told = bench.ask(JobKind::Restore, "run 1", true).await.err().expect("it is over");
    assert_eq!(told.to_string(), ended.to_string(), "its own end is told");
}
