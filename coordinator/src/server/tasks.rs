//! Runs and restores as tracked tasks that can be followed and cancelled by name.
//!
//! Does not own: what they do. A task outlives the call that started it; the last ones that ended are remembered, so that
//! whoever lost the connection can still be told how they ended.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind, Exit, Problem, RunState, Subject};
use packhorse_proto::v1::{RunEvent, TaskKind, TaskStatus};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use crate::{board::Board, schedule::report, stop::Stop};

/// Events that wait for a follower at most.
const QUEUE: usize = 256;
/// Tasks that ended and are remembered.
const REMEMBERED: usize = 32;

/// What was asked for, and by whom.
pub struct Asked {
    /// A run or a restore.
    pub kind: TaskKind,
    /// Whether it goes on after a restart.
    pub resumable: bool,
    /// Whether it only looks.
    pub dry_run: bool,
    /// Who asked for it.
    pub by: String,
    /// The ID that it was asked to have.
    pub backup_id: Option<String>,
}

/// A run or restore.
pub struct Task {
    /// Its name.
    pub name: String,
    kind: TaskKind,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    dry_run: bool,
    asked_id: Option<String>,
    ended_at: OnceLock<Timestamp>,
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
            state: state(end.as_ref()).to_owned(),
            dry_run: self.dry_run,
            requested_by: self.requested_by.clone(),
            ended_at: self.ended_at.get().map(ToString::to_string),
            refused: self.begun_id().is_none() && end.as_ref().is_some_and(is_refusal),
            problem: end.and_then(Result::err).map(|problem| (&problem).into()),
            resumed: self.resumable,
        }
    }

    /// The backup that it makes or restores: the one that it was asked to make, until it is known.
    pub fn backup_id(&self) -> Option<String> {
        self.begun_id().or_else(|| self.asked_id.clone())
    }

    fn begun_id(&self) -> Option<String> {
        self.board.begun().map(|accepted| accepted.backup_id)
    }

    /// The name by which operators know it: the ID of the backup that it makes, or its own.
    pub fn shown_name(&self) -> String {
        let id = self.backup_id().filter(|_| self.kind == TaskKind::Create);
        id.unwrap_or_else(|| self.name.clone())
    }

    fn begins_with(&self, prefix: &str) -> bool {
        self.name.starts_with(prefix) || self.shown_name().starts_with(prefix)
    }

    fn is_running(&self) -> bool {
        self.board.ended().is_none()
    }

    /// Logs how a backup ended.
    fn report(&self, ended: &Result<String, Problem>) {
        if self.kind != TaskKind::Create || self.dry_run {
            return;
        }
        let summary = ended.as_ref().map_err(Problem::clone);
        match summary.map(|json| serde_json::from_str(json)) {
            Ok(Ok(summary)) => report(&self.requested_by, &Ok(summary)),
            // It is what this process has just written.
            Ok(Err(error)) => tracing::error!(run = %self.name, %error, "a summary cannot be read"),
            Err(problem) => report(&self.requested_by, &Err(problem)),
        }
    }
}

/// Whether what was asked for could not be done as it was asked for.
fn is_refusal(end: &Result<String, Problem>) -> bool {
    end.as_ref().is_err_and(|problem| matches!(Exit::of_problem(problem), Exit::Usage | Exit::NotFound))
}

/// How a task stands, from its end: the summary as JSON, or a problem.
fn state(end: Option<&Result<String, Problem>>) -> &'static str {
    #[derive(serde::Deserialize)]
    struct Summary {
        state: RunState,
    }
    match end {
        None => "running",
        Some(Ok(json)) => serde_json::from_str(json).map_or("ended", |Summary { state }| state.word()),
        Some(Err(problem)) if problem.kind == ErrorKind::Cancelled => "cancelled",
        Some(Err(_)) => "failed",
    }
}

/// The tasks under way, and the last that ended.
pub struct Tasks {
    tasks: Mutex<VecDeque<Arc<Task>>>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(shutdown: CancellationToken, tracker: TaskTracker) -> Self {
        Self { tasks: Mutex::default(), shutdown, tracker }
    }

    /// What tracks the tasks.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Starts a task, which ends with a summary as JSON.
    pub fn start<F>(&self, asked: Asked, work: impl FnOnce(Arc<Task>) -> F) -> Arc<Task>
    where
        F: Future<Output = Result<String, Problem>> + Send + 'static,
    {
        self.start_named(uuid::Uuid::new_v4().to_string(), asked, work)
    }

    /// The same, under a name that it has already.
    pub fn start_named<F>(&self, name: String, asked: Asked, work: impl FnOnce(Arc<Task>) -> F) -> Arc<Task>
    where
        F: Future<Output = Result<String, Problem>> + Send + 'static,
    {
        let task = Arc::new(Task {
            name,
            kind: asked.kind,
            requested_by: asked.by,
            started_at: Timestamp::now(),
            dry_run: asked.dry_run,
            asked_id: asked.backup_id,
            ended_at: OnceLock::new(),
            board: Board::default(),
            stop: Stop::new(&self.shutdown),
            resumable: asked.resumable,
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
                tracing::warn!(run = %ending.name, %problem, "run or restore ended without success");
            }
            ending.report(&ended);
            let _ = ending.ended_at.set(Timestamp::now());
            ending.board.end(ended);
        });
        task
    }

    /// Tells a caller what is on a task's board, from its beginning to its end.
    pub fn pass_on(&self, board: Board) -> mpsc::Receiver<Result<RunEvent, Status>> {
        let (out, receiver) = mpsc::channel(QUEUE);
        self.tracker.spawn(async move { board.pass_on(out).await });
        receiver
    }

    /// The name of a task that is under way.
    pub fn any(&self) -> Option<String> {
        self.all().iter().find(|task| task.is_running()).map(|task| task.shown_name())
    }

    /// All that are known, the newest first.
    pub fn all(&self) -> Vec<Arc<Task>> {
        self.lock().iter().cloned().collect()
    }

    /// The task of a name or backup ID; without one, the only one that is under way.
    pub fn find(&self, name: &str) -> Result<Arc<Task>, Problem> {
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
        // Several restores may be of one backup, and none of them is it.
        let is_create = |task: &Task| task.kind == TaskKind::Create;
        let named = |task: &&Arc<Task>| {
            task.name == name || is_create(task) && task.begun_id().as_deref() == Some(name)
        };
        // One that ended before it had the ID that it was asked to have comes after those that had it.
        let asked = |task: &&Arc<Task>| is_create(task) && task.asked_id.as_deref() == Some(name);
        let found = tasks.iter().filter(|task| task.is_running()).find(named);
        if let Some(task) = found.or(tasks.iter().find(named)).or(tasks.iter().find(asked)) {
            return Ok(Arc::clone(task));
        }
        let begins = |task: &&Arc<Task>| task.begins_with(name);
        match tasks.iter().filter(begins).collect::<Vec<_>>()[..] {
            [task] if name.len() >= BackupId::SHORTEST_PREFIX => Ok(Arc::clone(task)),
            [] | [_] => {
                let names: Vec<String> = tasks.iter().map(|task| task.shown_name()).collect();
                let problem = problem("this coordinator knows of no such run".into()).on(name);
                Err(problem.or_nearest(name, names.iter().map(String::as_str)))
            }
            ref several => {
                let names: Vec<String> = several.iter().map(|task| task.shown_name()).collect();
                Err(Problem::new(ErrorKind::Invalid, Subject::Backup, "find run")
                    .on(name)
                    .answered(format!("{} runs and restores begin so: {}", names.len(), names.join(", ")))
                    .next("name more of the ID"))
            }
        }
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
