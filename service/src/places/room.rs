//! Room on the file system of a folder: how much may still be written, and which file system it is.
//!
//! Does not own: how much is needed. Nothing is written to find out. Two folders of one file system share its room, so
//! whoever adds up needs compares devices.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{statfs, statvfs};

/// File systems that may store files in fewer bytes than they have: btrfs, ZFS, bcachefs, f2fs.
const COMPRESSING: [u64; 4] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e, 0xf2f5_2010];

/// Room on a file system at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The kernel's number of the file system.
    pub device: String,
    /// Bytes that this process may still write.
    pub available: u64,
    /// Whether files may take fewer bytes than they have.
    pub compresses: bool,
}

/// The room where a folder lies, or would be made. Blocking.
pub fn room(path: &Path) -> io::Result<Room> {
    let there = nearest_folder(path)?;
    let (found, kind) = (statvfs(&there)?, statfs(&there)?);
    // What is kept back for root is root's.
    let blocks = if rustix::process::geteuid().is_root() { found.f_bfree } else { found.f_bavail };
    let device = there.metadata()?.dev();
    Ok(Room {
        device: format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)),
        available: blocks.saturating_mul(found.f_frsize),
        compresses: u64::try_from(kind.f_type).is_ok_and(|kind| COMPRESSING.contains(&kind)),
    })
}

/// The folder itself, or the nearest one above it that is there.
fn nearest_folder(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut there = path.ancestors();
    there
        .find(|folder| folder.is_dir())
        .map(Path::to_owned)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let own = room(folder.path()).expect("a file system");
        assert!(own.available > 0 && own.device.contains(':'), "{own:?}");
        let below = room(&folder.path().join("not/there")).expect("that of the folder above");
        assert_eq!(below.device, own.device);
    }
}
