//! What a swap must not delete: paths of the old tree that no archive of the directory holds. They are carried over.
//!
//! Does not own: the swap, or moving (`carry`). What is kept is what the directory excludes now, or excluded when the
//! backup was made, and `lost+found`; and single paths whose contents the backup or the restore could not bring. Before
//! anything is touched it is proven that the whole old tree can be looked into and that nothing of the archive takes
//! the place of what is kept. Then the two trees change places, and what is kept moves from the old to the new one,
//! name by name, before the old one is deleted. What is kept and where the old tree is lie in a record in the working
//! folder before the swap, so when a restore dies the next one carries over what is left.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use packhorse_service::descent::{Descent, entries};
use rustix::{
    fs::{AtFlags, statat},
    io::{Errno, Result},
};
use serde::{Deserialize, Serialize};

use super::{exclude::Exclusions, remove::open_harmless};

/// The record in the working folder.
const RECORD: &str = "kept.json";
/// How the working folders of a mount point begin; they are no part of the directory.
pub(super) const WORKING: &[u8] = b".packhorse-restore-";

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    exclude: Vec<String>,
    /// Paths that the archive may hold too, but not as they should be: the old ones are kept.
    pub(super) paths: BTreeSet<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    kept: Kept,
    /// Device and inode of the old tree. After a reboot the device may have another number.
    old: (u64, u64),
    /// Where single entries are swapped, those that come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new: Option<Vec<Vec<u8>>>,
}

/// A swap of single entries, as it was recorded.
pub(super) struct Swap {
    /// What is kept.
    pub(super) kept: Kept,
    /// The entries that come.
    pub(super) new: Vec<Vec<u8>>,
}

/// A path that stands in the way, and why.
pub(super) type Obstacle = (PathBuf, String);

impl Kept {
    /// What these exclusions leave out, and these paths.
    pub(super) fn new(exclude: Vec<String>, paths: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { exclude, paths: paths.into_iter().collect() }
    }

    /// Whether this path, which is not in one that is kept, is kept.
    pub(super) fn holds(&self, path: &[u8]) -> bool {
        self.paths.contains(path) || Exclusions::new(&self.exclude).leave_out(path)
    }

    /// Of these paths, the first at whose place an archive with these exclusions may hold something else.
    pub(super) fn in_doubt<'a>(found: &'a [Vec<u8>], then: &[String]) -> Option<&'a Vec<u8>> {
        let then = Exclusions::new(then);
        found.iter().find(|path| path.contains(&b'/') || !then.leave_out(path))
    }

    /// Proves that everything that is kept can move from the old tree into the new one.
    pub(super) fn check(&self, old: &Path, new: &Path) -> std::result::Result<(), Obstacle> {
        let found = self.find(old)?;
        let opened = |error: io::Error| (new.to_owned(), error.to_string());
        let mut descent = Descent::new(File::open(new).map_err(opened)?.into());
        for path in &found {
            let obstacle = |why: &str| (old.join(std::ffi::OsStr::from_bytes(path)), why.to_owned());
            match self.is_free(&mut descent, path) {
                Ok(true) => {}
                Ok(false) => return Err(obstacle("it is to be kept, but the backup holds it")),
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(obstacle("it is to be kept, and in the backup no folder is above it"));
                }
                Err(error) => return Err(obstacle(&io::Error::from(error).to_string())),
            }
        }
        Ok(())
    }

    fn is_free(&self, new: &mut Descent, path: &[u8]) -> Result<bool> {
        let (parents, name) = split(path);
        new.go(&parents)?;
        match statat(new.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(error),
            Ok(_) if self.paths.contains(path) => Ok(true),
            Ok(_) => Ok(open_harmless(new.here(), name).is_ok_and(|folder| is_empty_folder(&folder))),
        }
    }

    /// The outermost paths of a tree that are kept.
    pub(super) fn find(&self, root: &Path) -> std::result::Result<Vec<Vec<u8>>, Obstacle> {
        let failed = |path: &[u8], error: io::Error| {
            let why = match Errno::from_io_error(&error) {
                Some(Errno::XDEV) => "something is mounted there".to_owned(),
                _ => format!("it cannot be looked into: {error}"),
            };
            (root.join(std::ffi::OsStr::from_bytes(path)), why)
        };
        let exclusions = Exclusions::new(&self.exclude);
        let mut descent = Descent::new(File::open(root).map_err(|error| failed(b"", error))?.into());
        let mut todo = vec![entries(descent.here()).map_err(|error| failed(b"", error))?];
        let mut found = Vec::new();
        while let Some(names) = todo.last_mut() {
            let Some((name, is_folder)) = names.pop() else {
                todo.pop();
                let path = descent.path(b"");
                descent.up().map_err(|error| failed(&path, error.into()))?;
                continue;
            };
            let path = descent.path(&name);
            if exclusions.leave_out(&path) || self.paths.contains(&path) {
                found.push(path);
            } else if is_folder && !(descent.depth() == 0 && name.starts_with(WORKING)) {
                let entered = descent.down(&name).map_err(io::Error::from);
                let listed = entered.and_then(|()| entries(descent.here()));
                todo.push(listed.map_err(|error| failed(&path, error))?);
            }
        }
        Ok(found)
    }

    /// Records what is kept of the old tree, before the swap.
    pub(super) fn record(&self, folder: &Path, old: &Path) -> io::Result<()> {
        self.write(folder, old, None)
    }

    /// Records what is kept and which entries come, before these are swapped one by one.
    pub(super) fn record_swap(&self, folder: &Path, old: &Path, new: Vec<Vec<u8>>) -> io::Result<()> {
        self.write(folder, old, Some(new))
    }

    fn write(&self, folder: &Path, old: &Path, new: Option<Vec<Vec<u8>>>) -> io::Result<()> {
        let found = fs::metadata(old)?;
        let record = Record { kept: self.clone(), old: (found.dev(), found.ino()), new };
        let file = File::create(folder.join(RECORD))?;
        serde_json::to_writer(&file, &record)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    }

    /// What a dead restore recorded in its working folder, and where the old tree is, if it is one of these.
    pub(super) fn recorded(folder: &Path, trees: &[PathBuf]) -> io::Result<Option<(Self, PathBuf)>> {
        let Some(record) = read(folder)? else { return Ok(None) };
        let found = trees.iter().find(|tree| record.is_of(tree));
        Ok(found.map(|tree| (record.kept, tree.clone())))
    }

    /// The swap of single entries that a dead restore recorded, if this is its old tree.
    pub(super) fn swap(folder: &Path, old: &Path) -> io::Result<Option<Swap>> {
        let record = read(folder)?.filter(|record| record.is_of(old));
        Ok(record.and_then(|Record { kept, new, .. }| Some(Swap { kept, new: new? })))
    }
}

impl Record {
    fn is_of(&self, tree: &Path) -> bool {
        fs::metadata(tree).is_ok_and(|found| found.ino() == self.old.1)
    }
}

/// None when there is no record, or one that was cut short by a crash: then the swap had not begun.
fn read(folder: &Path) -> io::Result<Option<Record>> {
    match fs::read(folder.join(RECORD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(serde_json::from_slice(&text?).ok()),
    }
}

/// The folders of a path, and its name.
pub(super) fn split(path: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let name = names.pop().unwrap_or_default();
    (names, name)
}

fn is_empty_folder(folder: &OwnedFd) -> bool {
    entries(folder.as_fd()).is_ok_and(|entries| entries.is_empty())
}
