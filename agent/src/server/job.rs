//! What backup and restore jobs have in common on the wire: reading the request, passing on events.
//!
//! Does not own: the jobs (`jobs`). A coordinator that reads slowly, or goes away, changes nothing about its job.

use std::{sync::Arc, time::Duration};

use packhorse_model::{ErrorKind, InvalidInput, Problem, RepoFilter, Subject};
use packhorse_proto::{filter_from_wire, status_of_problem, v1};
use packhorse_service::{Follower, Seen};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Shared,
    jobs::{Finished, Job},
};

/// Events that wait for the coordinator at most.
const QUEUE: usize = 256;
/// Time that a coordinator has to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// A part of a request stream.
pub enum Part<J> {
    /// The job, in the first message.
    Job(J),
    /// More patterns.
    Filter(v1::RepositoryFilter),
    /// What the job may take from its beginning.
    Limits(v1::JobLimits),
    /// The request is complete.
    Go,
    /// Nothing that this version knows.
    Unknown,
}

/// What stands before `Go`.
pub struct JobRequest<J> {
    /// The job.
    pub job: J,
    /// All patterns.
    pub filter: RepoFilter,
    /// None when the agent's own limits are enough.
    pub limits: v1::JobLimits,
}

/// Reads a request up to `Go`; what the stream carries after that is left in it.
pub async fn read_request<M, J>(
    requests: &mut Streaming<M>,
    part_of: impl Fn(M) -> Part<J>,
) -> Result<JobRequest<J>, Problem> {
    let refused =
        |answer: String| Problem::new(ErrorKind::Invalid, Subject::Coordinator, "read job").answered(answer);
    let reading = async {
        let (mut job, mut parts, mut limits) = (None, Vec::new(), v1::JobLimits::default());
        loop {
            let message = requests.message().await.map_err(|e| refused(e.to_string()))?;
            // A stream that ended without `Go` may have been cut within the patterns.
            let message = message
                .ok_or_else(|| refused("the stream ended before it said that it is complete".into()))?;
            match part_of(message) {
                Part::Job(first) if job.is_none() => job = Some(first),
                Part::Filter(part) => parts.push(part),
                Part::Limits(latest) => limits = latest,
                Part::Go => break,
                Part::Job(_) => return Err(refused("the stream carries two jobs".into())),
                Part::Unknown => return Err(refused("the stream carries an unknown message".into())),
            }
        }
        let job = job.ok_or_else(|| refused("the stream carries no job".into()))?;
        Ok(JobRequest { job, filter: filter_from_wire(&parts)?, limits })
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

/// What is told of a job.
pub enum Told {
    /// How far it is.
    Progress(v1::StorageProgress),
    /// Something failed.
    Failure(v1::ItemFailure),
    /// It is done.
    Finished(Finished),
}

/// Passes on what a follower sees of a job, as a tracked task.
pub fn pass_on<E: Send + 'static>(
    shared: &Shared,
    (job, follower): (Arc<Job>, Follower<Finished>),
    event_of: impl Fn(Told) -> Result<E, Status> + Send + Sync + 'static,
) -> mpsc::Receiver<Result<E, Status>> {
    let (out, receiver) = mpsc::channel(QUEUE);
    shared.tracker.spawn(async move {
        let passing = follower.pass_on(&out, |seen| {
            [match seen {
                Seen::Tick => event_of(Told::Progress(job.progress())),
                Seen::Failure(failure) => event_of(Told::Failure((&failure).into())),
                Seen::End(Ok(finished)) => event_of(Told::Finished(finished)),
                Seen::End(Err(problem)) => Err(status_of_problem(&problem)),
            }]
        });
        passing.await;
    });
    receiver
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic::codec::Codec as _;
    use tonic_prost::ProstCodec;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_complete_is_given_up() {
        let decoder = ProstCodec::<v1::Go, v1::Go>::default().decoder();
        let never = tokio_stream::pending::<Result<Frame<Bytes>, Status>>();
        let mut requests = Streaming::new_request(decoder, StreamBody::new(never), None, None);
        let begun = tokio::time::Instant::now();
        let Err(problem) = read_request(&mut requests, |_| Part::<()>::Go).await else {
            panic!("it was read")
        };
        assert!(problem.to_string().contains("not complete"), "{problem}");
        assert_eq!((problem.kind, begun.elapsed()), (ErrorKind::Invalid, REQUEST_TIME));
    }
}
