//! Taking connections: the handshake, who calls, and whether there is room.
//!
//! Does not own: what the caller may do. Handshakes run beside each other, so one that stalls holds up nobody. A failed
//! `accept` ends nothing: out of file descriptors, we wait a moment and go on.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{CertificateError, Error as TlsError};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    bounds::Bounds,
    connection::{Connection, Io},
    pending::{Handshake, Pending},
    socket::{Accepted, Socket},
};
use crate::{
    Tls,
    access::{Access, Reason, Who},
    tls::names_of,
};

/// Time for a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Time to wait when the system has no room for another connection.
const RECOVERY: Duration = Duration::from_millis(100);
/// What a refused connection is called in the log.
const CONNECT: &str = "connect";

/// Takes connections and passes them on; cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    tls: Option<Tls>,
    access: Access,
    out: mpsc::Sender<Result<Connection, io::Error>>,
    pending: Pending,
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Acceptor {
    /// Passes connections to `out`.
    pub fn new(
        tls: Option<Tls>,
        access: Access,
        bounds: &Bounds,
        out: mpsc::Sender<Result<Connection, io::Error>>,
    ) -> Self {
        let room = |connections| Arc::new(Semaphore::new(connections));
        let (known, strangers) = (room(bounds.connections), room(bounds.strangers));
        Self { tls, access, out, pending: Pending::default(), known, strangers }
    }

    /// Takes connections until the token is cancelled; the socket is closed then, and handshakes end.
    pub async fn run(self, socket: Socket, shutdown: &CancellationToken) {
        let (mut tasks, mut number) = (JoinSet::new(), 0);
        let mut complained: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    number += 1;
                    let handshake = self.pending.enter(number);
                    tasks.spawn(self.clone().admit(stream, handshake));
                }
                Err(error) => {
                    if complained.is_none_or(|last| last.elapsed() > HANDSHAKE_TIME) {
                        tracing::error!(%error, "a connection cannot be accepted; it is tried again");
                        complained = Some(Instant::now());
                    }
                    tokio::time::sleep(RECOVERY).await;
                }
            }
        }
    }

    async fn admit(self, stream: Accepted, handshake: Handshake) {
        let identified = match stream {
            Accepted::Unix(stream) => match stream.peer_cred() {
                Ok(peer) => Some((Io::Unix(stream), Who::Local { uid: peer.uid(), gid: peer.gid() })),
                Err(error) => {
                    tracing::debug!(%error, "a caller went away at once");
                    None
                }
            },
            Accepted::Tcp(stream) => match &self.tls {
                None => Some((Io::Tcp(stream), Who::Loopback)),
                Some(tls) => self.shake_hands(tls, stream, &handshake).await,
            },
        };
        drop(handshake);
        let Some((io, who)) = identified else { return };
        let room = if self.access.knows(&who) { &self.known } else { &self.strangers };
        match Arc::clone(room).try_acquire_owned() {
            Ok(permit) => {
                let connection = Connection::new(io, who, self.access.refusals().clone(), permit);
                let _ = self.out.send(Ok(connection)).await;
            }
            Err(_) => {
                self.access.refusals().note(Reason::Crowded, who, CONNECT, "too many connections are open");
            }
        }
    }

    async fn shake_hands(&self, tls: &Tls, stream: TcpStream, handshake: &Handshake) -> Option<(Io, Who)> {
        let from = stream.peer_addr().ok()?.ip();
        let refuse = |reason, why: String| self.access.refusals().note(reason, from, CONNECT, why);
        let shaking = TlsAcceptor::from(tls.server()).accept(stream);
        let shaken = tokio::select! {
            () = handshake.give_way.cancelled() => {
                refuse(Reason::Crowded, "too many handshakes are under way, and this was the oldest".into());
                return None;
            }
            shaken = tokio::time::timeout(HANDSHAKE_TIME, shaking) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => Some((who(&stream, from), stream)).map(|(who, s)| (Io::Tls(Box::new(s)), who)),
            Ok(Err(error)) => {
                let refusals = self.access.refusals();
                refusals.note(Reason::Handshake, from, cause_of(&error), error);
                None
            }
            Err(_) => {
                refuse(Reason::Slow, format!("the handshake was not complete after {HANDSHAKE_TIME:?}"));
                None
            }
        }
    }
}

/// What a handshake that failed is called in the log, so that one cause does not hide another.
fn cause_of(error: &io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return "connect, and hang up";
    };
    match error {
        TlsError::NoCertificatesPresented => "connect without a certificate",
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "connect with an expired certificate"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "connect with a certificate of another authority"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "connect with a certificate that is not for callers"
            }
            _ => "connect with an invalid certificate",
        },
        TlsError::AlertReceived(_) => "connect, and refuse our certificate",
        _ => "connect without proper TLS",
    }
}

fn who(stream: &TlsStream<TcpStream>, from: IpAddr) -> Who {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Who::Certificate { names: certificates.first().map(names_of).unwrap_or_default(), from }
}
