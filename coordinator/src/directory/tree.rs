//! The folder that is being unpacked into, and the folders below it that are open.
//!
//! Does not own: files (`unpack`). Every step from one folder to the next opens one name and refuses symbolic links, so
//! nothing that an archive holds can lead out of the root. A folder gets its owner, mode and time when the walk leaves
//! it: until then it must be writable, and every new entry would change its time. Archives of ours list a folder right
//! before what it holds, so only the folders of one path are open at a time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, chownat, fchmod, fchown,
        futimens, mkdirat, openat, utimensat,
    },
    io::{Errno, Result, fcntl_dupfd_cloexec},
};

/// Owner, mode and time of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    /// None unless we may give entries away.
    pub(super) owner: Option<(Uid, Gid)>,
    pub(super) mode: Mode,
    /// Time of modification, in seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
}

impl Attributes {
    /// Gives them to an open file or folder; the mode after the owner, which clears set-user-id.
    pub(super) fn apply(&self, entry: impl AsFd) -> Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(&entry, Some(uid), Some(gid))?;
        }
        fchmod(&entry, self.mode)?;
        futimens(&entry, &self.times())
    }

    /// Gives them to an entry that cannot be opened: a symbolic link, which has no mode, or a pipe.
    pub(super) fn apply_at(&self, folder: BorrowedFd<'_>, name: &[u8], has_mode: bool) -> Result<()> {
        if let Some((uid, gid)) = self.owner {
            chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if has_mode {
            chmodat(folder, name, self.mode, AtFlags::empty())?;
        }
        utimensat(folder, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn times(&self) -> Timestamps {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1.into() },
        }
    }
}

struct Level {
    name: Vec<u8>,
    folder: OwnedFd,
    attributes: Option<Attributes>,
}

/// An open root with the open folders of one path below it.
pub(super) struct Tree {
    root: OwnedFd,
    root_attributes: Option<Attributes>,
    levels: Vec<Level>,
}

impl Tree {
    /// A tree below this folder.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, root_attributes: None, levels: Vec::new() }
    }

    /// The folder at this path, which must exist.
    pub(super) fn enter(&mut self, path: &[&[u8]]) -> Result<BorrowedFd<'_>> {
        let common = self.levels.iter().zip(path).take_while(|(level, name)| level.name == **name).count();
        self.leave(common)?;
        for name in &path[common..] {
            let folder = open_folder(self.last(), name)?;
            self.levels.push(Level { name: name.to_vec(), folder, attributes: None });
        }
        Ok(self.last())
    }

    /// Makes the folder at this path, unless it is there already, and enters it; the empty path is the root.
    pub(super) fn make(&mut self, path: &[&[u8]], attributes: Attributes) -> Result<()> {
        let Some((name, parents)) = path.split_last() else {
            self.root_attributes = Some(attributes);
            return Ok(());
        };
        let parent = self.enter(parents)?;
        match mkdirat(parent, *name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        self.enter(path)?;
        if let Some(level) = self.levels.last_mut() {
            level.attributes = Some(attributes);
        }
        Ok(())
    }

    /// The folder at this path, apart from the walk.
    pub(super) fn open(&self, path: &[&[u8]]) -> Result<OwnedFd> {
        let mut folder = fcntl_dupfd_cloexec(&self.root, 0)?;
        for name in path {
            folder = open_folder(folder.as_fd(), name)?;
        }
        Ok(folder)
    }

    /// Gives the folders that are still open, and the root, their attributes.
    pub(super) fn finish(mut self) -> Result<()> {
        self.leave(0)?;
        self.root_attributes.map_or(Ok(()), |attributes| attributes.apply(&self.root))
    }

    fn leave(&mut self, depth: usize) -> Result<()> {
        while self.levels.len() > depth {
            if let Some(Level { folder, attributes: Some(attributes), .. }) = self.levels.pop() {
                attributes.apply(folder)?;
            }
        }
        Ok(())
    }

    fn last(&self) -> BorrowedFd<'_> {
        self.levels.last().map_or(self.root.as_fd(), |level| level.folder.as_fd())
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}
