//! What a lost connection to an agent means, and how long the agent is waited for.
//!
//! Does not own: what is done when it is back. An answer that the agent gave itself is final; a connection that broke, or
//! an agent that is being stopped, may come back, and one that is busy may become free. Patience starts anew whenever the
//! agent is heard.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{START_JOB, problem_of_status, v1::StorageProgress};
use tokio::time::Instant;
use tonic::Status;

use crate::{board::Board, stop::Stop};

/// How a job was lost.
pub enum Lost {
    /// It will not come back.
    For(Problem),
    /// It may be joined or given again.
    Perhaps(Problem),
    /// It was not begun, because the agent has another job for the storage.
    Busy(Problem),
}

impl Lost {
    /// What the status of a call to an agent means.
    pub fn of_status(status: &Status, address: &str) -> Self {
        let problem = of_agent(problem_of_status(status, Subject::Agent, address), address);
        // A job that stopped although this run goes on was stopped with its agent.
        let stopped = problem.kind == ErrorKind::Cancelled;
        let broken = status.details().is_empty()
            && matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::Internal);
        if stopped || broken {
            Self::Perhaps(unreachable(problem, address))
        } else if problem.kind == ErrorKind::Unavailable && problem.what == START_JOB {
            Self::Busy(problem)
        } else {
            Self::For(problem)
        }
    }
}

/// What an agent refuses to do for us names the call only, and there may be several agents.
fn of_agent(problem: Problem, address: &str) -> Problem {
    if problem.kind != ErrorKind::Denied || problem.subject != Subject::Agent {
        return problem;
    }
    match problem.object.clone() {
        Some(object) if object.contains(address) => problem,
        Some(object) => problem.on(format!("agent {address}, {object}")),
        None => problem.on(format!("agent {address}")),
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

/// Times in a row that an agent may come back and be lost again without getting any further.
const IN_VAIN: u32 = 10;

/// How long the agent of one storage is waited for. Whoever looks at the board is told that it is, for as long as this lives.
pub struct Patience<'a> {
    board: &'a Board,
    storage: &'a StorageName,
    limit: Duration,
    /// How it is missed, and since when.
    lost: Option<(&'static str, Instant)>,
    pause: Duration,
    /// Most repositories and bytes that it has come to.
    best: (u64, u64),
    heard: bool,
    got_further: bool,
    in_vain: u32,
}

impl<'a> Patience<'a> {
    /// Waits up to this long.
    pub fn new(limit: Duration, board: &'a Board, storage: &'a StorageName) -> Self {
        Self {
            board,
            storage,
            limit,
            lost: None,
            pause: FIRST,
            best: (0, 0),
            heard: false,
            got_further: false,
            in_vain: 0,
        }
    }

    /// The agent is there, and so far.
    pub fn heard(&mut self, progress: &StorageProgress) {
        self.lost = None;
        self.pause = FIRST;
        self.heard = true;
        // What is stored need not be done again, so that alone cannot go on for ever.
        self.got_further |=
            progress.stored > 0 || progress.done > self.best.0 || progress.bytes > self.best.1;
        self.best = (self.best.0.max(progress.done), self.best.1.max(progress.bytes));
    }

    /// What is waited for, and until when.
    fn told(&self, problem: &Problem, waited: Duration) -> String {
        let left = SignedDuration::try_from(self.limit.saturating_sub(waited)).unwrap_or(SignedDuration::MAX);
        let until = Timestamp::now().saturating_add(left).unwrap_or(Timestamp::MAX);
        let place = problem.object.as_ref().map(|address| format!("{address}: ")).unwrap_or_default();
        let answer = problem.answer.as_deref().unwrap_or(&problem.what);
        format!("{place}{answer}; waited for until {}", until.strftime("%H:%M:%SZ"))
    }

    /// Waits a while before the next try, or fails with the problem when that is of no use, has been too long, or too
    /// often in vain.
    pub async fn wait(&mut self, lost: Lost, stop: &Stop) -> Result<(), Problem> {
        let storage = self.storage;
        let (what, problem) = match lost {
            Lost::For(problem) => return Err(problem),
            Lost::Perhaps(problem) => ("agent lost", problem),
            Lost::Busy(problem) => ("agent busy", problem),
        };
        let now = Instant::now();
        let known = self.lost.filter(|(how, _)| *how == what);
        let (_, since) = known.unwrap_or_else(|| {
            tracing::warn!(%storage, %problem, "{what}, trying again for {}s", self.limit.as_secs());
            (what, now)
        });
        self.lost = Some((what, since));
        self.board.waits(storage, self.told(&problem, now.duration_since(since)));
        if now.duration_since(since) >= self.limit {
            return Err(problem);
        }
        if self.heard {
            self.in_vain = if self.got_further { 0 } else { self.in_vain + 1 };
        }
        (self.heard, self.got_further) = (false, false);
        if self.in_vain >= IN_VAIN {
            let answer = problem.answer.clone().unwrap_or_default();
            return Err(
                problem.answered(format!("{answer}; {IN_VAIN} times in a row, without getting any further"))
            );
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.token.cancelled() => Err(Problem::cancelled("wait for agent").on(storage)),
        }
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.board.waits_no_more(self.storage);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn progress(done: u64, bytes: u64, stored: u64) -> StorageProgress {
        StorageProgress { done, bytes, stored, ..StorageProgress::default() }
    }

    async fn lose(patience: &mut Patience<'_>, told: &StorageProgress) -> Result<(), Problem> {
        patience.heard(told);
        let lost = Lost::Perhaps(Problem::new(ErrorKind::Unavailable, Subject::Agent, "x"));
        patience.wait(lost, &Stop::new(&CancellationToken::new())).await
    }

    #[test]
    fn an_agent_that_refuses_us_is_named() {
        let refusal = Problem::new(ErrorKind::Denied, Subject::Agent, "authorise call")
            .on("/packhorse.v1.AgentService/Describe")
            .answered("backup.internal from 10.0.0.7 has no role here");
        let status = packhorse_proto::status_of_problem(&refusal);
        let Lost::For(problem) = Lost::of_status(&status, "https://gitaly-1.internal:7443") else {
            panic!("a refusal is final");
        };
        let named = "agent https://gitaly-1.internal:7443, /packhorse.v1.AgentService/Describe";
        assert_eq!(problem.object.as_deref(), Some(named));
    }

    #[tokio::test]
    async fn an_agent_that_dies_of_the_same_repository_again_and_again_is_given_up() {
        let (board, storage) = (Board::default(), "default".parse().expect("valid name"));
        let waits = || board.progress().storages.first().map(|told| told.waits_for.clone());
        let mut patience = Patience::new(Duration::from_secs(3600), &board, &storage);
        for _ in 0..IN_VAIN + 5 {
            lose(&mut patience, &progress(3, 100, 1)).await.expect("it stores something each time");
        }
        for _ in 0..IN_VAIN - 1 {
            lose(&mut patience, &progress(3, 100, 0)).await.expect("may yet come further");
        }
        lose(&mut patience, &progress(3, 101, 0)).await.expect("it came further");
        for _ in 0..IN_VAIN - 1 {
            lose(&mut patience, &progress(3, 100, 0)).await.expect("may yet come further");
        }
        let problem = lose(&mut patience, &progress(2, 90, 0)).await.expect_err("in vain");
        assert!(problem.to_string().contains("without getting any further"), "{problem}");
        assert!(waits().is_some_and(|waits| waits.contains("waited for until")), "{:?}", waits());
        drop(patience);
        assert_eq!(waits().as_deref(), Some(""), "given up, it is not waited for");
    }
}
