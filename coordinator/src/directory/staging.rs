//! The folder beside (or, at a mount point, inside) a target in which a restore does its work.
//!
//! Does not own: unpacking or swapping, or what a dead restore left (`leftover`). It holds `new`, which is unpacked into, and at times `old`, which is moved out
//! of the way. It is locked while its restore lives, so the next restore of the same target can tell a running one
//! from a dead one. It is removed when it is dropped, unless something of the operator's is still in it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use packhorse_model::{BackupId, Problem};
use rustix::{
    fs::{FlockOperation, flock, removexattr},
    io::Errno,
};

use super::{
    acl::{ACCESS, DEFAULT},
    failure::local,
    remove::remove_tree,
};

const WHAT: &str = "prepare restore of directory";

/// Says that a swap of single entries is done.
pub(super) const SWAPPED: &str = "swapped";

/// A locked working folder.
pub(super) struct Staging {
    folder: PathBuf,
    /// Set while `old` holds what belongs back into the target.
    pub(super) keep: bool,
    removed: bool,
    _lock: File,
}

impl Staging {
    /// Makes the working folder `<prefix><id>` in `parent`, after what dead restores left there was seen to.
    pub(super) fn create(parent: &Path, prefix: &OsStr, id: &BackupId) -> Result<Self, Problem> {
        let named = |number: u32| {
            let mut name = prefix.to_owned();
            name.push(id.as_str());
            if number > 0 {
                name.push(format!("+{number}"));
            }
            parent.join(name)
        };
        // What a dead restore left and could not be removed has its name still.
        let free = (0..).map(named).find(|folder| folder.symlink_metadata().is_err());
        let folder = free.unwrap_or_else(|| named(0));
        let make = || -> io::Result<File> {
            DirBuilder::new().mode(0o700).create(&folder)?;
            // What is unpacked gets the lists of its archive, not those that the folder above gives to new entries.
            for list in [ACCESS, DEFAULT] {
                match removexattr(&folder, list) {
                    Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let lock = File::open(&folder)?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            DirBuilder::new().mode(0o700).create(folder.join("new"))?;
            Ok(lock)
        };
        let lock = make().map_err(|error| local(WHAT, folder.display(), error))?;
        Ok(Self { folder, keep: false, removed: false, _lock: lock })
    }

    /// What is unpacked into.
    pub(super) fn new_tree(&self) -> PathBuf {
        self.folder.join("new")
    }

    /// Makes the folder for what is moved out of the way; it has its name once this is recorded.
    pub(super) fn make_old(&self, record: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let unnamed = self.folder.join("old.making");
        DirBuilder::new().mode(0o700).create(&unnamed)?;
        record(&unnamed)?;
        fs::rename(unnamed, self.old_tree())?;
        File::open(&self.folder)?.sync_all()
    }

    /// What is moved out of the way.
    pub(super) fn old_tree(&self) -> PathBuf {
        self.folder.join("old")
    }

    /// Removes it, with the old tree in it; says what could not be removed.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.removed = true;
        remove_tree(&self.folder)
    }

    /// Says for the next restore that all entries changed places, so that only what is kept may be left to do.
    pub(super) fn mark_swapped(&self) -> io::Result<()> {
        File::create(self.folder.join(SWAPPED))?.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    /// The working folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        if self.keep {
            tracing::warn!(folder = %self.folder.display(), "a folder is left in place: it holds what was in the directory");
        } else if let Err(error) = remove_tree(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a folder is not removed; the next restore tries again");
        }
    }
}

/// How the working folders of a target's restores begin.
pub(super) fn prefix(name: Option<&OsStr>) -> OsString {
    let mut prefix = OsString::from(".");
    if let Some(name) = name {
        prefix.push(name);
        prefix.push(".");
    }
    prefix.push("packhorse-restore-");
    prefix
}
