//! A caller, as the connection proves it, and how busy its connection is.
//!
//! Does not own: what it may do. The names of a certificate were checked by TLS, the user of a Unix socket is told by
//! the kernel, and a loopback address proves nothing but that the caller is on this host.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The holder of a certificate that one of our authorities signed.
    Certificate {
        /// Its DNS names, in lower case, and its URIs.
        names: Vec<String>,
        /// Where it calls from.
        from: IpAddr,
    },
    /// A process of this host, on a Unix socket.
    Local {
        /// Its effective user.
        uid: u32,
        /// Its effective group.
        gid: u32,
    },
    /// Somebody of this host, on a loopback address without TLS.
    Loopback,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { names, from } if names.is_empty() => {
                write!(f, "a certificate without names, from {from}")
            }
            Self::Certificate { names, from } => write!(f, "{} from {from}", names.join(", ")),
            Self::Local { uid, gid } => write!(f, "uid {uid}, gid {gid}"),
            Self::Loopback => f.write_str("a process of this host"),
        }
    }
}

/// What every call of a connection knows about it.
#[derive(Clone, Debug)]
pub struct Caller {
    who: Arc<Who>,
    calls: Arc<Calls>,
}

#[derive(Debug)]
struct Calls {
    running: AtomicUsize,
    last: Mutex<Instant>,
}

impl Caller {
    /// The caller of a new connection.
    pub fn new(who: Who) -> Self {
        let calls = Calls { running: AtomicUsize::new(0), last: Mutex::new(Instant::now()) };
        Self { who: Arc::new(who), calls: Arc::new(calls) }
    }

    /// Who it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Whether no call has run for this long.
    pub fn is_idle(&self, limit: Duration) -> bool {
        let last = self.calls.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.calls.running.load(Ordering::Acquire) == 0 && last.elapsed() > limit
    }

    /// Marks a call as running until the guard is dropped.
    pub(super) fn enter(&self) -> Running {
        self.calls.running.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(&self.calls))
    }
}

/// A call that runs.
pub(super) struct Running(Arc<Calls>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_when_no_call_runs() {
        let caller = Caller::new(Who::Loopback);
        assert!(!caller.is_idle(Duration::from_secs(60)));
        let running = caller.enter();
        assert!(!caller.is_idle(Duration::ZERO));
        drop(running);
        std::thread::yield_now();
        assert!(caller.is_idle(Duration::ZERO));
    }
}
