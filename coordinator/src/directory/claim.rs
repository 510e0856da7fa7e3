//! A folder that a backup reads or a restore replaces: both claim it, and none begins while another is at it.
//!
//! Does not own: what is done with the folder. The claim is a lock of the kernel on the folder itself, so it holds between
//! processes, whatever path leads there, and ends with the process. Backups share a folder, and a restore has it alone. The
//! claim knows the folder by device and inode, and so tells whether its path leads to another one meanwhile.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use packhorse_model::{ErrorKind, Problem, Subject};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::failure::local;
use crate::pipe::joined;

/// How often it is looked whether a folder is free.
const PAUSE: Duration = Duration::from_millis(100);

/// What a folder is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A backup.
    Reading,
    /// A restore.
    Replacing,
}

/// What comes of trying.
enum Tried {
    /// It is ours.
    Claimed(Claim),
    /// No folder is there.
    Missing,
    /// Somebody else is at it.
    Busy(Problem),
}

/// A claimed folder.
pub(super) struct Claim {
    path: PathBuf,
    folder: File,
}

impl Claim {
    /// Claims the folder at this path; waits a while for others that are at it. None when no folder is there.
    pub(super) async fn take(
        path: &Path,
        how: Use,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<Option<Self>, Problem> {
        let until = Instant::now() + patience;
        loop {
            let wanted = path.to_owned();
            let busy = match joined(spawn_blocking(move || Self::try_take(&wanted, how)).await)? {
                Tried::Claimed(claim) => return Ok(Some(claim)),
                Tried::Missing => return Ok(None),
                Tried::Busy(problem) => problem,
            };
            if Instant::now() >= until || cancel.is_cancelled() {
                return Err(busy);
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = cancel.cancelled() => {}
            }
        }
    }

    /// Claims a folder for a restore without waiting. Blocking.
    pub(super) fn now(path: &Path) -> Result<Option<Self>, Problem> {
        match Self::try_take(path, Use::Replacing)? {
            Tried::Claimed(claim) => Ok(Some(claim)),
            Tried::Missing => Ok(None),
            Tried::Busy(problem) => Err(problem),
        }
    }

    /// Claims the folder if nobody else is at it. Blocking.
    fn try_take(path: &Path, how: Use) -> Result<Tried, Problem> {
        let failed = |error| local(how.name(), path.display(), error);
        // Nothing else can be claimed, and opening a FIFO would wait for whoever writes to it.
        let folder =
            match rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map(File::from)
                .map_err(io::Error::from)
            {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    return Ok(Tried::Missing);
                }
                opened => opened.map_err(failed)?,
            };
        let lock = match how {
            Use::Reading => FlockOperation::NonBlockingLockShared,
            Use::Replacing => FlockOperation::NonBlockingLockExclusive,
        };
        match flock(&folder, lock) {
            Err(Errno::WOULDBLOCK) => return Ok(Tried::Busy(how.refused(path, &folder))),
            // What cannot be locked cannot be restored into either.
            Err(_) if how == Use::Reading => {}
            locked => locked.map_err(|error| failed(error.into()))?,
        }
        let claim = Self { path: path.to_owned(), folder };
        // Replaced between the two steps: the one that had it is done by now.
        Ok(if claim.is_there() {
            Tried::Claimed(claim)
        } else {
            Tried::Busy(how.refused(path, &claim.folder))
        })
    }

    /// Whether the path still leads to the folder that was claimed.
    pub(super) fn is_there(&self) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let there = fs::metadata(&self.path).map(identity);
        let claimed = self.folder.metadata().map(identity);
        there.is_ok_and(|there| claimed.is_ok_and(|claimed| there == claimed))
    }
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Reading => "archive directory",
            Self::Replacing => "restore directory",
        }
    }

    fn refused(self, path: &Path, folder: &File) -> Problem {
        // Others that only read let themselves be joined.
        let is_read = self == Self::Replacing && flock(folder, FlockOperation::NonBlockingLockShared).is_ok();
        let (others, next) = match (is_read, self) {
            (true, _) => {
                ("a backup of it is under way", "wait for its end, or cancel it, then restore again")
            }
            (false, Self::Reading) => {
                ("a restore of it is under way", "run again when the restore has ended")
            }
            (false, Self::Replacing) => ("another restore of it is under way", "wait for its end"),
        };
        Problem::new(ErrorKind::AlreadyExists, Subject::Directory, self.name())
            .on(path.display())
            .answered(others)
            .next(next)
    }
}
