//! Where a target lies: whether it exists, holds something, and whether it can be replaced as a whole.
//!
//! Does not own: changing anything. A mount point cannot be renamed, and neither can a folder in one that we may not
//! write, so their entries are swapped one by one. A target with mount points below it, or with another place of the
//! configuration in it, is refused, because a swap would carry these away with the old tree.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_service::places::{self, Mounts, Place};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{failure::local, kept::WORKING, leftover::Leftover, staging};

const WHAT: &str = "restore directory";

/// A target as it was found.
pub(super) struct Site {
    /// The target, with symbolic links resolved.
    pub(super) target: PathBuf,
    /// The folder that holds it.
    pub(super) parent: PathBuf,
    /// Whether it is there.
    pub(super) exists: bool,
    /// Whether its entries have to be swapped one by one.
    pub(super) inside: bool,
    /// How the names of its working folders begin.
    pub(super) prefix: OsString,
}

impl Site {
    /// Looks at the target, after leftovers of dead restores were seen to.
    pub(super) fn find(target: &Path, others: &[Place], force: bool) -> Result<Self, Problem> {
        let site = Self::look(target, others)?;
        for leftover in site.leftovers(others, force)? {
            leftover.settle()?;
        }
        // A dead restore's swap may have been undone.
        Ok(Self { exists: site.target.exists(), ..site })
    }

    /// Looks at the target, and changes nothing.
    pub(super) fn look(target: &Path, others: &[Place]) -> Result<Self, Problem> {
        let failed = |error| local(WHAT, target.display(), error);
        let target = match target.symlink_metadata() {
            Ok(_) => target.canonicalize().map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                resolve_parent(target).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let Some((parent, name)) = target.parent().zip(target.file_name()) else {
            return Err(failed(io::Error::other("the root folder cannot be restored into")));
        };
        let parent = parent.to_owned();
        let exists = target.exists();
        let writable = accessat(CWD, &parent, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
        let inside = Mounts::read()?.has(&target) || exists && !writable;
        let prefix = staging::prefix((!inside).then_some(name));
        let site = Self { target, parent, exists, inside, prefix };
        site.check(others)?;
        Ok(site)
    }

    /// What dead restores left, each of which can be seen to.
    pub(super) fn leftovers(&self, others: &[Place], force: bool) -> Result<Vec<Leftover>, Problem> {
        let found = Leftover::all(&self.target, self.inside);
        let found = found.map_err(|error| local(WHAT, self.workplace().display(), error))?;
        found.iter().try_for_each(|leftover| leftover.check(others, force))?;
        Ok(found)
    }

    /// The folder in which the new tree is unpacked.
    pub(super) fn workplace(&self) -> &Path {
        if self.inside { &self.target } else { &self.parent }
    }

    /// Refuses a target that holds what the directory does not own.
    pub(super) fn check(&self, others: &[Place]) -> Result<(), Problem> {
        let refused = |answer: String, next: &str| {
            let problem = Problem::new(ErrorKind::Invalid, Subject::Directory, WHAT);
            Err(problem.on(self.target.display()).answered(answer).next(next))
        };
        if let Some(below) = Mounts::read()?.below(&self.target) {
            let answer = format!("{} is a mount point below it", below.display());
            return refused(answer, "unmount it, or restore into another folder and copy");
        }
        if let Some(place) = places::first_within(&self.target, others)? {
            let answer = format!("{place} lies in it, or is the same folder");
            return refused(answer, "give each a folder of its own, outside of all others");
        }
        Ok(())
    }

    /// Whether there is anything in the target that a restore would replace.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        if !self.exists {
            return Ok(true);
        }
        for entry in fs::read_dir(&self.target)? {
            let name = entry?.file_name();
            if !(self.inside && stays(name.as_bytes())) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What stays in a target whose entries are swapped one by one.
pub(super) fn stays(name: &[u8]) -> bool {
    name == b"lost+found" || name.starts_with(WORKING)
}

fn resolve_parent(target: &Path) -> io::Result<PathBuf> {
    let target = std::path::absolute(target)?;
    match target.parent().zip(target.file_name()) {
        Some((parent, name)) => Ok(parent.canonicalize()?.join(name)),
        None => Ok(target),
    }
}
