//! The most memory that a process held, without its children, looked up in `/proc` while it runs.
//!
//! Anonymous memory is what the process asked for; the high-water mark also counts file pages that it has mapped, such
//! as packs and the program itself, which the kernel takes back whenever it likes.

use std::{
    fs,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

const PERIOD: Duration = Duration::from_millis(10);

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Largest `RssAnon` that was seen.
    pub anonymous: u64,
    /// `VmHWM` when it was last seen.
    pub resident: u64,
}

impl Peak {
    /// The larger of each.
    pub fn max(self, other: Self) -> Self {
        Self { anonymous: self.anonymous.max(other.anonymous), resident: self.resident.max(other.resident) }
    }
}

/// Looks at a process until the other end of the channel is dropped.
pub fn watch(pid: u32, until: &Receiver<()>) -> Peak {
    let mut peak = Peak::default();
    loop {
        if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
            peak = peak.max(parse(&status));
        }
        if until.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
            return peak;
        }
    }
}

/// Reads the two lines; a process that just ended has neither.
fn parse(status: &str) -> Peak {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or_default() * 1024
    };
    Peak { anonymous: bytes("RssAnon:"), resident: bytes("VmHWM:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read_and_a_zombie_has_none() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\nRssAnon:\t     10 kB\n";
        assert_eq!(parse(status), Peak { anonymous: 10 * 1024, resident: 2048 * 1024 });
        assert_eq!(parse("Name:\tx\nState:\tZ (zombie)\n"), Peak::default());
    }
}
