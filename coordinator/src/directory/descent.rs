//! A way down a tree of folders, with few of them open.
//!
//! Does not own: what is done on the way. Every step opens one name and refuses symbolic links and mount points, so the
//! way never leaves the tree. Only the deepest folders stay open, because a process may have fewer descriptors than a
//! tree has levels; on the way back up a folder that was closed is opened through its child, and known again by its
//! device and inode.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::{Errno, Result},
};

/// Levels that stay open.
const OPEN: usize = 16;
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Level {
    name: Vec<u8>,
    folder: Option<OwnedFd>,
    identity: (u64, u64),
}

/// The folders from a root down to one below it, which is open.
pub(super) struct Descent {
    above: Vec<Level>,
    name: Vec<u8>,
    here: OwnedFd,
}

impl Descent {
    /// Starts at this folder.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { above: Vec::new(), name: Vec::new(), here: root }
    }

    /// How far below the root it is.
    pub(super) fn depth(&self) -> usize {
        self.above.len()
    }

    /// The folder that it is in.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// The names from the root to here.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let below = self.above.iter().skip(1).map(|level| level.name.as_slice());
        let last = (!self.above.is_empty()).then_some(self.name.as_slice());
        below.chain(last)
    }

    /// The path of a name in this folder, from the root on.
    pub(super) fn path(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for part in self.names().chain([name]) {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        path
    }

    /// Goes into a folder of this one.
    pub(super) fn down(&mut self, name: &[u8]) -> Result<()> {
        let identity = identity(&self.here)?;
        let below = open_folder(self.here(), name)?;
        let folder = Some(std::mem::replace(&mut self.here, below));
        let name = std::mem::replace(&mut self.name, name.to_vec());
        self.above.push(Level { name, folder, identity });
        let depth = self.above.len();
        if depth > OPEN + 1 {
            // The root stays open: whoever looks for a path from it must find it.
            self.above[depth - OPEN].folder = None;
        }
        Ok(())
    }

    /// Goes back up; gives the folder that was left and its name, or none at the root.
    pub(super) fn up(&mut self) -> Result<Option<(OwnedFd, Vec<u8>)>> {
        let Some(Level { name, folder, identity: known }) = self.above.pop() else { return Ok(None) };
        let folder = match folder {
            Some(folder) => folder,
            None => {
                let parent = openat(&self.here, "..", FOLDER, Mode::empty())?;
                if identity(&parent)? != known {
                    return Err(Errno::STALE);
                }
                parent
            }
        };
        let left = std::mem::replace(&mut self.here, folder);
        Ok(Some((left, std::mem::replace(&mut self.name, name))))
    }

    /// Goes to the folder at this path, by the shortest way.
    pub(super) fn go(&mut self, path: &[&[u8]]) -> Result<()> {
        let common = self.names().zip(path).take_while(|(own, name)| own == *name).count();
        while self.depth() > common {
            self.up()?;
        }
        path[common..].iter().try_for_each(|name| self.down(name))
    }

    /// The root, wherever the way has led.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.above.first().and_then(|level| level.folder.as_ref()).map_or(self.here(), |root| root.as_fd())
    }
}

fn identity(folder: impl AsFd) -> Result<(u64, u64)> {
    let found = fstat(folder)?;
    Ok((found.st_dev, found.st_ino))
}

/// Opens a folder in another one: no link, and nothing that is mounted there.
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let inside = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(parent, name, FOLDER, Mode::empty(), inside) {
        // A kernel before 5.6, or a container that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            let folder = openat(parent, name, FOLDER, Mode::empty())?;
            if fstat(&folder)?.st_dev == fstat(parent)?.st_dev { Ok(folder) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    }
}

/// What is in a folder: names, and whether each is a folder.
pub(super) fn entries(folder: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, bool)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => {
                let found =
                    rustix::fs::statat(folder, name.as_slice(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
                found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
            }
            _ => false,
        };
        found.push((name, is_folder));
    }
    Ok(found)
}
