//! A folder for what a process needs while it lives: the sockets of embedded mode, a git folder of ours.
//!
//! Does not own: what is in it. The folder goes with the value. Its owner holds a lock in it for as long as it lives, however
//! it ends; who makes the next one of the kind removes those of its own user whose lock is free: nobody is there any more.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use tempfile::TempDir;

const LOCK: &str = "lock";

/// A folder that only this user can enter, and that goes with the value.
#[derive(Debug)]
pub struct ScratchFolder {
    folder: TempDir,
    _lock: File,
}

impl ScratchFolder {
    /// Makes a folder of a kind, and removes those of the kind that killed processes left beside it.
    pub fn new_in(place: &Path, kind: &str) -> io::Result<Self> {
        // tempfile makes folders with mode 0700.
        let folder = tempfile::Builder::new().prefix(kind).tempdir_in(place)?;
        // It gets its name when it is held, so that nobody finds it free before that.
        let new = folder.path().join("lock.new");
        let lock = File::create_new(&new)?;
        lock.lock()?;
        fs::rename(new, folder.path().join(LOCK))?;
        remove_left(place, kind, fs::metadata(folder.path())?.uid());
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn remove_left(place: &Path, kind: &str, user: u32) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let folder = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(kind) {
            continue;
        }
        if let Some(_lock) = lock_of_left(&folder, user) {
            let removed = fs::remove_dir_all(&folder);
            match removed {
                Ok(()) => tracing::info!(folder = %folder.display(), "what a killed process left is removed"),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "what a killed process left is not removed");
                }
            }
        }
    }
}

/// The lock of a folder of this user, if nobody else holds it.
fn lock_of_left(folder: &Path, user: u32) -> Option<File> {
    fs::symlink_metadata(folder).ok().filter(|meta| meta.is_dir() && meta.uid() == user)?;
    let lock = File::open(folder.join(LOCK)).ok()?;
    lock.try_lock().ok().map(|()| lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let place = tempfile::tempdir().expect("temporary folder");
        let new = || ScratchFolder::new_in(place.path(), "backupctl-").expect("a folder");
        let (held, killed) = (new(), new());
        let (left, lock) = (killed.path().to_owned(), killed._lock.try_clone().expect("a file"));
        std::mem::forget(killed.folder);
        // What others made stays, whatever its name is.
        let foreign = place.path().join("backupctl-notes");
        fs::create_dir(&foreign).expect("create");
        drop(killed._lock);
        drop(new());
        assert!(left.exists(), "its lock is held still");
        drop(lock);
        let next = new();
        assert!(!left.exists() && held.path().exists() && next.path().exists() && foreign.exists());
    }
}
