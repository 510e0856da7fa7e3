//! The temporary folder that one restore builds repositories in: `<storage>/+packhorse/restore-<backup ID>-<random>`.
//!
//! Does not own: what is built there. It lies in the storage's own file system, so that a finished repository is put
//! in place by a rename; names that start with `+` are no repositories to anybody. A restore holds a lock in its
//! folder for as long as it lives; folders whose lock can be taken belong to dead restores and are removed. Creating,
//! clearing and closing happen under one gate, so no restore can take a folder that another is about to lock.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use packhorse_model::{BackupId, Problem};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::restore::io_problem::io_problem;

const GATE: &str = "restore.lock";
const LOCK: &str = "lock";

/// One restore's temporary folder; dropping it removes it.
pub(super) struct Workshop {
    folder: TempDir,
    parent: PathBuf,
    _lock: File,
}

impl Workshop {
    /// Removes what dead restores left and makes a folder. Blocking, as all of this type.
    pub(super) fn open(root: &Path, id: &BackupId) -> Result<Self, Problem> {
        let parent = root.join("+packhorse");
        Self::try_open(&parent, id).map_err(|e| io_problem("make temporary folder", parent.display(), &e))
    }

    fn try_open(parent: &Path, id: &BackupId) -> io::Result<Self> {
        let _gate = take_gate(parent)?;
        remove_dead(parent)?;
        let folder = tempfile::Builder::new().prefix(&format!("restore-{id}-")).tempdir_in(parent)?;
        let lock = File::create(folder.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, parent: parent.to_owned(), _lock: lock })
    }

    /// Where the repository with this number is built.
    pub(super) fn repository(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("{number}.git"))
    }

    /// Removes the folder, and the one above it when nobody else uses it.
    pub(super) fn close(self) -> Result<(), Problem> {
        let (parent, folder) = (self.parent.clone(), self.folder);
        let close = || {
            let _gate = take_gate(&parent)?;
            folder.close()?;
            let mut others = fs::read_dir(&parent)?.filter_map(Result::ok).filter(|e| e.file_name() != GATE);
            if others.next().is_none() {
                fs::remove_file(parent.join(GATE))?;
                fs::remove_dir(&parent)?;
            }
            Ok(())
        };
        close().map_err(|e: io::Error| io_problem("remove temporary folder", parent.display(), &e))
    }
}

/// Makes the folder and locks its gate; repeats when a closing restore removed the gate meanwhile.
fn take_gate(parent: &Path) -> io::Result<File> {
    let path = parent.join(GATE);
    loop {
        match fs::create_dir(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !fs::symlink_metadata(parent)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "is not a folder of the storage"));
        }
        let gate = match File::options().create(true).append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        flock(&gate, FlockOperation::LockExclusive)?;
        match fs::metadata(&path) {
            Ok(there) if there.ino() == gate.metadata()?.ino() => return Ok(gate),
            _ => {}
        }
    }
}

fn remove_dead(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(b"restore-");
        if !ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let lock = File::options().create(true).append(true).open(entry.path().join(LOCK))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tracing::info!(folder = %entry.path().display(), "what a dead restore left is removed");
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
