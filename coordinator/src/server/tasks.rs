//! Runs and restores as tracked tasks that can be cancelled by name.
//!
//! Does not own: what they do. A task outlives the call that started it; its entry goes when it ends.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use packhorse_model::Problem;
use packhorse_proto::status_of_problem;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use crate::board::{Board, Told};

/// Events that wait for the caller at most.
const QUEUE: usize = 256;

/// The tasks under way.
pub struct Tasks {
    running: Arc<Mutex<HashMap<String, CancellationToken>>>,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(shutdown: CancellationToken, tracker: TaskTracker) -> Self {
        Self { running: Arc::default(), shutdown, tracker }
    }

    /// What tracks the tasks.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Cancels a task by name; whether it was under way.
    pub fn cancel(&self, run: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(run).map(CancellationToken::cancel).is_some()
    }

    /// The name of a task that is under way.
    pub fn any(&self) -> Option<String> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().next().cloned()
    }

    /// Starts a task and returns its name and its events: what it tells, and last what it returned.
    pub fn start<E, F>(
        &self,
        told: impl Fn(Told) -> E + Send + Sync + 'static,
        ended: impl FnOnce(String) -> E + Send + 'static,
        work: impl FnOnce(String, Board, CancellationToken) -> F,
    ) -> (String, mpsc::Receiver<Result<E, Status>>)
    where
        E: Send + 'static,
        F: Future<Output = Result<String, Problem>> + Send + 'static,
    {
        let (out, receiver) = mpsc::channel(QUEUE);
        let (told_out, mut told_in) = mpsc::channel(QUEUE);
        let (name, cancel) = (uuid::Uuid::new_v4().to_string(), self.shutdown.child_token());
        let board = Board::new(told_out);
        let work = work(name.clone(), board.clone(), cancel.clone());
        let (running, task) = (Arc::clone(&self.running), name.clone());
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), cancel);
        self.tracker.spawn(async move {
            let ticking = CancellationToken::new();
            let stop = ticking.clone();
            let work = async move {
                let (result, ()) = tokio::join!(
                    async {
                        let result = work.await;
                        stop.cancel();
                        result
                    },
                    board.tick(ticking)
                );
                result
            };
            let forward = async {
                // A caller that is gone does not matter to the run.
                while let Some(event) = told_in.recv().await {
                    let _ = out.send(Ok(told(event))).await;
                }
            };
            let (result, ()) = tokio::join!(work, forward);
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            if let Err(problem) = &result {
                tracing::warn!(%problem, "run or restore ended without success");
            }
            let _ = out.send(result.map(ended).map_err(|problem| status_of_problem(&problem))).await;
        });
        (task, receiver)
    }
}
