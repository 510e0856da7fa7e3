//! Listening for gRPC calls on a Unix socket, a loopback address, or any address with TLS, until told to stop.
//!
//! `accept` takes connections and finds out who calls, `connection` bounds their silence, and `access` decides about
//! each call. Does not own: the services. The number of connections, of handshakes, of streams and of calls is bounded,
//! and so is the time that a caller may be silent: nobody can use up what others need.

mod accept;
mod bounds;
mod connection;
mod pending;
mod socket;

use std::time::Duration;

use packhorse_model::{ErrorKind, Problem, Subject};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use self::{accept::Acceptor, bounds::Bounds, connection::Connection, socket::Socket};
use crate::{
    Address, Tls,
    access::{Access, Gate},
    tls::missing,
};

/// Time for calls to end after the token was cancelled.
const GRACE: Duration = Duration::from_secs(15);

/// A bound socket.
pub struct Listener {
    socket: Socket,
    address: Address,
    tls: Option<Tls>,
    access: Access,
    bounds: Bounds,
}

impl Listener {
    /// Binds the address; port 0 picks a free one. An `https://` address needs `tls`.
    pub async fn bind(address: &Address, tls: Option<&Tls>, access: Access) -> Result<Self, Problem> {
        let is_tls = matches!(address, Address::Tls { .. });
        if is_tls && tls.is_none() {
            return Err(missing(address));
        }
        let (socket, address) = Socket::bind(address, access.has_other_users()).await?;
        if matches!(address, Address::Loopback(_)) {
            tracing::warn!(%address, "without TLS every user of this host may give every command");
        }
        if is_tls && !access.has_certificates() {
            tracing::warn!(%address, "no [[peer]] names a certificate, so nobody may call");
        }
        let (tls, bounds) = (tls.filter(|_| is_tls).cloned(), Bounds::default());
        Ok(Self { socket, address, tls, access, bounds })
    }

    /// The address that was bound.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until the token is cancelled, then lets running calls end.
    pub async fn serve(self, routes: Routes, shutdown: CancellationToken) -> Result<(), Problem> {
        let Self { socket, address, tls, access, bounds } = self;
        let (connections, incoming) = mpsc::channel::<Result<Connection, std::io::Error>>(64);
        let acceptor = Acceptor::new(tls, access.clone(), &bounds, connections);
        let stopped = shutdown.clone();
        let server = Server::builder()
            .max_concurrent_streams(bounds.streams)
            .http2_max_header_list_size(bounds.headers)
            .http2_keepalive_interval(Some(bounds.alive))
            .http2_keepalive_timeout(Some(bounds.alive))
            .max_connection_age(bounds.age)
            .serve_with_incoming_shutdown(
                Gate::new(routes.prepare(), access.clone(), bounds.calls),
                ReceiverStream::new(incoming),
                stopped.cancelled_owned(),
            );
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let served = tokio::select! {
            (served, ()) = async { tokio::join!(server, acceptor.run(socket, &shutdown)) } => served,
            () = late => {
                tracing::warn!(%address, "calls did not end within {}s and are left", GRACE.as_secs());
                Ok(())
            }
        };
        access.refusals().tell();
        served.map_err(|e| Problem::new(ErrorKind::Internal, Subject::Host, "serve").on(&address).answered(e))
    }
}

#[cfg(test)]
mod tests;
