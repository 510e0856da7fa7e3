//! The log: every request with its number, and how many bytes came in when.
//!
//! Does not own: what requests do. Numbers count from 1 in the order in which requests were read to their end; a
//! request whose sender went away in the middle has none.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use super::request::{Incoming, Operation};

/// One request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Its number, from 1.
    pub number: u64,
    /// The access key of the process that asks.
    pub who: String,
    /// What it wants.
    pub operation: Operation,
    /// The key or prefix that it is about, with the part's number after a `#`.
    pub key: String,
    /// Bytes of its body.
    pub bytes: u64,
    /// The status of the answer; none when no answer was sent.
    pub status: Option<u16>,
    /// Whether it changed what is stored.
    pub applied: bool,
    /// What was done to it.
    pub fault: Option<&'static str>,
}

impl fmt::Display for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, who, operation, key, bytes, status, fault, .. } = self;
        write!(f, "{number} {who} {operation:?} {key} ({bytes} B)")?;
        match status {
            Some(status) => write!(f, " {status}")?,
            None => write!(f, " no answer")?,
        }
        fault.map_or(Ok(()), |fault| write!(f, " [{fault}]"))
    }
}

/// Length of one count of bytes.
const TICK: Duration = Duration::from_millis(50);

/// The requests and the bytes so far.
pub(super) struct Log {
    started: Instant,
    requests: Vec<LoggedRequest>,
    received: BTreeMap<u128, u64>,
}

impl Log {
    pub fn new() -> Self {
        Self { started: Instant::now(), requests: Vec::new(), received: BTreeMap::new() }
    }

    /// Notes a request and gives its number.
    pub fn add(&mut self, request: &Incoming) -> u64 {
        let number = self.requests.len() as u64 + 1;
        self.requests.push(LoggedRequest {
            number,
            who: request.who.clone(),
            operation: request.operation,
            key: request.target(),
            bytes: request.body.len() as u64,
            status: None,
            applied: false,
            fault: None,
        });
        number
    }

    pub fn change(&mut self, number: u64, change: impl FnOnce(&mut LoggedRequest)) {
        let at = usize::try_from(number - 1).expect("the log is in memory");
        change(&mut self.requests[at]);
    }

    pub fn requests(&self) -> &[LoggedRequest] {
        &self.requests
    }

    pub fn received(&mut self, bytes: usize) {
        let tick = self.started.elapsed().as_millis() / TICK.as_millis();
        *self.received.entry(tick).or_default() += bytes as u64;
    }

    /// Bytes of bodies that came in, for each interval from the first byte to the last.
    pub fn received_per(&self, interval: Duration) -> Vec<u64> {
        let ticks = (interval.as_millis() / TICK.as_millis()).max(1);
        let Some((first, _)) = self.received.first_key_value() else { return Vec::new() };
        let mut intervals = Vec::new();
        for (tick, bytes) in &self.received {
            let at = usize::try_from((tick - first) / ticks).expect("a test is short");
            intervals.resize(intervals.len().max(at + 1), 0);
            intervals[at] += bytes;
        }
        intervals
    }
}
