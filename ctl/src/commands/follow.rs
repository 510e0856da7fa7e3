//! Following a run or a restore to its end, with progress on stderr.
//!
//! Does not own: the result's rendering. A signal cancels the run when we started it; its stream then tells how it ended.
//! Who only watches leaves, and cancels nothing. When the coordinator is lost, it is looked for again for a while, and the
//! run, which does not depend on us, joined.

use std::time::Duration;

use packhorse_model::{ErrorKind, ItemFailure, Problem, Subject};
use packhorse_proto::{
    RUN_METADATA,
    v1::{FollowRequest, RunAccepted, RunEvent, run_event::Event},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tonic::{Code, Response, Status, Streaming};

use crate::{
    render::{
        self,
        progress::{ProgressDisplay, RESTORE},
    },
    session::{Place, Session},
};

/// What we are to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We started it, and a signal cancels it.
    Owner,
    /// It is not ours, and a signal only ends our watching.
    Watcher,
}

/// How long a coordinator that was lost is looked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(500);

/// Follows a stream to its summary.
pub async fn follow<S: DeserializeOwned>(
    session: &Session,
    started: Response<Streaming<RunEvent>>,
    mut display: ProgressDisplay,
    role: Role,
) -> Result<S, Problem> {
    let json = follow_to_end(session, started, &mut display, role).await;
    session.is_at(Place::Done);
    display.clear();
    serde_json::from_str(&json?)
        .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(e))
}

async fn follow_to_end(
    session: &Session,
    started: Response<Streaming<RunEvent>>,
    display: &mut ProgressDisplay,
    role: Role,
) -> Result<String, Problem> {
    let name = started.metadata().get(RUN_METADATA).and_then(|name| name.to_str().ok());
    // It keeps its name when its coordinator is restarted.
    let run = name.unwrap_or_default().to_owned();
    let mut shown = run.clone();
    let mut begun = false;
    let mut events = started.into_inner();
    session.is_at(place(role, &run));
    let cancelling = session.cancel_on_signal(&run);
    tokio::pin!(cancelling);
    let mut silence = std::pin::pin!(session.tell_silence());
    loop {
        let message = tokio::select! {
            message = events.message() => message,
            never = &mut silence, if !begun => match never {},
            () = session.stopped(), if role == Role::Watcher => return Err(left(&shown)),
            () = &mut cancelling, if role == Role::Owner => continue,
        };
        let event = match message {
            Ok(Some(event)) => event,
            Ok(None) => {
                events =
                    rejoin(session, &run, "the coordinator ended the stream before the run's end").await?;
                continue;
            }
            Err(status) if is_broken(session, &status) => {
                events = rejoin(session, &run, status.message()).await?;
                continue;
            }
            Err(status) => return Err(session.problem(&status)),
        };
        match event.event {
            Some(Event::Accepted(accepted)) => {
                if !begun {
                    display.accepted(&accepted);
                    name_of(&accepted).clone_into(&mut shown);
                    session.is_at(place(role, &shown));
                }
                begun = true;
            }
            Some(Event::Progress(progress)) => display.progress(&progress),
            Some(Event::Failure(failure)) => {
                if let Ok(failure) = ItemFailure::try_from(failure) {
                    display.failure(&failure);
                    render::told(&failure, !display.is_silent());
                }
            }
            Some(Event::SummaryJson(json)) => return Ok(json),
            // Of a newer coordinator.
            None => {}
        }
    }
}

/// The name by which an operator asks for it: a backup's ID, or that of a restore.
fn name_of(accepted: &RunAccepted) -> &str {
    if accepted.run.starts_with(RESTORE) { &accepted.run } else { &accepted.backup_id }
}

fn place(role: Role, run: &str) -> Place {
    match role {
        Role::Owner => Place::Owning(run.to_owned()),
        Role::Watcher => Place::Watching(run.to_owned()),
    }
}

/// A watcher was told to stop.
fn left(run: &str) -> Problem {
    Problem::cancelled("follow run")
        .on(run)
        .leaving("it goes on; only the watching has ended")
        .next(format!("run `backupctl status --follow {run}`, or `backupctl cancel {run}` to stop it"))
}

/// Whether the connection broke, or its coordinator ends, and not the run.
fn is_broken(session: &Session, status: &Status) -> bool {
    let codes = [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled];
    let problem = session.problem(status);
    let ends = (problem.kind, problem.subject) == (ErrorKind::Unavailable, Subject::Coordinator);
    ends || status.details().is_empty() && codes.contains(&status.code())
}

/// Joins the run again, at this coordinator or at the one that takes its place.
async fn rejoin(session: &Session, run: &str, answer: &str) -> Result<Streaming<RunEvent>, Problem> {
    let lost = || {
        Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "follow run")
            .on(session.address())
            .answered(format!("the coordinator was lost: {answer}"))
            .leaving("the run may go on, or be resumed when the coordinator starts again")
            .next(format!("run `backupctl status --follow {run}`"))
    };
    if session.is_embedded() {
        return Err(lost());
    }
    tracing::warn!(%answer, "the coordinator is lost and looked for");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let request = FollowRequest { run: run.to_owned() };
        // A coordinator that has just started answers when it knows what it resumes.
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let mut client = session.client();
        let answered = tokio::select! {
            answered = tokio::time::timeout(left, client.follow(request)) => answered,
            () = session.stopped() => break,
        };
        match answered {
            Ok(Ok(joined)) => return Ok(joined.into_inner()),
            Ok(Err(status)) if is_broken(session, &status) => {}
            Ok(Err(status)) if status.code() == Code::NotFound => return Err(unknown(session, run)),
            Ok(Err(status)) => return Err(session.problem(&status)),
            Err(_) => break,
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = session.stopped() => break,
        }
    }
    Err(lost())
}

/// The coordinator is back, and neither goes on with the run nor finds it committed.
fn unknown(session: &Session, run: &str) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "follow run")
        .on(session.address())
        .answered(format!("the coordinator was lost, and now that it is back it knows of no such run: {run}"))
        .leaving("it had not begun, or is not resumed; earlier backups and what a restore put in place stay")
        .next("run again; a restore with --skip-existing")
}
