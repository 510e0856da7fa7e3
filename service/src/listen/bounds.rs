//! What one listener gives to all of its callers together, and to each of their connections.
//!
//! Does not own: the size and time of one request (`access`), or handshakes (`pending`). The values are fixed: they are
//! far above what a fleet of hundreds needs, and far below what would hurt the process.

use std::time::Duration;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once of callers that have a role.
    pub connections: usize,
    /// Connections at once of callers that have none, and wait for their refusals.
    pub strangers: usize,
    /// Calls under way at once, of all connections.
    pub calls: usize,
    /// Calls of one connection at once.
    pub streams: u32,
    /// Largest headers of one call, in bytes.
    pub headers: u32,
    /// Time between two questions whether a peer is still there, and for its answer.
    pub alive: Duration,
    /// Age at which a connection is asked to make way for a new one, which proves its certificate anew.
    pub age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            strangers: 64,
            calls: 1024,
            streams: 128,
            headers: 16 << 10,
            alive: Duration::from_secs(20),
            age: Duration::from_secs(3600),
        }
    }
}
