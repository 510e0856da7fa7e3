//! Tells when somebody has listed a folder to its end, by inotify.
//!
//! Does not own: what the list was read for. The watch stands before the one who lists is let go on, so nothing is missed.

use std::{mem::MaybeUninit, os::fd::OwnedFd, path::Path, time::Duration};

use rustix::fs::inotify;

use crate::wait_until;

/// A folder that is waited for until it was listed.
pub struct Listing {
    events: OwnedFd,
}

impl Listing {
    /// Watches this folder from now on.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let events = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)
            .expect("begin an inotify");
        let closed = inotify::WatchFlags::CLOSE_NOWRITE | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&events, folder, closed)
            .unwrap_or_else(|err| panic!("watch {}: {err}", folder.display()));
        Self { events }
    }

    /// Waits until the folder itself was closed by somebody who had opened it.
    pub fn wait(&self, limit: Duration) {
        wait_until("the end of a listing", limit, || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.events, &mut buffer);
            while let Ok(event) = reader.next() {
                // Files and folders in it have names.
                if event.file_name().is_none() {
                    return Ok(());
                }
            }
            Err("it was not".into())
        });
    }
}
