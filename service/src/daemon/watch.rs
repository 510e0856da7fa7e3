//! Notices that the configuration is to be read again: a SIGHUP, or another file at its path.
//!
//! Does not own: reading it. The file is looked at every few seconds, and counts as changed when it has stayed the same
//! for one look, so that a file is not read while an editor still writes it.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval},
};

/// Time between two looks at the file.
const LOOK: Duration = Duration::from_secs(2);

/// Watches one file.
pub struct Watch {
    path: PathBuf,
    hangup: Option<Signal>,
    looks: Interval,
    known: Option<Stamp>,
    moving: Option<Stamp>,
}

/// What changes when a file does: device, inode, size, time.
type Stamp = (u64, u64, u64, i64, i64);

impl Watch {
    /// Starts to watch; from now on a SIGHUP does not end the process.
    pub fn new(path: &Path) -> Self {
        let hangup = signal(SignalKind::hangup()).ok();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let known = std::fs::metadata(path).ok().map(stamp);
        Self { path: path.to_owned(), hangup, looks, known, moving: None }
    }

    /// Waits until the file is to be read again, and says why.
    pub async fn changed(&mut self) -> &'static str {
        loop {
            let hung_up = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                _ = hung_up => true,
                _ = self.looks.tick() => false,
            };
            let seen = tokio::fs::metadata(&self.path).await.ok().map(stamp);
            if asked {
                (self.known, self.moving) = (seen, None);
                return "SIGHUP";
            }
            // A file that is gone for a moment is being replaced.
            if seen.is_none() || seen == self.known {
                self.moving = None;
            } else if seen == self.moving {
                (self.known, self.moving) = (seen, None);
                return "the file changed";
            } else {
                self.moving = seen;
            }
        }
    }
}

fn stamp(file: std::fs::Metadata) -> Stamp {
    (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())
}
