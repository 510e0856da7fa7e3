//! The folder that is being unpacked into, and the folders below it that are open.
//!
//! Does not own: files (`unpack`) or the way from one folder to the next (`descent`), which refuses symbolic links, so
//! nothing that an archive holds can lead out of the root. A folder gets its owner, mode and time when the walk leaves
//! it: until then it must be writable, and every new entry would change its time. Archives of ours list a folder right
//! before what it holds, so only the folders of one path wait for theirs.

use std::os::fd::{BorrowedFd, OwnedFd};

use packhorse_service::descent::Descent;
use rustix::{
    fs::{Mode, mkdirat},
    io::{Errno, Result, fcntl_dupfd_cloexec},
};

use super::attributes::Attributes;

/// An open root with the folders of one path below it.
pub(super) struct Tree {
    descent: Descent,
    /// Of the root, and of each folder down to where the walk is.
    attributes: Vec<Option<Attributes>>,
    /// Folders that did not get all of their attributes, and why.
    pub(super) lost: Vec<(Vec<u8>, String)>,
}

impl Tree {
    /// A tree below this folder.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { descent: Descent::new(root), attributes: vec![None], lost: Vec::new() }
    }

    /// The folder at this path, which must exist.
    pub(super) fn enter(&mut self, path: &[&[u8]]) -> Result<BorrowedFd<'_>> {
        let common = self.descent.names().zip(path).take_while(|(own, name)| own == *name).count();
        self.leave(common)?;
        for name in &path[common..] {
            self.descent.down(name)?;
            self.attributes.push(None);
        }
        Ok(self.descent.here())
    }

    /// Makes the folder at this path, unless it is there already, and enters it; the empty path is the root.
    pub(super) fn make(&mut self, path: &[&[u8]], attributes: Attributes) -> Result<()> {
        if let Some((name, parents)) = path.split_last() {
            let parent = self.enter(parents)?;
            match mkdirat(parent, *name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        self.enter(path)?;
        if let Some(last) = self.attributes.last_mut() {
            *last = Some(attributes);
        }
        Ok(())
    }

    /// The folder at this path, apart from the walk.
    pub(super) fn open(&self, path: &[&[u8]]) -> Result<OwnedFd> {
        let mut apart = Descent::new(fcntl_dupfd_cloexec(self.descent.root(), 0)?);
        apart.go(path)?;
        fcntl_dupfd_cloexec(apart.here(), 0)
    }

    /// Gives the folders that the walk is still in, and the root, their attributes; says which did not get all.
    pub(super) fn finish(mut self) -> Result<Vec<(Vec<u8>, String)>> {
        self.leave(0)?;
        if let Some(Some(attributes)) = self.attributes.pop()
            && let Err(why) = attributes.apply(self.descent.here())
        {
            self.lost.push((b".".to_vec(), why));
        }
        Ok(self.lost)
    }

    fn leave(&mut self, depth: usize) -> Result<()> {
        while self.descent.depth() > depth {
            let path = self.descent.names().collect::<Vec<_>>().join(&b'/');
            let left = self.descent.up()?;
            if let (Some((folder, _)), Some(Some(attributes))) = (left, self.attributes.pop())
                && let Err(why) = attributes.apply(folder)
            {
                self.lost.push((path, why));
            }
        }
        Ok(())
    }
}
