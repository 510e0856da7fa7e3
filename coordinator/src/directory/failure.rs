//! What stops a restore of a directory, as a problem.
//!
//! Does not own: the state that it leaves, which only the caller knows. A member that cannot be restored costs itself; an
//! archive that cannot be read, or a host that cannot take any more, ends the restore.

use std::{collections::BTreeSet, io};

use packhorse_model::{ErrorKind, Problem, RunSummary, Subject};
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

/// Why a member was not unpacked.
pub(super) enum Stop {
    /// The archive cannot be read.
    Reading(io::Error),
    /// The member must not be unpacked.
    Refused(&'static str),
    /// This host does not take it.
    Local(Errno),
}

impl Stop {
    /// Why it costs the member and nothing else; if it costs more, it is given back.
    pub(super) fn of_the_member(self) -> Result<String, Self> {
        match self {
            Self::Refused(why) => Ok(format!("it {why}")),
            Self::Local(error) if !is_the_hosts(error) => Ok(io::Error::from(error).to_string()),
            other => Err(other),
        }
    }
}

/// Whether every further member would fail, too, or the disk is not to be trusted.
fn is_the_hosts(error: Errno) -> bool {
    const ALL: [Errno; 9] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::IO,
        Errno::ROFS,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::STALE,
        Errno::UCLEAN,
    ];
    ALL.contains(&error)
}

/// Members that were not restored, or not with everything that is theirs.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// The first of them with the reason, in the archive's order.
    pub(super) named: Vec<(Vec<u8>, String)>,
    /// How many more there are.
    pub(super) more: u64,
    /// All of those whose contents are missing.
    pub(super) contents: BTreeSet<Vec<u8>>,
}

impl Missing {
    /// Notes one; `path` is how the archive names it.
    pub(super) fn note(&mut self, path: &[u8], why: String) {
        if self.named.len() < RunSummary::MAX_FAILURES {
            self.named.push((relative(path).to_vec(), why));
        } else {
            self.more += 1;
        }
    }

    /// Notes one whose contents are missing, too.
    pub(super) fn note_contents(&mut self, path: &[u8], why: String) {
        self.note(path, why);
        self.contents.insert(relative(path).to_vec());
    }
}

/// Members are named `./a`, folders `./a/`.
fn relative(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path)
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
            Errno::NOENT => Self::Refused("needs a folder or file that is not restored"),
            Errno::ISDIR => Self::Refused("would replace a folder"),
            other => Self::Local(other),
        }
    }
}
