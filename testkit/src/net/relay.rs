//! A port of a host that passes connections on to another one late, as a long way would.
//!
//! Does not own: loss and speed (`link`). Each direction is late by the same time, whatever its speed; ends and errors of
//! one side reach the other. It runs on a thread in the host's namespace, until it is dropped.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::host::Host;

/// Pieces of a direction that are on their way at once.
const ON_THEIR_WAY: usize = 256;

/// A relay; its connections end with it.
pub struct Relay {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Passes connections to a free port of the host on to another port of it, each direction late by this much.
    pub fn start(host: &Host, port: u16, delay: Duration) -> Self {
        let listener = host.listen();
        let address = listener.local_addr().expect("a bound socket has an address");
        let to = SocketAddr::from((host.address(), port));
        let (stop, stopped) = oneshot::channel();
        let host = host.clone();
        let thread = std::thread::spawn(move || {
            host.enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                tokio::select! {
                    () = serve(listener, to, delay) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, delay: Duration) {
    listener.set_nonblocking(true).expect("a socket can be made so");
    let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is ready");
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        connections.spawn(async move {
            if let Ok(far) = TcpStream::connect(to).await {
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                tokio::join!(carry(from_near, to_far, delay), carry(from_far, to_near, delay));
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one direction to its end.
async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, delay: Duration) {
    let (put, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
    let reading = async move {
        loop {
            let mut piece = vec![0; 16 << 10];
            let length = from.read(&mut piece).await.unwrap_or(0);
            piece.truncate(length);
            if length == 0 || put.send((Instant::now() + delay, piece)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = take.recv().await {
            sleep_until(due).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    let _: ((), io::Result<()>) = tokio::join!(reading, writing);
}
