//! What a lost connection to an agent means, and how long the agent is waited for.
//!
//! Does not own: what is done when it is back. An answer that the agent gave itself is final; a connection that broke, or
//! an agent that is being stopped, may come back. Patience starts anew whenever the agent is heard.

use std::time::Duration;

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::problem_of_status;
use tokio::time::Instant;
use tonic::Status;

use crate::stop::Stop;

/// How a job was lost.
pub enum Lost {
    /// It will not come back.
    For(Problem),
    /// It may be joined or given again.
    Perhaps(Problem),
}

impl Lost {
    /// What the status of a call to an agent means.
    pub fn of_status(status: &Status, address: &str) -> Self {
        let problem = problem_of_status(status, Subject::Agent, address);
        // A job that stopped although this run goes on was stopped with its agent.
        let stopped = problem.kind == ErrorKind::Cancelled;
        let broken = status.details().is_empty()
            && matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::Internal);
        if stopped || broken { Self::Perhaps(unreachable(problem, address)) } else { Self::For(problem) }
    }
}

/// A lost connection says little of itself: what it means for the operator is said here.
fn unreachable(problem: Problem, address: &str) -> Problem {
    let answer = problem.answer.unwrap_or_default();
    Problem::new(ErrorKind::Unavailable, Subject::Agent, "follow job")
        .on(address)
        .answered(format!("the agent was lost: {answer}"))
        .leaving("what it made durable is kept, and the next run uses it")
        .next("check the agent and the network to it, then run again")
}

/// Pause before the first try to reach an agent again; it doubles up to the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// How long one agent is waited for.
pub struct Patience {
    limit: Duration,
    lost: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Waits up to this long.
    pub fn new(limit: Duration) -> Self {
        Self { limit, lost: None, pause: FIRST }
    }

    /// The agent is there.
    pub fn heard(&mut self) {
        self.lost = None;
        self.pause = FIRST;
    }

    /// Waits a while before the next try, or fails with the problem when it has been too long.
    pub async fn wait(
        &mut self,
        storage: &StorageName,
        problem: Problem,
        stop: &Stop,
    ) -> Result<(), Problem> {
        let now = Instant::now();
        let since = *self.lost.get_or_insert_with(|| {
            tracing::warn!(%storage, %problem, "agent lost, trying again for {:?}", self.limit);
            now
        });
        if now.duration_since(since) >= self.limit {
            return Err(problem);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.token.cancelled() => Err(Problem::cancelled("wait for agent").on(storage)),
        }
    }
}
