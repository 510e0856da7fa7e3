//! A way down a tree of folders, with few of them open.
//!
//! Does not own: what is done on the way. Every step opens one name and refuses symbolic links and mount points, so the
//! way never leaves the tree. Coordinators restore directories by it, and agents remove repositories by it. Only the
//! deepest folders stay open, because a process may have fewer descriptors than a tree has levels; on the way back up a
//! folder that was closed is opened through its child, and known again by its device and inode.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2, statat, statx,
    },
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
pub struct Descent {
    above: Vec<Level>,
    name: Vec<u8>,
    here: OwnedFd,
}

impl Descent {
    /// Starts at this folder.
    pub fn new(root: OwnedFd) -> Self {
        Self { above: Vec::new(), name: Vec::new(), here: root }
    }

    /// How far below the root it is.
    pub fn depth(&self) -> usize {
        self.above.len()
    }

    /// The folder that it is in.
    pub fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// The names from the root to here.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let below = self.above.iter().skip(1).map(|level| level.name.as_slice());
        let last = (!self.above.is_empty()).then_some(self.name.as_slice());
        below.chain(last)
    }

    /// The path of a name in this folder, from the root on.
    pub fn path(&self, name: &[u8]) -> Vec<u8> {
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
    pub fn down(&mut self, name: &[u8]) -> Result<()> {
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
    pub fn up(&mut self) -> Result<Option<(OwnedFd, Vec<u8>)>> {
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
    pub fn go(&mut self, path: &[&[u8]]) -> Result<()> {
        let common = self.names().zip(path).take_while(|(own, name)| own == *name).count();
        while self.depth() > common {
            self.up()?;
        }
        path[common..].iter().try_for_each(|name| self.down(name))
    }

    /// The root, wherever the way has led.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.above.first().and_then(|level| level.folder.as_ref()).map_or(self.here(), |root| root.as_fd())
    }
}

fn identity(folder: impl AsFd) -> Result<(u64, u64)> {
    let found = fstat(folder)?;
    Ok((found.st_dev, found.st_ino))
}

/// Opens a folder in another one: no link, and nothing that is mounted there.
pub fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let inside = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(parent, name, FOLDER, Mode::empty(), inside) {
        // A kernel before 5.6, or a container that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            let folder = openat(parent, name, FOLDER, Mode::empty())?;
            if mount_of(folder.as_fd())? == mount_of(parent)? { Ok(folder) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    }
}

/// The mount that an open folder lies on: device, and the number of the mount where the kernel tells it (since 5.8).
fn mount_of(folder: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let device = fstat(folder)?.st_dev;
    let found = statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    Ok((device, found.map_or(0, |found| found.stx_mnt_id)))
}

/// What is in a folder: names, and whether each is a folder.
pub fn entries(folder: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, bool)>> {
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
                let found = statat(folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
                found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
            }
            _ => false,
        };
        found.push((name, is_folder));
    }
    Ok(found)
}
