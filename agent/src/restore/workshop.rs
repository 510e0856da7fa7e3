//! The temporary folder that one restore builds repositories in: `<storage>/+packhorse/restore-<backup ID>-<random>`.
//!
//! Does not own: what is built there. It lies in the storage's own file system, so that a finished repository is put
//! in place by a rename; names that start with `+` are no repositories to anybody. A restore holds a lock in its
//! folder for as long as it lives; folders whose lock can be taken belong to dead restores and are removed. While one cannot
//! be taken, another restore is at work in this storage, of whatever process, and a second one is refused: each would take
//! what the other puts in place for what was there before. Creating, clearing and closing happen under one gate, so no
//! restore can take a folder that another is about to lock. A file system without locks is refused.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::restore::{io_problem::io_problem, remove::remove_tree};
use packhorse_model::{BackupId, ErrorKind, Problem, Subject};
use packhorse_proto::START_JOB;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

const GATE: &str = "restore.lock";
const LOCK: &str = "lock";
const PREFIX: &str = "restore-";

/// One restore's temporary folder; dropping it removes it.
pub(super) struct Workshop {
    folder: PathBuf,
    parent: PathBuf,
    _lock: File,
}

impl Workshop {
    /// Removes what dead restores left and makes a folder. Blocking, as all of this type.
    pub(super) fn open(root: &Path, id: &BackupId) -> Result<Self, Problem> {
        let parent = root.join("+packhorse");
        let failed = |e: io::Error| io_problem("make temporary folder", parent.display(), &e);
        let _gate = take_gate(&parent).map_err(failed)?;
        if let Some(other) = remove_dead(&parent).map_err(failed)? {
            return Err(busy(root, &other));
        }
        Self::make(&parent, id).map_err(failed)
    }

    fn make(parent: &Path, id: &BackupId) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("{PREFIX}{id}-")).tempdir_in(parent)?.keep();
        let lock = File::create(folder.join(LOCK))?;
        try_lock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, parent: parent.to_owned(), _lock: lock })
    }

    /// Where the repository with this number is built.
    pub(super) fn repository(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.git"))
    }

    /// Removes the folder, and the one above it when nobody else uses it.
    pub(super) fn close(self) -> Result<(), Problem> {
        let parent = &self.parent;
        let close = || {
            let _gate = take_gate(parent)?;
            remove_tree(&self.folder)?;
            let mut others = fs::read_dir(parent)?.filter_map(Result::ok).filter(|e| e.file_name() != GATE);
            if others.next().is_none() {
                fs::remove_file(parent.join(GATE))?;
                fs::remove_dir(parent)?;
            }
            Ok(())
        };
        close().map_err(|e: io::Error| io_problem("remove temporary folder", parent.display(), &e))
    }
}

impl Drop for Workshop {
    /// What nobody closed; what cannot be removed goes with the next restore.
    fn drop(&mut self) {
        let _ = remove_tree(&self.folder);
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
        try_lock(&gate, FlockOperation::LockExclusive)?;
        match fs::metadata(&path) {
            Ok(there) if there.ino() == gate.metadata()?.ino() => return Ok(gate),
            _ => {}
        }
    }
}

/// Removes what dead restores left; the folder of one that lives, if there is one.
fn remove_dead(parent: &Path) -> io::Result<Option<String>> {
    let mut living = None;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if !ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let lock = File::options().create(true).append(true).open(entry.path().join(LOCK))?;
        if try_lock(&lock, FlockOperation::NonBlockingLockExclusive)? {
            tracing::info!(folder = %entry.path().display(), "what a dead restore left is removed");
            remove_tree(&entry.path())?;
        } else {
            living = Some(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(living)
}

/// Whether the lock was taken; another holds it otherwise.
fn try_lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(io::Error::other(format!(
            "the file system cannot lock, so two restores could not be kept apart: {}",
            io::Error::from(error)
        ))),
    }
}

/// Of the kind and name that a second job of one agent has: whoever asks may come again.
fn busy(root: &Path, folder: &str) -> Problem {
    let backup = folder.strip_prefix(PREFIX).and_then(|rest| Some(rest.rsplit_once('-')?.0));
    let of = backup.map_or_else(String::new, |id| format!(" of {id}"));
    Problem::new(ErrorKind::Unavailable, Subject::Agent, START_JOB)
        .on(root.display())
        .answered(format!("the storage is busy with another restore{of}, which another process runs"))
        .leaving("nothing of this storage was touched")
        .next("wait for it, or end it where it was started, then restore again")
}
