//! The private folder of embedded mode, where its sockets are.
//!
//! Does not own: the sockets. A process holds a lock in its folder for as long as it lives, whatever becomes of it; the
//! next one removes the folders of its own user whose lock is free: nobody is there any more.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use tempfile::TempDir;

const PREFIX: &str = "backupctl-";
const LOCK: &str = "lock";

/// A folder that only this user can enter, and that goes with the value.
pub struct PrivateFolder {
    folder: TempDir,
    _lock: File,
}

impl PrivateFolder {
    /// Makes a folder, and removes those that killed processes left beside it.
    pub fn new_in(place: &Path) -> io::Result<Self> {
        // tempfile makes folders with mode 0700.
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place)?;
        // It gets its name when it is held, so that nobody finds it free before that.
        let new = folder.path().join("lock.new");
        let lock = File::create_new(&new)?;
        lock.lock()?;
        fs::rename(new, folder.path().join(LOCK))?;
        remove_left(place, fs::metadata(folder.path())?.uid());
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn remove_left(place: &Path, user: u32) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let folder = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_left(&folder, user) {
            let removed = fs::remove_dir_all(&folder);
            tracing::debug!(folder = %folder.display(), ?removed, "left by a process that was killed");
        }
    }
}

/// Whether a folder of this user has a lock that nobody holds.
fn is_left(folder: &Path, user: u32) -> bool {
    let is_ours = fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == user);
    is_ours && File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let place = tempfile::tempdir().expect("temporary folder");
        let held = PrivateFolder::new_in(place.path()).expect("a folder");
        let killed = PrivateFolder::new_in(place.path()).expect("a folder");
        let (left, lock) = (killed.path().to_owned(), killed._lock.try_clone().expect("a file"));
        std::mem::forget(killed.folder);
        // What others made stays, whatever its name is.
        let foreign = place.path().join("backupctl-notes");
        fs::create_dir(&foreign).expect("create");
        drop(killed._lock);
        drop(PrivateFolder::new_in(place.path()).expect("a folder"));
        assert!(left.exists(), "its lock is held still");
        drop(lock);
        let next = PrivateFolder::new_in(place.path()).expect("a folder");
        assert!(!left.exists() && held.path().exists() && next.path().exists() && foreign.exists());
    }
}
