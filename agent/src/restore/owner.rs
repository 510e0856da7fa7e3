//! Who owns restored files and who may read them: as the storage folder says.
//!
//! Does not own: the modes of custom hooks, which come from their archive. Links are never followed. Without root's
//! power files stay with the agent's user, which is then git's user as well.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::fd::OwnedFd,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use packhorse_model::Problem;

use crate::restore::io_problem::io_problem;

/// Owner and mode for everything that a restore writes into one storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    ids: Option<(u32, u32)>,
    folder_mode: u32,
}

impl Owner {
    /// The owner and mode of a storage folder.
    pub(super) fn of_storage(root: &Path) -> Result<Self, Problem> {
        let metadata =
            fs::metadata(root).map_err(|e| io_problem("look at storage folder", root.display(), &e))?;
        let ids = rustix::process::geteuid().is_root().then(|| (metadata.uid(), metadata.gid()));
        // The owner must be able to work in its repositories, whatever the storage folder says.
        Ok(Self { ids, folder_mode: metadata.mode() & 0o777 | 0o700 })
    }

    /// Gives a finished repository and everything in it this owner and mode. Blocking.
    pub(super) fn give_repository(&self, repository: &Path) -> Result<(), Problem> {
        self.give(repository, false).map_err(|e| io_problem("set owner and mode", repository.display(), &e))
    }

    /// The same for a folder that is open.
    pub(super) fn give_open(&self, folder: &OwnedFd) -> io::Result<()> {
        if let Some((uid, gid)) = self.ids {
            std::os::unix::fs::fchown(folder, Some(uid), Some(gid))?;
        }
        Ok(rustix::fs::fchmod(folder, rustix::fs::Mode::from_raw_mode(self.folder_mode))?)
    }

    fn give(&self, folder: &Path, hooks: bool) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                self.give(&path, hooks || entry.file_name() == "custom_hooks")?;
                continue;
            }
            let mode = (kind.is_file() && !hooks).then(|| self.file_mode(&path));
            self.give_one(&path, &entry.metadata()?, mode)?;
        }
        self.give_one(folder, &fs::symlink_metadata(folder)?, (!hooks).then_some(self.folder_mode))
    }

    /// Changes what is not as it should be: nearly all of it was made so.
    fn give_one(&self, path: &Path, is: &Metadata, mode: Option<u32>) -> io::Result<()> {
        if let Some((uid, gid)) = self.ids.filter(|ids| *ids != (is.uid(), is.gid())) {
            lchown(path, Some(uid), Some(gid))?;
        }
        match mode.filter(|mode| *mode != is.mode() & 0o7777) {
            Some(mode) => fs::set_permissions(path, Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }

    /// Packs are never changed in place, so nobody gets to write them.
    fn file_mode(&self, path: &Path) -> u32 {
        let pack = path.extension().is_some_and(|e| e == "pack" || e == "idx" || e == "rev");
        self.folder_mode & if pack { 0o444 } else { 0o666 }
    }
}
