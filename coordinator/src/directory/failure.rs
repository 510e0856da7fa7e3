//! What stops a restore of a directory, as a problem.
//!
//! Does not own: the state that it leaves, which only the caller knows.

use std::io;

use packhorse_model::{ErrorKind, Problem, Subject};
use rustix::io::Errno;

/// A problem with a path on this host.
pub(super) fn local(what: &str, path: impl std::fmt::Display, error: io::Error) -> Problem {
    let (kind, next) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, "free space for a second copy of the directory, then restore again")
        }
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "run as root, or give this user the right"),
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "create the folder that is to hold the directory"),
        _ => (ErrorKind::Unavailable, "correct what the system says, then restore again"),
    };
    Problem::new(kind, Subject::Directory, what).on(path).answered(error).next(next)
}

/// Why unpacking ended early.
pub(super) enum Stop {
    /// The archive cannot be read.
    Reading(io::Error),
    /// A member must not be unpacked.
    Refused(&'static str),
    /// This host does not take it.
    Local(Errno),
}

impl Stop {
    /// With the member's path.
    pub(super) fn named(self, path: &[u8]) -> (Self, String) {
        (self, String::from_utf8_lossy(path).into_owned())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP | Errno::NOTDIR => Self::Refused("leads through something that is no folder"),
            Errno::NOENT => Self::Refused("needs a folder or file that the archive does not hold"),
            Errno::ISDIR => Self::Refused("would replace a folder"),
            other => Self::Local(other),
        }
    }
}
