//! Problems as gRPC statuses and back: the one place where an error kind meets a status code.
//!
//! Does not own: what a problem means. The whole problem travels, encoded as `packhorse.v1.Problem`, in the status
//! details; a status of another origin (a proxy, a refused connection) becomes a problem from its code and message.

use packhorse_model::{ErrorKind, Problem, Subject};
use prost::Message as _;
use tonic::{Code, Status};

use crate::v1;

/// The status that carries a problem.
pub fn status_of_problem(problem: &Problem) -> Status {
    let code = match problem.kind {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Internal => Code::Internal,
    };
    let details = v1::Problem::from(problem).encode_to_vec();
    Status::with_details(code, problem.to_string(), details.into())
}

/// The problem that a status carries; `subject` and `address` name the peer when the status has no details of ours.
pub fn problem_of_status(status: &Status, subject: Subject, address: &str) -> Problem {
    let details = v1::Problem::decode(status.details());
    if let Ok(problem) = details
        && !problem.what.is_empty()
    {
        return problem.into();
    }
    let kind = match status.code() {
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => ErrorKind::Invalid,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Aborted => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    // Not the peer's answer, but our own transport's: what came was no HTTP/2, or stopped being it.
    // A stop that somebody asked for has details of ours, so a bare one is a connection that was lost.
    let foreign = status.code() == Code::Cancelled
        || status.code() == Code::Internal && status.message().starts_with("h2 protocol error");
    let kind = if foreign { ErrorKind::Unavailable } else { kind };
    let who = if subject == Subject::Agent { "call agent" } else { "call coordinator" };
    let answer = format!("{}: {}", status.code(), status.message());
    let problem = Problem::new(kind, subject, who).on(address).answered(answer);
    if foreign { problem.next("check the address, and whether it takes https://") } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_the_wire_whole() {
        for kind in [ErrorKind::NotFound, ErrorKind::Corrupt, ErrorKind::Denied, ErrorKind::Cancelled] {
            let problem = Problem::new(kind, Subject::Database, "dump database")
                .on("main")
                .answered("exit 1")
                .leaving("nothing stored")
                .next("look at the server's log");
            let status = status_of_problem(&problem);
            assert_eq!(problem_of_status(&status, Subject::Agent, "x"), problem);
        }
    }

    #[test]
    fn what_speaks_another_protocol_is_no_defect_of_ours() {
        for status in
            [Status::internal("h2 protocol error: http2 error"), Status::cancelled("operation was canceled")]
        {
            assert_eq!(problem_of_status(&status, Subject::Agent, "http://a").kind, ErrorKind::Unavailable);
        }
        assert_eq!(
            problem_of_status(&Status::internal("x"), Subject::Agent, "http://a").kind,
            ErrorKind::Internal
        );
    }

    #[test]
    fn a_foreign_status_names_the_peer() {
        let problem =
            problem_of_status(&Status::unavailable("connection refused"), Subject::Agent, "http://a");
        assert_eq!((problem.kind, problem.subject), (ErrorKind::Unavailable, Subject::Agent));
        assert!(problem.to_string().contains("http://a"));
    }
}
