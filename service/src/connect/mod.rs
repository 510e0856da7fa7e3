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
    let (mut answer, mut refused) = (error.to_string(), None);
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors say what their cause says.
        let text = cause.to_string();
        if !answer.ends_with(&text) {
            answer = format!("{answer}: {text}");
        }
        refused = refused.or_else(|| refused_by_tls(cause));
        source = cause.source();
    }
    let (what, daemon) = match subject {
        Subject::Agent => ("connect to agent", "packhorse-agent"),
        _ => ("connect to coordinator", "packhorse-coordinator"),
    };
    let problem = |kind| Problem::new(kind, subject, what).on(address).answered(answer);
    match refused {
        Some(next) => problem(ErrorKind::Denied).next(next),
        None => problem(ErrorKind::Unavailable).next(format!("check that {daemon} runs there")),
    }
}

/// What to do when one side refused the other's certificate.
fn refused_by_tls(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    use rustls::Error as TlsError;
    let inner = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
    let error = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref::<TlsError>())?;
    match error {
        TlsError::AlertReceived(_) => Some(
            "check that our certificate is valid now and that the other side's ca file has its authority",
        ),
        TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented => Some(
            "check that its certificate is valid now, is for this host name, and is signed by our ca file",
        ),
        _ => None,
    }
}
