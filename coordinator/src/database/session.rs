//! One `psql` that is spoken with from a thread of its own, to its end or to a stop.
//!
//! Does not own: what is said. A session that has to go no further is killed before its input closes, so that `psql` never
//! takes the end of its input for the end of its work. Once the last step has begun, only the server knows how it ends, so
//! its answer is awaited whatever is asked.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use packhorse_model::Problem;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connection,
    dialogue::Dialogue,
    failure,
    fill::Unfilled,
    psql::{self, Psql},
};
use crate::pipe::joined;

const WHAT: &str = "restore database";

/// Why a session brought nothing.
pub(super) struct Failed {
    /// The reason.
    pub(super) problem: Problem,
    /// Whether rows were refused, which another search path may help.
    pub(super) of_rows: bool,
    /// Whether the last step had begun.
    pub(super) at_the_end: bool,
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self { problem, of_rows: false, at_the_end: false }
    }
}

/// Speaks with a new session; `last` says that the last step has begun.
pub(super) async fn speak<T: Send + 'static>(
    connection: &Connection,
    cancel: &CancellationToken,
    work: impl FnOnce(&mut Dialogue, &AtomicBool) -> Result<T, Unfilled> + Send + 'static,
) -> Result<T, Failed> {
    let Psql { mut child, stdin, stdout, said, errors } = psql::start(connection)?;
    let last = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&last);
    let mut speaking = spawn_blocking(move || {
        let mut dialogue = match Dialogue::begin(stdin, stdout, errors) {
            Ok(dialogue) => dialogue,
            Err(_) => return Ok((Err(Unfilled::Ended), None)),
        };
        let worked = work(&mut dialogue, &begun);
        Ok((worked, Some(dialogue)))
    });
    let (worked, dialogue) = tokio::select! {
        worked = &mut speaking => joined(worked)?,
        () = cancel.cancelled() => {
            if !last.load(Ordering::Acquire) {
                child.kill();
            }
            joined(speaking.await)?
        }
    };
    let at_the_end = last.load(Ordering::Acquire);
    let stopped = cancel.is_cancelled() && !at_the_end;
    let failed = |problem: Problem, of_rows| Failed { problem, of_rows, at_the_end };
    match worked {
        Err(_) if stopped => {
            child.kill();
            let problem = Problem::cancelled(WHAT).on(failure::on(connection));
            return Err(failed(problem, false));
        }
        Err(Unfilled::Damaged(problem)) => {
            child.kill();
            return Err(failed(problem.while_doing(WHAT), false));
        }
        Err(Unfilled::Refused(problem, fault)) => {
            child.kill();
            return Err(failed(problem, fault.is_some_and(|fault| fault.of_rows)));
        }
        _ => {}
    }
    drop(dialogue);
    let status = child.wait(&CancellationToken::new()).await?;
    let said = said.await.unwrap_or_default();
    match worked {
        Ok(done) if status.success() => Ok(done),
        _ => Err(failed(failure::failed(connection, WHAT, status, &said), false)),
    }
}
