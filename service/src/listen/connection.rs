//! One connection, with bounds on the caller's silence.
//!
//! Does not own: HTTP/2. A caller that does not begin it in time is cut off, and one that has made no call for long is
//! treated as if it had hung up; the pings of HTTP/2 wake both checks, and end what does not answer them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::access::{Caller, Reason, Refusals, Who};

/// Time to begin with HTTP/2.
const OPENING_TIME: Duration = Duration::from_secs(10);
/// Bytes that every HTTP/2 connection begins with.
const OPENING: usize = 24;
/// Time without a call after which a connection is closed.
const IDLE_TIME: Duration = Duration::from_secs(600);

/// The kinds of connection.
pub enum Io {
    /// Within this host.
    Unix(UnixStream),
    /// Within this host, on loopback.
    Tcp(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection whose caller is known.
pub struct Connection {
    io: Io,
    caller: Caller,
    opening: Option<(Pin<Box<Sleep>>, usize)>,
    refusals: Refusals,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// A connection that was just made.
    pub fn new(io: Io, who: Who, refusals: Refusals, room: OwnedSemaphorePermit) -> Self {
        let opening = Some((Box::pin(sleep(OPENING_TIME)), 0));
        Self { io, caller: Caller::new(who), opening, refusals, _room: room }
    }

    /// Fails when the caller has not begun in time.
    fn check_opening(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some((deadline, _)) = &mut self.opening else { return Ok(()) };
        if deadline.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        let why = format!("no HTTP/2 within {OPENING_TIME:?}");
        self.refusals.note(Reason::Slow, self.caller.who(), "connect", &why);
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_opening(context)?;
        if self.caller.is_idle(IDLE_TIME) {
            tracing::debug!(who = %self.caller.who(), "an idle connection is closed");
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.io {
            Io::Unix(io) => Pin::new(io).poll_read(context, buffer),
            Io::Tcp(io) => Pin::new(io).poll_read(context, buffer),
            Io::Tls(io) => Pin::new(io).poll_read(context, buffer),
        };
        if let Some((_, read)) = &mut self.opening {
            *read += buffer.filled().len() - before;
            if *read >= OPENING {
                self.opening = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Unix(io) => Pin::new(io).poll_write(context, bytes),
            Io::Tcp(io) => Pin::new(io).poll_write(context, bytes),
            Io::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Unix(io) => Pin::new(io).poll_flush(context),
            Io::Tcp(io) => Pin::new(io).poll_flush(context),
            Io::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Unix(io) => Pin::new(io).poll_shutdown(context),
            Io::Tcp(io) => Pin::new(io).poll_shutdown(context),
            Io::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Unix(io) => io.is_write_vectored(),
            Io::Tcp(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Unix(io) => Pin::new(io).poll_write_vectored(context, bytes),
            Io::Tcp(io) => Pin::new(io).poll_write_vectored(context, bytes),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(context, bytes),
        }
    }
}
