//! Accepting gRPC connections on a Unix socket or a loopback address, until told to stop.
//!
//! Does not own: the services. A Unix socket is created with mode 0600 in a folder of the caller's; a stale one of a
//! dead process is replaced, a live one is not.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;

use crate::Address;

/// A bound socket.
pub struct Listener {
    socket: Socket,
    address: Address,
}

enum Socket {
    Unix(UnixListener, RemoveOnDrop),
    Tcp(TcpListener),
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds the address; port 0 picks a free one.
    pub async fn bind(address: &Address) -> Result<Self, Problem> {
        let failed = |error: io::Error| {
            Problem::new(ErrorKind::Unavailable, Subject::Host, "listen").on(address).answered(error).next(
                "check that the folder exists, that the user may write to it, and that nothing else listens",
            )
        };
        match address {
            Address::Unix(path) => {
                remove_stale(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                let socket = Socket::Unix(listener, RemoveOnDrop(path.clone()));
                Ok(Self { socket, address: address.clone() })
            }
            Address::Loopback(socket) => {
                let listener = TcpListener::bind(socket).await.map_err(failed)?;
                let address = Address::Loopback(listener.local_addr().map_err(failed)?);
                Ok(Self { socket: Socket::Tcp(listener), address })
            }
        }
    }

    /// The address that was bound.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until the token is cancelled, then lets running calls end.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) -> Result<(), Problem> {
        let stop = shutdown.cancelled_owned();
        let served = match self.socket {
            Socket::Unix(listener, _remove) => {
                router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop).await
            }
            Socket::Tcp(listener) => {
                router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop).await
            }
        };
        served.map_err(|e| {
            Problem::new(ErrorKind::Internal, Subject::Host, "serve").on(&self.address).answered(e)
        })
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}
