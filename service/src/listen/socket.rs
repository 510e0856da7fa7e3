//! The socket itself.
//!
//! Does not own: what is done with its connections. A Unix socket is created in a folder of the caller's with mode 0600,
//! or 0666 when users other than our own have a role, because then every caller is judged by the credentials that the
//! kernel tells. A stale socket of a dead process is replaced, a live one is not.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use packhorse_model::{ErrorKind, Problem, Subject};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::Address;

/// A bound socket; a Unix one is removed when it is dropped.
pub enum Socket {
    /// In the file system.
    Unix(UnixListener, #[expect(dead_code, reason = "it acts when it is dropped")] RemoveOnDrop),
    /// On an address and port.
    Tcp(TcpListener),
}

/// What came in.
pub enum Accepted {
    /// From this host.
    Unix(UnixStream),
    /// From anywhere.
    Tcp(TcpStream),
}

/// A file that goes with its owner.
pub struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Time for a socket of a process that was killed to go: a child that it was about to start may hold it for a moment.
const LINGERS: Duration = Duration::from_secs(2);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(50);

impl Socket {
    /// Binds, and says which address it became.
    pub async fn bind(address: &Address, shared: bool) -> Result<(Self, Address), Problem> {
        let begun = Instant::now();
        let bound = loop {
            match Self::bind_once(address, shared).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < LINGERS => {
                    tokio::time::sleep(AGAIN).await;
                }
                bound => break bound,
            }
        };
        bound.map_err(|error| {
            Problem::new(ErrorKind::Unavailable, Subject::Host, "listen").on(address).answered(error).next(
                "check that the folder exists, that the user may write to it, and that nothing else listens",
            )
        })
    }

    async fn bind_once(address: &Address, shared: bool) -> io::Result<(Self, Address)> {
        match address {
            Address::Unix(path) => bind_unix(path, shared).map(|socket| (socket, address.clone())),
            Address::Loopback(place) => {
                bind_tcp(place).await.map(|(s, port)| (s, Address::Loopback((place.ip(), port).into())))
            }
            Address::Tls { host, port } => bind_tcp((host.as_str(), *port))
                .await
                .map(|(s, port)| (s, Address::Tls { host: host.clone(), port })),
        }
    }

    /// Waits for the next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream))
            }
        }
    }
}

fn bind_unix(path: &Path, shared: bool) -> io::Result<Socket> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    let mode = if shared { 0o666 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(Socket::Unix(listener, RemoveOnDrop(path.to_owned())))
}

async fn bind_tcp(place: impl tokio::net::ToSocketAddrs) -> io::Result<(Socket, u16)> {
    let listener = TcpListener::bind(place).await?;
    let port = listener.local_addr()?.port();
    Ok((Socket::Tcp(listener), port))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}
