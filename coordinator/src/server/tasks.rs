//! Runs and restores as tracked tasks that can be followed and cancelled by name.
//!
//! Does not own: what they do. A task outlives the call that started it; the last ones that ended are remembered, so that
//! whoever lost the connection can still be told how they ended.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_proto::v1::{RunEvent, TaskKind, TaskStatus};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use crate::{board::Board, stop::Stop};

/// Events that wait for a follower at most.
const QUEUE: usize = 256;
/// Tasks that ended and are remembered.
const REMEMBERED: usize = 32;

/// A run or restore.
pub struct Task {
    /// Its name.
    pub name: String,
    kind: TaskKind,
    started_at: Timestamp,
    /// Where it tells how far it is.
    pub board: Board,
    /// What stops it.
    pub stop: Stop,
    resumable: bool,
}

impl Task {
    /// What `status` says of it.
    pub fn status(&self) -> TaskStatus {
        let end = self.board.ended();
        TaskStatus {
            run: self.name.clone(),
            kind: self.kind.into(),
            backup_id: self.backup_id().unwrap_or_default(),
            started_at: self.started_at.to_string(),
            progress: Some(self.board.progress()),
            failures: self.board.failures_told(),
            ended: end.is_some(),
            problem: end.and_then(Result::err).map(|problem| (&problem).into()),
            resumed: self.resumable,
        }
    }

    /// The backup that it makes or restores, once it is known.
    pub fn backup_id(&self) -> Option<String> {
        self.board.begun().map(|accepted| accepted.backup_id)
    }

    fn is_running(&self) -> bool {
        self.board.ended().is_none()
    }
}

/// The tasks under way, and the last that ended.
pub struct Tasks {
    tasks: Mutex<VecDeque<Arc<Task>>>,
    /// Whether runs of an earlier life may still be found.
    looking: AtomicBool,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(shutdown: CancellationToken, tracker: TaskTracker) -> Self {
        Self { tasks: Mutex::default(), looking: AtomicBool::new(false), shutdown, tracker }
    }

    /// Says whether runs of an earlier life are being looked for: until then no run is called unknown.
    pub fn set_looking(&self, looking: bool) {
        self.looking.store(looking, Ordering::Release);
    }

    /// What tracks the tasks.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// What stops everything.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Starts a task, which ends with a summary as JSON. A resumable one goes on after a restart.
    pub fn start<F>(&self, kind: TaskKind, resumable: bool, work: impl FnOnce(Arc<Task>) -> F) -> Arc<Task>
    where
        F: Future<Output = Result<String, Problem>> + Send + 'static,
    {
        self.start_named(uuid::Uuid::new_v4().to_string(), kind, resumable, work)
    }

    /// The same, under the name that it had before a restart.
    pub fn start_named<F>(
        &self,
        name: String,
        kind: TaskKind,
        resumable: bool,
        work: impl FnOnce(Arc<Task>) -> F,
    ) -> Arc<Task>
    where
        F: Future<Output = Result<String, Problem>> + Send + 'static,
    {
        let task = Arc::new(Task {
            name,
            kind,
            started_at: Timestamp::now(),
            board: Board::default(),
            stop: Stop::new(&self.shutdown),
            resumable,
        });
        self.remember(Arc::clone(&task));
        let working = self.tracker.spawn(work(Arc::clone(&task)));
        let ending = Arc::clone(&task);
        self.tracker.spawn(async move {
            let ended = working.await.unwrap_or_else(|panic| {
                let problem = Problem::new(ErrorKind::Internal, Subject::Coordinator, "do run");
                Err(problem.answered(panic).next("report this defect with the coordinator's log"))
            });
            if let Err(problem) = &ended {
                tracing::warn!(%problem, "run or restore ended without success");
            }
            ending.board.end(ended);
        });
        task
    }

    /// Tells a caller of a task, from its beginning to its end.
    pub fn pass_on(&self, task: Arc<Task>) -> mpsc::Receiver<Result<RunEvent, Status>> {
        let (out, receiver) = mpsc::channel(QUEUE);
        self.tracker.spawn(async move { task.board.pass_on(out).await });
        receiver
    }

    /// The name of a task that is under way.
    pub fn any(&self) -> Option<String> {
        self.all().iter().find(|task| task.is_running()).map(|task| task.name.clone())
    }

    /// All that are known, the newest first.
    pub fn all(&self) -> Vec<Arc<Task>> {
        self.lock().iter().cloned().collect()
    }

    /// The task of a name or backup ID; without one, the only one that is under way.
    pub fn find(&self, name: &str) -> Result<Arc<Task>, Problem> {
        let looking = self.looking.load(Ordering::Acquire);
        let tasks = self.all();
        let problem = |answer: String| {
            Problem::new(ErrorKind::NotFound, Subject::Backup, "find run")
                .answered(answer)
                .next("run `backupctl status`")
        };
        if name.is_empty() {
            let running: Vec<_> = tasks.iter().filter(|task| task.is_running()).collect();
            return match running[..] {
                [task] => Ok(Arc::clone(task)),
                [] => Err(problem("nothing is under way".into())),
                _ => Err(problem(format!("{} runs and restores are under way: name one", running.len()))),
            };
        }
        let named = |task: &&Arc<Task>| task.name == name || task.backup_id().as_deref() == Some(name);
        let found = tasks.iter().filter(|task| task.is_running()).find(named).or(tasks.iter().find(named));
        if found.is_none() && looking {
            return Err(Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "find run")
                .on(name)
                .answered("the coordinator has just started, and is looking for the runs to go on with")
                .next("try again in a moment"));
        }
        found.cloned().ok_or_else(|| problem("this coordinator knows of no such run".into()).on(name))
    }

    fn remember(&self, task: Arc<Task>) {
        let mut tasks = self.lock();
        tasks.push_front(task);
        while let Some(oldest) = tasks.iter().rposition(|task| !task.is_running())
            && tasks.len() > REMEMBERED
        {
            tasks.remove(oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
