//! Connecting to a daemon.
//!
//! Does not own: retries of calls. A channel reconnects by itself; keep-alives notice a peer that went away without a
//! word. With TLS the peer must prove the host name of its address, and we show our own certificate.

mod tls;

use std::{error::Error, io, time::Duration};

use packhorse_model::{ErrorKind, Problem, Subject};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{Address, Tls, tls::missing};

/// Time for a connection to be made, with its handshake.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time between two questions whether the peer is still there, and for its answer.
const ALIVE: Duration = Duration::from_secs(20);

/// A channel to `address`; fails when nobody answers there, or one that does not trust us, or that we do not trust.
/// `subject` says who was meant to. An `https://` address needs `tls`.
pub async fn connect(address: &Address, subject: Subject, tls: Option<&Tls>) -> Result<Channel, Problem> {
    let failed = |error: tonic::transport::Error| problem(address, subject, &error);
    let endpoint = Endpoint::from_shared(address.to_string()).map_err(failed)?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIME)
        .http2_keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .keep_alive_while_idle(true);
    let connected = match address {
        Address::Unix(_) | Address::Loopback(_) => endpoint.connect().await,
        Address::Tls { host, port } => {
            let tls = tls.ok_or_else(|| missing(address))?.clone();
            endpoint.connect_with_connector(tls::connector(tls, host.clone(), *port)).await
        }
    };
    connected.map_err(failed)
}

/// Makes a call that may be made twice, and makes it again when its connection was gone: a server lets go of connections
/// that have become old, and the next call on the channel is the one that finds out.
pub async fn call_again<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    match call().await {
        Err(status) if is_of_transport(&status) => call().await,
        answer => answer,
    }
}

fn is_of_transport(status: &Status) -> bool {
    status.source().is_some_and(|cause| cause.is::<tonic::transport::Error>())
}

fn problem(address: &Address, subject: Subject, error: &tonic::transport::Error) -> Problem {
    let (mut answer, mut refused, mut no_right) = (error.to_string(), None, false);
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors say what their cause says.
        let text = cause.to_string();
        if !answer.ends_with(&text) {
            answer = format!("{answer}: {text}");
        }
        refused = refused.or_else(|| refused_by_tls(cause));
        no_right |= is_denied(cause);
        source = cause.source();
    }
    let (what, daemon) = match subject {
        Subject::Agent => ("connect to agent", "packhorse-agent"),
        _ => ("connect to coordinator", "packhorse-coordinator"),
    };
    let problem = |kind| Problem::new(kind, subject, what).on(address).answered(answer);
    match refused {
        Some(next) => problem(ErrorKind::Denied).next(next),
        None if no_right => problem(ErrorKind::Denied)
            .next("run as root or as the user that owns the socket, or give yourself a role: docs/operations.md, \"Unix sockets\""),
        None => problem(ErrorKind::Unavailable).next(format!("check that {daemon} runs there")),
    }
}

/// Whether the socket is one that we may not open.
fn is_denied(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// What to do when one side refused the other's certificate.
fn refused_by_tls(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    use rustls::{AlertDescription, CertificateError, Error as TlsError};
    let inner = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
    let error = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref::<TlsError>())?;
    match error {
        TlsError::AlertReceived(AlertDescription::UnsupportedCertificate) => Some(
            "the other side refused our certificate because it is for another use, as one for servers is when we call: give one for \
             callers (`backupctl certs issue --role` coordinator, operator or observer); its log says more",
        ),
        TlsError::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => Some(
            "the other side showed a certificate for another use, as one for callers is: give it one for servers (`backupctl certs \
             issue --role` agent or coordinator)",
        ),
        TlsError::AlertReceived(_) => Some(
            "check that our certificate is valid now and that the other side's ca file has its authority; its log says more",
        ),
        TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented => Some(
            "check that its certificate is valid now, is for this host name, and is signed by our ca file",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, Error as TlsError};

    use super::*;

    #[test]
    fn a_certificate_for_another_use_is_told_from_one_that_is_not_trusted() {
        let next = |error: TlsError| refused_by_tls(&io::Error::other(error)).unwrap_or_default();
        let ours = next(TlsError::AlertReceived(AlertDescription::UnsupportedCertificate));
        assert!(ours.contains("refused our certificate because it is for another use"), "{ours}");
        assert!(ours.contains("its log says more"), "{ours}");
        let theirs = next(TlsError::InvalidCertificate(CertificateError::InvalidPurpose));
        assert!(theirs.contains("the other side showed a certificate for another use"), "{theirs}");
        let unknown = next(TlsError::AlertReceived(AlertDescription::UnknownCA));
        assert!(
            unknown.contains("our certificate is valid now") && unknown.contains("its log says"),
            "{unknown}"
        );
        let expired = next(TlsError::InvalidCertificate(CertificateError::Expired));
        assert!(expired.contains("its certificate is valid now"), "{expired}");
    }

    /// Calls with these answers, and says the last one and how many were asked for.
    async fn called<const N: usize>(answers: [Result<u8, Status>; N]) -> (Result<u8, String>, usize) {
        let (mut answers, mut calls) = (answers.into_iter(), 0);
        let answer = call_again(|| {
            calls += 1;
            std::future::ready(answers.next().expect("no more calls than this"))
        });
        let answer = answer.await.map_err(|status| status.message().to_owned());
        (answer, calls)
    }

    /// What a call on a connection that is gone is answered with.
    fn gone() -> Status {
        let error = Endpoint::from_shared("no address").expect_err("it is none");
        Status::from_error(Box::new(error))
    }

    #[tokio::test]
    async fn a_call_is_made_again_once_when_its_connection_was_gone() {
        assert_eq!(called([Err(gone()), Ok(7)]).await, (Ok(7), 2));
        let (answer, calls) = called([Err(gone()), Err(gone()), Ok(7)]).await;
        assert!(answer.is_err());
        assert_eq!(calls, 2, "once and not for ever");
    }

    #[tokio::test]
    async fn what_the_server_answers_is_the_answer() {
        assert_eq!(called([Ok(7), Ok(8)]).await, (Ok(7), 1));
        let busy = || Err(Status::unavailable("busy"));
        assert_eq!(called([busy(), Ok(8)]).await, (Err("busy".to_owned()), 1));
        // Also when it answers no better the second time.
        assert_eq!(called([Err(gone()), busy()]).await, (Err("busy".to_owned()), 2));
    }

    #[tokio::test]
    async fn a_call_that_finds_nobody_is_one_of_transport() {
        let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        let status = health.check(tonic_health::pb::HealthCheckRequest::default()).await;
        assert!(is_of_transport(&status.expect_err("nobody listens there")));
    }
}
