//! The folder that a repository goes into, made where it is missing and held open.
//!
//! Does not own: what is put there. Each folder is opened from the one above it and never through a link, so the way
//! cannot lead out of the storage, whatever somebody changes on it meanwhile.

use std::{io, os::fd::OwnedFd, path::Path};

use packhorse_model::{Problem, RepoPath};
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    io::Errno,
};

use crate::restore::{io_problem::io_problem, owner::Owner, place::not_a_folder};

/// An open folder of a storage.
pub(super) struct Folder {
    /// What names in it are relative to.
    pub fd: OwnedFd,
}

impl Folder {
    /// The folder above a repository, and the repository's name in it. Blocking.
    pub(super) fn above<'a>(
        root: &Path,
        path: &'a RepoPath,
        owner: &Owner,
    ) -> Result<(Self, &'a str), Problem> {
        let failed = |at: &Path, error: Errno| match error {
            Errno::NOTDIR | Errno::LOOP => not_a_folder(at),
            _ => io_problem("make folder", at.display(), &io::Error::from(error)),
        };
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The storage itself may be reached through a link, as configured; nothing below it.
        let mut fd = openat(CWD, root, folder, Mode::empty()).map_err(|e| failed(root, e))?;
        let (mut at, mut parts) = (root.to_owned(), path.as_str().split('/').peekable());
        let mut name = "";
        while let Some(part) = parts.next() {
            name = part;
            if parts.peek().is_none() {
                break;
            }
            at.push(part);
            let made = match mkdirat(&fd, part, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(failed(&at, error)),
            };
            fd = openat(&fd, part, folder | OFlags::NOFOLLOW, Mode::empty()).map_err(|e| failed(&at, e))?;
            if made {
                owner.give_open(&fd).map_err(|e| io_problem("make folder", at.display(), &e))?;
            }
        }
        Ok((Self { fd }, name))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use packhorse_model::ErrorKind;

    use super::*;

    #[test]
    fn no_link_below_the_storage_is_followed() {
        let (storage, outside) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        fs::create_dir(storage.path().join("a")).expect("create");
        symlink(outside.path(), storage.path().join("a/b")).expect("link");
        fs::write(storage.path().join("file"), "").expect("write");
        let owner = Owner::of_storage(storage.path()).expect("owner");
        let above = |path: &str| {
            let path: RepoPath = path.parse().expect("valid path");
            Folder::above(storage.path(), &path, &owner).map(|(_, name)| name.to_owned())
        };
        for bad in ["a/b/c.git", "a/b/c/d.git", "file/x.git"] {
            assert_eq!(above(bad).expect_err(bad).kind, ErrorKind::Invalid, "{bad}");
        }
        assert_eq!(above("a/new/deep/x.git").expect("made"), "x.git");
        assert!(storage.path().join("a/new/deep").is_dir());
        assert_eq!(above("x.git").expect("there"), "x.git");
        assert_eq!(fs::read_dir(outside.path()).expect("read").count(), 0, "something was made outside");
    }
}
