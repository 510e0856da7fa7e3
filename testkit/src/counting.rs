//! A loopback port that passes connections on to another one and counts the bytes of each direction.
//!
//! Does not own: what is said. What the kernel counts of a process leaves out what it sends and receives on sockets, so
//! only somebody in between can tell. Connections are carried by threads of their own and end with their sides.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, spawn},
};

/// The relay; takes no more connections when it is dropped.
pub struct CountingRelay {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Bytes of those who called, and bytes that they were answered.
    counts: [AtomicU64; 2],
    stopped: AtomicBool,
}

impl CountingRelay {
    /// Passes connections to a free port on to this one.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = Some(spawn(move || serve(&listener, to, &serving)));
        Self { port, shared, thread }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bytes that callers sent so far, and those that they were sent.
    pub fn counts(&self) -> [u64; 2] {
        self.shared.counts.each_ref().map(|count| count.load(Ordering::Acquire))
    }
}

impl Drop for CountingRelay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the thread, which looks then.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            // A panic there was printed.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, to: u16, shared: &Arc<Shared>) {
    for near in listener.incoming() {
        if shared.stopped.load(Ordering::Acquire) {
            return;
        }
        let Ok(near) = near else { continue };
        // A caller of nobody is hung up on.
        let Ok(far) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to))) else { continue };
        for (from, to, which) in [(&near, &far, 0), (&far, &near, 1)] {
            let copy = |stream: &TcpStream| stream.try_clone().expect("descriptors are left");
            let (from, to, shared) = (copy(from), copy(to), Arc::clone(shared));
            spawn(move || carry(from, to, &shared.counts[which]));
        }
    }
}

/// Carries one direction to its end.
fn carry(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        // Before it arrives, so that whoever has the last byte finds all counted.
        count.fetch_add(length as u64, Ordering::AcqRel);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The other direction ends by itself, or with the process that is at its end.
    let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_carried_and_counted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let relay = CountingRelay::start(listener.local_addr().expect("bound").port());
        for number in 1..=2 {
            let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).expect("connect");
            near.write_all(&[7; 100_000]).expect("write");
            near.shutdown(Shutdown::Write).expect("end");
            let (mut far, mut told) = (listener.accept().expect("passed on").0, Vec::new());
            far.read_to_end(&mut told).expect("all of it");
            assert_eq!(told, [7; 100_000]);
            far.write_all(b"thanks").expect("answer");
            drop(far);
            told.clear();
            near.read_to_end(&mut told).expect("the answer");
            assert_eq!(told, b"thanks");
            assert_eq!(relay.counts(), [number * 100_000, number * 6]);
        }
    }
}
