//! Step 7: a finished repository takes its place in the storage.
//!
//! Does not own: building it. A place that is taken is refused before anything is read, unless the restore is forced.
//! The new repository appears by one rename, complete. With force it changes places with the old one in one exchange,
//! after the disk has it, and the old one is deleted then: at every moment there is one whole repository.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject};
use rustix::{
    fs::{AtFlags, CWD, RenameFlags, StatxFlags, renameat, renameat_with, statat, statx},
    io::Errno,
};

use crate::{
    backup::is_repository,
    restore::{
        folders::Folder, inside::refuse_others, io_problem::io_problem, owner::Owner, remove::remove_tree,
    },
};

/// Where a repository goes. All of this type is blocking.
pub(super) struct Place {
    root: PathBuf,
    target: PathBuf,
    /// Of a forced restore: tells what could not be written since the place was found.
    disk: Option<Disk>,
}

impl Place {
    /// Finds the place in a storage; refuses one that is taken, unless forced, or that a link leads to.
    pub(super) fn find(root: &Path, path: &RepoPath, force: bool) -> Result<Self, Problem> {
        let place = Self::look(root, path, force)?;
        if place.is_taken() && !force {
            return Err(place.taken());
        }
        refuse_others(&place.target)?;
        Ok(place)
    }

    /// The same, whether it is taken or not.
    pub(super) fn look(root: &Path, path: &RepoPath, force: bool) -> Result<Self, Problem> {
        let target = root.join(path.as_str());
        let built_on = file_system_of_work(root)?;
        for folder in folders_above(root, path).into_iter().chain([target.clone()]) {
            match fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => {
                    same_file_system(&folder, built_on)?;
                    if folder != target && is_repository(&folder) {
                        return Err(in_a_repository(&target, &folder));
                    }
                }
                Ok(_) if folder == target => {}
                Ok(_) => return Err(not_a_folder(&folder)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(io_problem("look at folder", folder.display(), &error)),
            }
        }
        let disk = force.then(|| Disk::open(root)).transpose()?;
        Ok(Self { root: root.to_owned(), target, disk })
    }

    /// The folder that is there; none when nothing is, or something else.
    pub(super) fn folder(&self) -> Option<&Path> {
        fs::symlink_metadata(&self.target).is_ok_and(|found| found.is_dir()).then_some(&self.target)
    }

    /// Puts the finished repository at `built` in place. The folder that it goes into is held open from its check to
    /// the rename, so nobody can put a link in its place in between.
    pub(super) fn put(&self, built: &Path, path: &RepoPath, owner: &Owner) -> Result<(), Problem> {
        let (folder, name) = Folder::above(&self.root, path, owner)?;
        let taken = || statat(&folder.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        match &self.disk {
            Some(disk) if taken() => self.replace(disk, built, &folder, name),
            _ => self.add(built, &folder, name),
        }
    }

    fn add(&self, built: &Path, folder: &Folder, name: &str) -> Result<(), Problem> {
        match renameat_with(CWD, built, &folder.fd, name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(self.taken()),
            // A file system without this flag; a plain rename replaces at most an empty folder.
            Err(Errno::INVAL | Errno::NOSYS) if !self.is_taken() => {
                renameat(CWD, built, &folder.fd, name).map_err(|e| self.failed(&e.into()))
            }
            Err(error) => Err(self.failed(&error.into())),
        }
    }

    fn replace(&self, disk: &Disk, built: &Path, folder: &Folder, name: &str) -> Result<(), Problem> {
        disk.sync()?;
        refuse_others(&self.target)?;
        match renameat_with(CWD, built, &folder.fd, name, RenameFlags::EXCHANGE) {
            Ok(()) => remove(built),
            Err(Errno::INVAL | Errno::NOSYS) => self.replace_in_two_steps(built, folder, name),
            Err(error) => Err(self.failed(&error.into())),
        }
    }

    /// For file systems that cannot exchange: a crash between the two renames leaves the old one in the temporary
    /// folder.
    fn replace_in_two_steps(&self, built: &Path, folder: &Folder, name: &str) -> Result<(), Problem> {
        let old = built.with_extension("old");
        renameat(&folder.fd, name, CWD, &old).map_err(|e| self.failed(&e.into()))?;
        if let Err(error) = renameat(CWD, built, &folder.fd, name) {
            renameat(CWD, &old, &folder.fd, name).map_err(|e| self.failed(&e.into()))?;
            return Err(self.failed(&error.into()));
        }
        remove(&old)
    }

    /// Whether anything is there.
    pub(super) fn is_taken(&self) -> bool {
        fs::symlink_metadata(&self.target).is_ok()
    }

    fn taken(&self) -> Problem {
        self.taken_by("something is already there").next(
            "restore to another storage, or replace it with --force; --skip-existing goes on with a restore that was stopped",
        )
    }

    /// The place is taken, and what is there was looked at in vain: it is not what would be restored.
    pub(super) fn taken_by(&self, what: &str) -> Problem {
        Problem::new(ErrorKind::AlreadyExists, Subject::Repository, "restore repository")
            .on(self.target.display())
            .answered(what)
            .leaving("it was not touched")
            .next("replace it with --force, or restore to another storage")
    }

    fn failed(&self, error: &io::Error) -> Problem {
        io_problem("put repository in place", self.target.display(), error)
    }
}

/// A storage's file system. What could not be written is told to everybody who has had it open since before that, and
/// to each of them once (syncfs(2), since Linux 5.8): so whoever has to know opens it first and keeps it.
pub(super) struct Disk {
    root: PathBuf,
    folder: fs::File,
}

impl Disk {
    /// Opens the file system of this folder. Blocking.
    pub(super) fn open(root: &Path) -> Result<Self, Problem> {
        let folder = fs::File::open(root).map_err(|e| io_problem("open storage", root.display(), &e))?;
        Ok(Self { root: root.to_owned(), folder })
    }

    /// Makes everything durable that was written to it. Blocking.
    pub(super) fn sync(&self) -> Result<(), Problem> {
        rustix::fs::syncfs(&self.folder)
            .map_err(|e| io_problem("sync storage", self.root.display(), &e.into()))
    }
}

/// The mount that a path lies on: nothing is renamed from one to another, be they of one disk.
type OnMount = (u64, u64);

fn on_mount(path: &Path) -> io::Result<OnMount> {
    let asked = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, asked) {
        Ok(found) => Ok((rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_mnt_id)),
        // A container that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok((fs::symlink_metadata(path)?.dev(), 0)),
        Err(error) => Err(error.into()),
    }
}

/// The mount on which repositories are built.
fn file_system_of_work(root: &Path) -> Result<OnMount, Problem> {
    let work = root.join("+packhorse");
    let found = on_mount(&work).or_else(|_| on_mount(&root.canonicalize()?));
    found.map_err(|error| io_problem("look at storage", root.display(), &error))
}

fn same_file_system(folder: &Path, built_on: OnMount) -> Result<(), Problem> {
    let found = on_mount(folder).map_err(|e| io_problem("look at folder", folder.display(), &e))?;
    if found == built_on {
        return Ok(());
    }
    Err(Problem::new(ErrorKind::Invalid, Subject::Repository, "restore repository")
        .on(folder.display())
        .answered("another file system is mounted here, and a repository comes to its place by a rename")
        .leaving("it was not touched")
        .next("serve it as a storage of its own and restore there, or restore to another storage"))
}

/// Every folder between the storage and the repository, outermost first.
fn folders_above(root: &Path, path: &RepoPath) -> Vec<PathBuf> {
    let mut folder = root.to_owned();
    let mut parts: Vec<&str> = path.as_str().split('/').collect();
    parts.pop();
    parts
        .into_iter()
        .map(|part| {
            folder.push(part);
            folder.clone()
        })
        .collect()
}

fn in_a_repository(target: &Path, outer: &Path) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Repository, "restore repository")
        .on(target.display())
        .answered(format!(
            "its place lies inside another repository, {}, where no backup looks",
            outer.display()
        ))
        .leaving("nothing was restored there")
        .next("move the repository that is there away, or restore to another storage")
}

pub(super) fn not_a_folder(folder: &Path) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Repository, "restore repository")
        .on(folder.display())
        .answered("is not a folder of the storage")
        .next("remove it, or restore to another storage")
}

fn remove(old: &Path) -> Result<(), Problem> {
    let removed = match fs::symlink_metadata(old) {
        Ok(found) if found.is_dir() => remove_tree(old),
        Ok(_) => fs::remove_file(old),
        Err(error) => Err(error),
    };
    // The new repository is in place; what is left goes with the temporary folder.
    if let Err(error) = removed {
        tracing::warn!(path = %old.display(), %error, "a replaced repository is not deleted yet");
    }
    Ok(())
}
