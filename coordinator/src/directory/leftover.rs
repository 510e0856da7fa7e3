//! What a restore that died left in its working folder: whether the target is whole without it, and how it is made good.
//!
//! Does not own: making such a folder (`staging`). A target is not whole while its swap of single entries is half done, or
//! while something that the swap had to keep is still in the old tree: then no backup of it is complete. A forced restore
//! first undoes such a swap, when the record proves which entries came from the new tree; each entry moves by one rename
//! that replaces nothing, so dying once more changes nothing. What cannot be proven is left, with what to do by hand.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_service::places::{self, Place};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};

use super::{
    carry::insist,
    failure::local,
    kept::{Kept, Swap},
    remove::remove_tree,
    staging::{SWAPPED, prefix},
};

const WHAT: &str = "restore directory";

/// The working folder of a restore that died.
pub(super) struct Leftover {
    folder: PathBuf,
    target: PathBuf,
    /// Whether it lies in the target, whose entries were swapped one by one.
    inside: bool,
}

impl Leftover {
    /// All that lie in a target, or beside it.
    pub(super) fn all(target: &Path, inside: bool) -> io::Result<Vec<Self>> {
        let (parent, name) = match inside {
            true => (target, None),
            false => (target.parent().unwrap_or(target), target.file_name()),
        };
        let prefix = prefix(name);
        let mut found = Vec::new();
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) && entry.file_type()?.is_dir() {
                found.push(Self { folder: entry.path(), target: target.to_owned(), inside });
            }
        }
        Ok(found)
    }

    /// Refuses one that is none, or that nobody can see to but the operator; `force` is whether a swap may be undone.
    pub(super) fn check(&self, others: &[Place], force: bool) -> Result<(), Problem> {
        let folder = self.folder.display();
        let lock = File::open(&self.folder).map_err(|error| self.failed(error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Problem::new(ErrorKind::AlreadyExists, Subject::Directory, WHAT)
                .on(folder)
                .answered("another restore of this directory is running")
                .next("wait for its end"));
        }
        if let Some(place) = places::first_within(&self.folder, others)? {
            return Err(Problem::new(ErrorKind::Invalid, Subject::Directory, WHAT)
                .on(folder)
                .answered(format!("{place} lies in what looks like the leftovers of a restore"))
                .next("give it another folder"));
        }
        if self.inside && self.is_half_swapped().map_err(|error| self.failed(error))? {
            let proven = self.proven();
            if !force || proven.is_err() {
                return Err(self.half_swapped(proven.err()));
            }
        }
        Ok(())
    }

    /// Whether it holds the whole target, which was moved away and has nothing in its place.
    pub(super) fn is_the_target(&self) -> bool {
        !self.inside && self.old().exists() && !self.target.exists()
    }

    /// Makes good what can be, and removes the folder.
    pub(super) fn settle(&self) -> Result<(), Problem> {
        if self.is_the_target() {
            fs::rename(self.old(), &self.target).map_err(|error| self.failed(error))?;
        } else if self.inside && self.is_half_swapped().map_err(|error| self.failed(error))? {
            self.undo().map_err(|why| self.half_swapped(Some(why)))?;
        }
        if let Err(answer) = self.finish_carrying() {
            tracing::warn!(folder = %self.folder.display(), answer, "left in place: it holds what a restore had to keep");
        } else if let Err(error) = remove_tree(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "leftovers of a dead restore are not removed");
        }
        Ok(())
    }

    /// Whether a backup of the target would lack something. What cannot be looked at is taken to be so.
    fn holds_a_part(&self) -> bool {
        let half = match self.inside {
            true => self.is_half_swapped(),
            // The target was moved away, and it is not the new tree that is at its place.
            false => exists(&self.old()).and_then(|old| Ok(old && exists(&self.new_tree())?)),
        };
        half.unwrap_or(true)
            || match self.recorded() {
                Ok(Some((kept, old))) => kept.find(&old).map_or(true, |found| !found.is_empty()),
                Ok(None) => false,
                Err(_) => true,
            }
    }

    fn is_half_swapped(&self) -> io::Result<bool> {
        Ok(exists(&self.old())? && !exists(&self.folder.join(SWAPPED))?)
    }

    /// The entries of the target that came from the new tree, by the record of the swap.
    fn proven(&self) -> Result<BTreeSet<Vec<u8>>, String> {
        let told = |error: io::Error| error.to_string();
        let Some(Swap { mut kept, new }) = Kept::swap(&self.folder, &self.old()).map_err(told)? else {
            return Err("it has no record of what it swapped".to_owned());
        };
        let mut came = BTreeSet::new();
        for name in new {
            let at = |folder: &Path| exists(&folder.join(OsStr::from_bytes(&name)));
            if at(&self.target).map_err(told)? && !at(&self.new_tree()).map_err(told)? {
                came.insert(name);
            }
        }
        // What is excluded was written since then, and would be removed with the new tree.
        kept.paths.clear();
        let found = kept.find(&self.target).map_err(|(path, why)| format!("{}: {why}", path.display()))?;
        let since = found.iter().find(|path| {
            let top = path.split(|byte| *byte == b'/').next().unwrap_or(path);
            came.contains(top)
        });
        match since {
            Some(path) => Err(format!("{} is excluded and was written since", String::from_utf8_lossy(path))),
            None => Ok(came),
        }
    }

    /// Moves back what came, and then what was there before.
    fn undo(&self) -> Result<(), String> {
        for name in self.proven()? {
            back(&self.target, &self.new_tree(), &name)?;
        }
        let told = |error: io::Error| error.to_string();
        for entry in fs::read_dir(self.old()).map_err(told)? {
            let name: OsString = entry.map_err(told)?.file_name();
            back(&self.old(), &self.target, &name.into_vec())?;
        }
        let target = File::open(&self.target).map_err(told)?;
        syncfs(&target).map_err(|error| error.to_string())?;
        fs::remove_dir(self.old()).map_err(told)
    }

    /// Carries over what a restore that died after its swap had to keep of the old tree.
    fn finish_carrying(&self) -> Result<(), String> {
        let Some((kept, old)) = self.recorded().map_err(|error| error.to_string())? else { return Ok(()) };
        kept.carry(&old, &self.target).map_err(|(path, why)| format!("{}: {why}", path.display()))
    }

    fn recorded(&self) -> io::Result<Option<(Kept, PathBuf)>> {
        Kept::recorded(&self.folder, &[self.new_tree(), self.old()])
    }

    fn old(&self) -> PathBuf {
        self.folder.join("old")
    }

    fn new_tree(&self) -> PathBuf {
        self.folder.join("new")
    }

    fn failed(&self, error: io::Error) -> Problem {
        local("remove leftovers of a dead restore", self.folder.display(), error)
    }

    fn half_swapped(&self, why: Option<String>) -> Problem {
        let problem = Problem::new(ErrorKind::AlreadyExists, Subject::Directory, WHAT);
        let answer = "an earlier restore died while it swapped entries, and what was there before is here";
        let (old, target) = (quoted(&self.old()), quoted(&self.target));
        match why {
            None => problem.on(self.old().display()).answered(answer).next("restore it again with --force"),
            Some(why) => problem.on(self.old().display()).answered(format!("{answer}; {why}")).next(format!(
                "run `find {old} -mindepth 1 -maxdepth 1 -exec mv -n -t {target} {{}} + && rmdir {old}`, then restore \
                 again with --force; what is left there has a newer entry of its name in the directory: move one of \
                 them away first"
            )),
        }
    }
}

/// What holds a part of this directory, because a restore of it died.
pub(super) fn part_of(target: &Path) -> io::Result<Option<PathBuf>> {
    let target = target.canonicalize()?;
    let inside = Leftover::all(&target, true)?;
    // Who may not look there could not have been told of it either.
    let beside = Leftover::all(&target, false).unwrap_or_default();
    let mut all = inside.into_iter().chain(beside);
    Ok(all.find(Leftover::holds_a_part).map(|leftover| leftover.folder))
}

fn back(from: &Path, to: &Path, name: &[u8]) -> Result<(), String> {
    let name = OsStr::from_bytes(name);
    let (from, to) = (from.join(name), to.join(name));
    let folder = fs::symlink_metadata(&from).is_ok_and(|found| found.is_dir());
    let folder = folder.then(|| File::open(&from).ok()).flatten();
    let rename = || renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE);
    insist(folder.iter().map(std::os::fd::AsFd::as_fd), rename)
        .map_err(|error| format!("{}: {}", to.display(), io::Error::from(error)))
}

fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
