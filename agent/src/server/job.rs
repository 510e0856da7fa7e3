//! What backup and restore jobs have in common: reading the request, running as a tracked task, forwarding events.
//!
//! Does not own: what the job does. The channel to the coordinator is bounded: a slow reader slows the job down, a
//! reader that is gone cancels it.

use std::{future::Future, time::Duration};

use packhorse_model::{ErrorKind, InvalidInput, Problem, RepoFilter, Subject};
use packhorse_proto::{filter_from_wire, status_of_problem, v1};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::Shared;

/// Events that wait for the coordinator at most.
const QUEUE: usize = 256;
/// Time between two progress events.
const TICK: Duration = Duration::from_millis(250);
/// Time that a coordinator has to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// A part of a request stream.
pub enum Part<J> {
    /// The job, in the first message.
    Job(J),
    /// More patterns.
    Filter(v1::RepositoryFilter),
    /// Nothing that this version knows.
    Unknown,
}

/// Reads the job and all patterns to the end of the request stream.
pub async fn read_request<M, J>(
    mut requests: Streaming<M>,
    part_of: impl Fn(M) -> Part<J>,
) -> Result<(J, RepoFilter), Problem> {
    let refused =
        |answer: String| Problem::new(ErrorKind::Invalid, Subject::Coordinator, "read job").answered(answer);
    let reading = async {
        let (mut job, mut parts) = (None, Vec::new());
        while let Some(message) = requests.message().await.map_err(|e| refused(e.to_string()))? {
            match part_of(message) {
                Part::Job(first) if job.is_none() => job = Some(first),
                Part::Filter(part) => parts.push(part),
                Part::Job(_) => return Err(refused("the stream carries two jobs".into())),
                Part::Unknown => return Err(refused("the stream carries an unknown message".into())),
            }
        }
        let job = job.ok_or_else(|| refused("the stream carries no job".into()))?;
        Ok((job, filter_from_wire(&parts)?))
    };
    match tokio::time::timeout(REQUEST_TIME, reading).await {
        Ok(read) => read,
        Err(_) => Err(refused(format!("the request was not complete after {REQUEST_TIME:?}"))),
    }
}

/// A field of a request that must be there.
pub fn required<T>(field: Option<T>, name: &'static str) -> Result<T, InvalidInput> {
    field.ok_or_else(|| InvalidInput::new("job", name, "is missing"))
}

/// Runs `work` as a tracked task and returns its events.
///
/// `progress` is asked for an event at every tick; what `work` returns is the last event, or the status.
pub fn run<E, F>(
    shared: &Shared,
    progress: impl Fn() -> E + Send + 'static,
    work: impl FnOnce(mpsc::Sender<E>, CancellationToken) -> F,
) -> mpsc::Receiver<Result<E, Status>>
where
    E: Send + 'static,
    F: Future<Output = Result<E, Problem>> + Send + 'static,
{
    let (out, receiver) = mpsc::channel(QUEUE);
    let (events_out, mut events) = mpsc::channel(QUEUE);
    let cancel = shared.shutdown.child_token();
    let work = work(events_out, cancel.clone());
    shared.tracker.spawn(async move {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                Some(event) = events.recv() => { let _ = out.send(Ok(event)).await; }
                _ = tick.tick() => { let _ = out.try_send(Ok(progress())); }
                () = out.closed(), if !cancel.is_cancelled() => {
                    tracing::warn!("the coordinator is gone, stopping its job");
                    cancel.cancel();
                }
            }
        };
        // What the work said before it ended comes before its end.
        while let Ok(event) = events.try_recv() {
            let _ = out.send(Ok(event)).await;
        }
        let _ = out.send(Ok(progress())).await;
        let _ = out.send(ended.map_err(|problem| status_of_problem(&problem))).await;
    });
    receiver
}
