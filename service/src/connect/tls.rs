//! The client's side of a TLS connection.
//!
//! Does not own: the certificates. In TLS 1.3 a client is through before the server has looked at its certificate, so
//! the first byte of the server is waited for: a refusal is then the error of connecting, not of the first call.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Uri;
use tower::{Service, service_fn};

use crate::Tls;

type Opening = Pin<Box<dyn Future<Output = io::Result<TokioIo<Opened>>> + Send>>;

/// Makes connections to one place, each with the certificates of that moment.
pub fn connector(
    tls: Tls,
    host: String,
    port: u16,
) -> impl Service<Uri, Response = TokioIo<Opened>, Error = io::Error, Future = Opening> + Send + Clone {
    service_fn(move |_: Uri| -> Opening { Box::pin(open(tls.clone(), host.clone(), port)) })
}

async fn open(tls: Tls, host: String, port: u16) -> io::Result<TokioIo<Opened>> {
    let name =
        ServerName::try_from(host.clone()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let mut stream = TlsConnector::from(tls.client()).connect(name, stream).await?;
    let first = Some(stream.read_u8().await?);
    Ok(TokioIo::new(Opened { first, stream }))
}

/// A connection whose first byte was read already.
pub struct Opened {
    first: Option<u8>,
    stream: TlsStream<TcpStream>,
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Opened {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
}
