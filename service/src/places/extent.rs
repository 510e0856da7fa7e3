//! A folder by where it lies on its file system, whatever path leads to it.
//!
//! Does not own: finding that out (`mounts`). All processes of one kernel call a file system by the same number, also
//! those in other containers, so extents of different processes can be compared as long as the kernel is the same.

use std::path::PathBuf;

/// A folder of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The kernel's number of the file system.
    pub device: String,
    /// The folder's path from the file system's root.
    pub path: PathBuf,
}

impl Extent {
    /// Whether it is the other one or lies in it.
    pub fn lies_in(&self, other: &Self) -> bool {
        self.device == other.device && self.path.starts_with(&other.path)
    }
}
