//! What lies at the place of a repository that a forced restore would remove, and is in no backup of that repository: then
//! the place is not touched.
//!
//! Does not own: replacing (`place`), or who borrows from it elsewhere (`borrowers`). Everything below the place is looked
//! through by its names, as the removal would go through it, so nobody can hide something in a folder that git makes. Files
//! are read only where names of refs look like a repository. What cannot be looked into may hold anything, and is not removed
//! either. No link is followed: a removal takes the link, and leaves what it leads to.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_service::places::Mounts;

use crate::{
    backup::{Shape, list},
    restore::io_problem::io_problem,
};

/// Folders at a repository's top that hold files named as somebody names refs.
const OF_REFS: [&str; 2] = ["refs", "logs"];
/// Bytes that tell a ref, or a line of a reflog: the letters of the shortest hash.
const REF: usize = 40;

/// Refuses a place that holds what is not replaced. Blocking.
pub(super) fn refuse_others(place: &Path) -> Result<(), Problem> {
    let failed = |error: io::Error| io_problem("look at folder", place.display(), &error);
    match fs::symlink_metadata(place) {
        // Of a link only itself is replaced.
        Ok(found) if found.is_symlink() => return Ok(()),
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(other(place, "it is a file, and no repository".to_owned(), MOVE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    let entries = list(place).map_err(failed)?;
    if !entries.is_empty() && !Shape::of(&entries).has_a_part() {
        let answer = "it is a folder with other contents, and no repository".to_owned();
        return Err(other(place, answer, MOVE));
    }
    refuse_mounts(place)?;
    if let Some(found) = inner(place)? {
        return Err(other(place, format!("another repository lies in it: {}", found.display()), MOVE));
    }
    refuse_worktrees(place)
}

const MOVE: &str = "move it away, or restore to another storage";

fn other(place: &Path, answer: String, next: &str) -> Problem {
    Problem::new(ErrorKind::AlreadyExists, Subject::Repository, "restore repository")
        .on(place.display())
        .answered(answer)
        .leaving("it was not touched")
        .next(next)
}

/// A file system that is mounted in it would be taken along, and stays mounted until somebody unmounts it.
fn refuse_mounts(place: &Path) -> Result<(), Problem> {
    let real = fs::canonicalize(place).map_err(|e| io_problem("look at folder", place.display(), &e))?;
    let mounts = Mounts::read()?;
    let Some(point) = mounts.below(&real) else { return Ok(()) };
    let answer = format!("a file system is mounted in it, at {}", point.display());
    let next = format!("unmount it (umount {}), or restore to another storage", point.display());
    let refused = other(place, answer, &next);
    Err(Problem { kind: ErrorKind::Invalid, ..refused })
}

/// Where a folder lies in the repository.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Anywhere,
    /// Among refs or their logs, where folders are called as somebody likes.
    AmongRefs,
    /// In the folder where git keeps what belongs to linked worktrees.
    AmongWorktrees,
}

impl Where {
    fn below(self, at_top: bool, name: &str) -> Self {
        match self {
            Self::Anywhere if at_top && OF_REFS.contains(&name) => Self::AmongRefs,
            Self::Anywhere if at_top && name == "worktrees" => Self::AmongWorktrees,
            below => below,
        }
    }
}

/// The first repository, or what is left of one, that lies in the repository at `place`, by its path there.
fn inner(place: &Path) -> Result<Option<PathBuf>, Problem> {
    let mut folders = vec![(PathBuf::new(), Where::Anywhere)];
    while let Some((folder, kind)) = folders.pop() {
        let dir = place.join(&folder);
        let at_top = folder.as_os_str().is_empty();
        let entries = match list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| unknown(&dir, &error))?,
        };
        if !at_top && is_another(&dir, kind, Shape::of(&entries))? {
            return Ok(Some(folder));
        }
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let kind = kind.below(at_top, &entry.name.to_string_lossy());
            folders.push((folder.join(entry.name), kind));
        }
    }
    Ok(None)
}

/// Whether the folder is a repository, or what is left of one.
fn is_another(dir: &Path, kind: Where, shape: Shape) -> Result<bool, Problem> {
    let by_name = dir.extension().is_some_and(|extension| extension == "git") && shape.has_a_part();
    match kind {
        Where::Anywhere => Ok(shape.is_enough() || by_name),
        // A worktree may be called like a repository, and has a HEAD.
        Where::AmongWorktrees => Ok(shape.is_enough()),
        Where::AmongRefs if shape.is_enough() || by_name => holds_more_than_refs(dir),
        Where::AmongRefs => Ok(false),
    }
}

/// Whether there is a file in the folder, however deep, that is neither a ref nor the log of one.
fn holds_more_than_refs(dir: &Path) -> Result<bool, Problem> {
    let mut folders = vec![dir.to_owned()];
    while let Some(dir) = folders.pop() {
        for entry in list(&dir).map_err(|error| unknown(&dir, &error))? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                folders.push(path);
            } else if !entry.is_link && !is_ref(&path).map_err(|error| unknown(&path, &error))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the file begins as a ref or a reflog does; an empty one is a ref that a crash left.
fn is_ref(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    if fs::symlink_metadata(path)?.is_file() {
        File::open(path)?.take(REF as u64).read_to_end(&mut start)?;
    }
    let is_hash = start.len() == REF && start.iter().all(u8::is_ascii_hexdigit);
    Ok(start.is_empty() || is_hash || start.starts_with(b"ref:"))
}

/// A linked worktree has its index and HEAD in the repository, and all objects from it.
fn refuse_worktrees(place: &Path) -> Result<(), Problem> {
    let real = fs::canonicalize(place).map_err(|error| unknown(place, &error))?;
    let folder = real.join("worktrees");
    let entries = match list(&folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        entries => entries.map_err(|error| unknown(&folder, &error))?,
    };
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        let admin = folder.join(&entry.name);
        if let Some(worktree) = worktree_of(&admin).filter(|worktree| !worktree.starts_with(&real)) {
            let answer = format!("a linked worktree works with it: {}", worktree.display());
            return Err(other(
                place,
                answer,
                "remove the worktree (git worktree remove), or restore to another storage",
            ));
        }
    }
    Ok(())
}

/// The worktree that an entry of `worktrees` is of; none when it is not there any more.
fn worktree_of(admin: &Path) -> Option<PathBuf> {
    let content = fs::read(admin.join("gitdir")).ok()?;
    let named = String::from_utf8_lossy(&content);
    let file = admin.join(named.trim_end_matches('\n'));
    fs::symlink_metadata(&file).ok()?;
    let folder = fs::canonicalize(file.parent()?).ok()?;
    Some(folder)
}

fn unknown(path: &Path, error: &io::Error) -> Problem {
    io_problem("look for other repositories", path.display(), error)
        .leaving("the repository was not replaced")
        .next("let the agent's user read it, or move the repository away")
}
