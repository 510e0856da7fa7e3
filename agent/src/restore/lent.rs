//! What a repository uses of others: what its alternates, its `commondir`, links and bind mounts lead to.
//!
//! Does not own: who is asked (`borrowers`). Each way is followed to its end. What is used is known by its path, if that lies
//! in the storage, and by device and inode, which are the same by whatever way somebody comes to it. Links in place of
//! single loose objects are not looked for: that would mean to list every folder of them.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use packhorse_model::Problem;
use packhorse_service::places::Mounts;

use crate::{backup::list, restore::io_problem::io_problem};

/// Device and inode.
pub(super) type Id = (u64, u64);

/// What of others a repository uses.
#[derive(Default)]
pub(super) struct Lent {
    /// As paths below the storage.
    pub paths: BTreeSet<PathBuf>,
    /// Itself, and the folders that it lies in.
    pub ids: HashSet<Id>,
}

impl Lent {
    /// Whether it uses nothing of others.
    pub(super) fn is_nothing(&self) -> bool {
        self.paths.is_empty() && self.ids.is_empty()
    }
}

/// A storage, in which lenders are looked for.
pub(super) struct Market {
    root: PathBuf,
    /// The same without links.
    real: PathBuf,
    /// The storage itself and all above it, none of which is lent.
    above: HashSet<Id>,
    mounts: Mounts,
    /// Whether anything is mounted in it.
    has_mounts: bool,
}

impl Market {
    /// As it is now. Blocking, as all of this type.
    pub(super) fn new(root: &Path) -> Result<Self, Problem> {
        let real = fs::canonicalize(root).map_err(|error| unknown(root, &error))?;
        let above = real.ancestors().filter_map(id_of).collect();
        let mounts = Mounts::read()?;
        let has_mounts = mounts.below(&real).is_some();
        Ok(Self { root: root.to_owned(), real, above, mounts, has_mounts })
    }

    /// The whole path of one in the storage.
    pub(super) fn path(&self, relative: &Path) -> PathBuf {
        self.real.join(relative)
    }

    /// Whether a link leads to a folder outside the storage.
    pub(super) fn leads_out(&self, link: &Path) -> bool {
        let real = fs::canonicalize(self.path(link));
        real.is_ok_and(|real| !real.starts_with(&self.real) && real.is_dir())
    }

    /// What the repository in this folder uses of others.
    pub(super) fn lent_to(&self, repository: &Path) -> Result<Lent, Problem> {
        let objects = self.real.join(repository).join("objects");
        let mut lent = Lent::default();
        let mut todo = vec![objects.clone()];
        if let Some(common) = common(&self.real.join(repository))? {
            self.add(&common, &mut lent);
            todo.push(common.join("objects"));
        }
        let mut seen = BTreeSet::new();
        while let Some(folder) = todo.pop() {
            let real = fs::canonicalize(&folder).unwrap_or_else(|_| normal(&folder));
            let is_own = folder == objects;
            if !is_own || is_link(&folder) {
                self.add(&folder, &mut lent);
            }
            if seen.insert(real.clone()) {
                self.what_leads_away(&folder, &real, &mut lent)?;
                todo.extend(alternates(&folder)?);
            }
        }
        Ok(lent)
    }

    /// Links among a folder of objects and its packs, and what is mounted there.
    fn what_leads_away(&self, folder: &Path, real: &Path, lent: &mut Lent) -> Result<(), Problem> {
        for folder in [folder.to_owned(), folder.join("pack")] {
            let entries = match list(&folder) {
                Err(error) if is_absent(&error) => continue,
                entries => entries.map_err(|error| unknown(&folder, &error))?,
            };
            let links = entries.iter().filter(|entry| entry.is_link);
            links.for_each(|entry| self.add(&folder.join(&entry.name), lent));
        }
        if self.has_mounts || !real.starts_with(&self.real) {
            let at = self.mounts.has(real).then_some(real);
            // What lies above a mount point is not used by way of it.
            lent.ids.extend(self.mounts.all_below(real).chain(at).filter_map(id_of));
        }
        Ok(())
    }

    /// Notes what is used by whatever it is called: as it is written, and where it really is.
    fn add(&self, path: &Path, lent: &mut Lent) {
        let plain = normal(path);
        let real = fs::canonicalize(path).unwrap_or_else(|_| plain.clone());
        lent.ids.extend(real.ancestors().filter_map(id_of).filter(|id| !self.above.contains(id)));
        for path in [plain, real] {
            let below = [&self.root, &self.real].into_iter().find_map(|root| path.strip_prefix(root).ok());
            lent.paths.extend(below.map(Path::to_owned));
        }
    }
}

/// Who the repository in this folder is, with all of it that others can use without its knowledge.
pub(super) fn ids_of(repository: &Path) -> Result<HashSet<Id>, Problem> {
    let objects = repository.join("objects");
    let mut ids: HashSet<Id> = [repository, &objects].into_iter().filter_map(id_of).collect();
    for folder in [objects.clone(), objects.join("pack")] {
        let entries = match list(&folder) {
            Err(error) if is_absent(&error) => continue,
            entries => entries.map_err(|error| unknown(&folder, &error))?,
        };
        ids.extend(entries.iter().filter_map(|entry| id_of(folder.join(&entry.name))));
    }
    Ok(ids)
}

/// Device and inode of what a path leads to; none where it leads to nothing.
pub(super) fn id_of(path: impl AsRef<Path>) -> Option<Id> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// The repository whose objects and refs this one has, as a linked worktree does.
fn common(repository: &Path) -> Result<Option<PathBuf>, Problem> {
    use std::os::unix::ffi::OsStrExt;
    let file = repository.join("commondir");
    match fs::read(&file) {
        Ok(content) => {
            let named = content.strip_suffix(b"\n").unwrap_or(&content);
            Ok(Some(repository.join(std::ffi::OsStr::from_bytes(named))))
        }
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        Err(error) => Err(unknown(&file, &error)),
    }
}

/// The folders that the alternates of this folder of objects name.
fn alternates(objects: &Path) -> Result<Vec<PathBuf>, Problem> {
    let file = objects.join("info/alternates");
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unknown(&file, &error)),
    };
    let named = gix::odb::alternate::parse(&content);
    let named = named.map_err(|e| unknown(&file, &io::Error::other(e.to_string())))?;
    Ok(named.into_iter().map(|folder| objects.join(folder)).collect())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path without `.` and `..`, as its letters say; it may lead to nothing.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

pub(super) fn unknown(path: &Path, error: &io::Error) -> Problem {
    io_problem("find who borrows objects", path.display(), error)
        .leaving("the repository was not replaced")
        .next("let the agent's user read it, or move it away")
}
