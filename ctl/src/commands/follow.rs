//! Following a run or a restore to its end, with progress on stderr.
//!
//! Does not own: the result's rendering. A signal cancels the run; its stream then tells how it ended.

use packhorse_model::{ErrorKind, ItemFailure, Problem, Subject};
use packhorse_proto::{
    RUN_METADATA,
    v1::{RunAccepted, RunProgress},
};
use serde::de::DeserializeOwned;
use tonic::{Response, Status, Streaming};

use crate::{render::progress::ProgressDisplay, session::Session};

/// One event of either kind of stream.
pub enum Event {
    /// It has begun.
    Accepted(RunAccepted),
    /// How far it is.
    Progress(RunProgress),
    /// Something failed.
    Failure(packhorse_proto::v1::ItemFailure),
    /// The summary, as JSON.
    Summary(String),
    /// Of a newer coordinator.
    Unknown,
}

/// Follows a stream to its summary.
pub async fn follow<M, S: DeserializeOwned>(
    session: &Session,
    started: Response<Streaming<M>>,
    event_of: impl Fn(M) -> Event,
    mut display: ProgressDisplay,
) -> Result<S, Problem> {
    let name = started.metadata().get(RUN_METADATA).and_then(|name| name.to_str().ok());
    let run = name.unwrap_or_default().to_owned();
    let mut events = started.into_inner();
    loop {
        let message = tokio::select! {
            message = events.message() => message,
            () = session.cancel_on_signal(&run) => continue,
        };
        let message = message.map_err(|status: Status| session.problem(&status));
        match message.inspect_err(|_| display.clear())?.map(&event_of) {
            Some(Event::Accepted(accepted)) => display.accepted(&accepted),
            Some(Event::Progress(progress)) => display.progress(&progress),
            Some(Event::Failure(failure)) => {
                if let Ok(failure) = ItemFailure::try_from(failure) {
                    display.failure(&failure);
                }
            }
            Some(Event::Summary(json)) => {
                display.clear();
                return serde_json::from_str(&json).map_err(|e| {
                    Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(e)
                });
            }
            Some(Event::Unknown) => {}
            None => {
                display.clear();
                return Err(Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "follow run")
                    .answered("the coordinator ended the stream before the run's end")
                    .leaving("the run may still go on")
                    .next("run `backupctl list`"));
            }
        }
    }
}
