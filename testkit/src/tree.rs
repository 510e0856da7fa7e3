//! The oracle for directories: everything of a folder that a restored archive must bring back.
//!
//! Does not own: git repositories (`RepoState`). Links are read, never followed. Contents are compared by SHA-256;
//! allocated blocks are recorded so that a test can ask whether holes survived, and are not compared, because
//! filesystems round them differently.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::differences::compare_maps;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with its size and the first 16 digits of its SHA-256.
    File(u64, String),
    /// A symbolic link with its target.
    Link(PathBuf),
    /// A named pipe.
    Pipe,
    /// A Unix socket.
    Socket,
    /// A device, with its number.
    Device(u64),
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of modification in seconds; archives in the oldest format hold no fractions.
    pub mtime: i64,
}

/// A folder with everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeState {
    /// Every entry by its path; the folder itself has the empty path.
    pub entries: BTreeMap<PathBuf, TreeEntry>,
    allocated: BTreeMap<PathBuf, u64>,
}

impl TreeState {
    /// Reads a folder.
    pub fn of(path: impl AsRef<Path>) -> Self {
        let mut state = Self { entries: BTreeMap::new(), allocated: BTreeMap::new() };
        let path = path.as_ref();
        state.read(path, Path::new("")).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        state
    }

    /// Bytes that the disk holds for a file; fewer than its size when it has holes.
    pub fn allocated(&self, path: impl AsRef<Path>) -> u64 {
        let path = path.as_ref();
        *self.allocated.get(path).unwrap_or_else(|| panic!("{}: not in the tree", path.display()))
    }

    /// Panics with the differences unless both trees hold the same entries.
    #[track_caller]
    pub fn assert_same(expected: &Self, actual: &Self) {
        let differences = expected.differences(actual);
        assert!(differences.is_empty(), "trees differ:\n{}", differences.join("\n"));
    }

    /// One line for each entry that differs, at most twenty.
    pub fn differences(&self, actual: &Self) -> Vec<String> {
        let name = |path: &PathBuf| format!("{:?}", path.display().to_string());
        compare_maps("entry", &self.entries, &actual.entries, name)
    }

    fn read(&mut self, path: &Path, relative: &Path) -> io::Result<()> {
        let metadata = path.symlink_metadata()?;
        let kind = Kind::of(path, &metadata)?;
        if kind == Kind::Folder {
            for child in fs::read_dir(path)? {
                let child = child?;
                self.read(&child.path(), &relative.join(child.file_name()))?;
            }
        }
        let (uid, gid, mtime) = (metadata.uid(), metadata.gid(), metadata.mtime());
        let entry = TreeEntry { kind, mode: metadata.mode() & 0o7777, uid, gid, mtime };
        self.entries.insert(relative.to_owned(), entry);
        self.allocated.insert(relative.to_owned(), metadata.blocks() * 512);
        Ok(())
    }
}

impl Kind {
    fn of(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        let file_type = metadata.file_type();
        Ok(if file_type.is_dir() {
            Self::Folder
        } else if file_type.is_symlink() {
            Self::Link(fs::read_link(path)?)
        } else if file_type.is_file() {
            Self::File(metadata.len(), content_digest(path)?)
        } else if file_type.is_fifo() {
            Self::Pipe
        } else if file_type.is_socket() {
            Self::Socket
        } else {
            Self::Device(metadata.rdev())
        })
    }
}

fn content_digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lets `io::copy` feed a hasher.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hermetic_command, run_checked};
    use std::os::unix::fs::symlink;

    fn fixture(path: &Path) {
        fs::create_dir_all(path.join("sub")).expect("create folder");
        fs::write(path.join("sub/file"), "text").expect("write file");
        symlink("sub/file", path.join("link")).expect("make link");
        File::create(path.join("holes")).and_then(|file| file.set_len(1 << 26)).expect("make sparse file");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("make named pipe");
    }

    #[test]
    fn a_faithful_copy_is_the_same_and_holes_are_seen() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fixture(&from);
        run_checked(hermetic_command("cp").arg("--archive").arg(&from).arg(&to));
        let state = TreeState::of(&from);
        TreeState::assert_same(&state, &TreeState::of(&to));
        assert_eq!(state.entries.len(), 6);
        assert!(state.allocated("holes") < 1 << 20);
    }

    #[test]
    fn every_change_is_a_difference() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fixture(folder.path());
        let before = TreeState::of(folder.path());
        fs::write(folder.path().join("sub/file"), "tex!").expect("write file");
        fs::remove_file(folder.path().join("link")).expect("remove link");
        fs::remove_file(folder.path().join("pipe")).expect("remove pipe");
        fs::write(folder.path().join("pipe"), "").expect("write file");
        run_checked(hermetic_command("chmod").arg("700").arg(folder.path().join("holes")));
        let changed: Vec<String> = before.differences(&TreeState::of(folder.path()));
        for path in ["sub/file", "link", "pipe", "holes"] {
            assert!(changed.iter().any(|line| line.contains(&format!("{path:?}"))), "{path}: {changed:#?}");
        }
    }
}
