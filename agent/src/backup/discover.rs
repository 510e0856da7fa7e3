//! Step 1, discover: walks a storage for bare repositories, in the order of paths, as a stream.
//!
//! Does not own: what is in a repository, or what the base has and the walk does not meet (`absent`). Never follows a
//! symbolic link, so it cannot leave the storage. Temporary folders (`+gitaly` and every other top-level name that starts
//! with `+`) and pools (`@pools`, whose objects are in the bundles of the repositories that borrow them) are passed over.
//! What cannot be read, or looks like a repository and is none, becomes a named failure. Links to folders, and
//! repositories inside a repository, are named. So there is no silent gap.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, RepoFilter, RepoPath, Subject, shell_quoted};

use super::absent::LET_READ;

/// A repository that was found, with what its folder listing already tells.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Path relative to the storage.
    pub path: RepoPath,
    /// Absolute path.
    pub dir: PathBuf,
    /// Whether there is a `custom_hooks` entry.
    pub has_hooks: bool,
    /// Whether there is a `shallow` file.
    pub is_shallow: bool,
}

/// What the walk came upon.
#[derive(Debug)]
pub enum Found {
    /// A repository.
    Repository(Candidate),
    /// Something that should have been one, or could not be looked into.
    Unusable(RepoPath, Problem),
    /// The same, with a name that cannot be stored.
    Unnamable(String, Problem),
    /// A folder that cannot be listed, so that nobody knows which repositories are below it.
    Unreadable(String, Problem),
    /// A symbolic link that leads to a folder.
    Link(String),
    /// A repository inside another one.
    Inner(String),
}

/// What makes a folder a bare repository, and what else lies in one.
pub const PARTS: [&str; 5] = ["HEAD", "objects", "refs", "config", "packed-refs"];
/// Those without which git opens none.
const NEEDED: [&str; 3] = ["HEAD", "objects", "refs"];
/// So many parts, and the folder is a repository, or what is left of one.
const ENOUGH: usize = 3;

/// The parts that a repository must have and this folder has not.
pub fn missing_parts(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    NEEDED.into_iter().filter(|part| !has(part)).collect()
}

/// What of a repository a folder has, each part as what it is in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    parts: usize,
    is_whole: bool,
}

impl Shape {
    /// As these entries show it.
    pub fn of(entries: &[Entry]) -> Self {
        let is_part = |entry: &Entry, part: &str| {
            let is_folder = matches!(part, "objects" | "refs");
            entry.name == part && (entry.is_link || entry.is_dir == is_folder)
        };
        let has = |part: &&str| entries.iter().any(|entry| is_part(entry, part));
        Self { parts: PARTS.iter().filter(|part| has(part)).count(), is_whole: NEEDED.iter().all(has) }
    }

    /// Whether there is anything of a repository.
    pub fn has_a_part(self) -> bool {
        self.parts > 0
    }

    /// Whether the folder is a repository, or has enough parts of one.
    pub fn is_enough(self) -> bool {
        self.is_whole || self.parts >= ENOUGH
    }
}

/// A depth-first walk; yields repositories in ascending order of [`RepoPath`].
pub struct Walk<'a> {
    root: PathBuf,
    filter: &'a RepoFilter,
    /// Folders still to visit, deepest last, each list reversed so that `pop` ascends.
    stack: Vec<Vec<Pending>>,
    /// What the storage's own folder holds that cannot be named.
    found_first: Vec<Found>,
}

struct Pending {
    relative: String,
    dir: PathBuf,
}

/// Top-level folders that hold no repositories of their own.
fn passed_over(depth: usize, name: &str) -> bool {
    depth == 0 && (name.starts_with('+') || name == "@pools" || name == "lost+found")
}

impl<'a> Walk<'a> {
    /// A walk over the storage at `root`, limited to what the filter selects.
    pub fn new(root: &Path, filter: &'a RepoFilter) -> Result<Self, Problem> {
        let mut walk = Self { root: root.to_owned(), filter, stack: Vec::new(), found_first: Vec::new() };
        refuse_repository("read storage", root)?;
        let top = list(root).map_err(|e| {
            let (kind, subject) = match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    (ErrorKind::Invalid, Subject::Configuration)
                }
                _ => (ErrorKind::Denied, Subject::Host),
            };
            Problem::new(kind, subject, "read storage")
                .on(root.display())
                .answered(e)
                .next("check that its file system is mounted, that its path is right, and that the agent may read it")
        })?;
        let (folders, unnamable) = walk.folders(&top, "", root);
        walk.stack.push(folders);
        walk.found_first.extend(links(&top, "", root));
        walk.found_first.extend(unnamable.into_iter().map(not_utf8));
        Ok(walk)
    }

    fn visit(&mut self, pending: Pending, found: &mut Vec<Found>) {
        let Pending { relative, dir } = pending;
        let entries = match list(&dir) {
            Ok(entries) => entries,
            // Deleted since its parent was listed: nothing to back up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let problem = Problem::new(ErrorKind::Denied, Subject::Repository, "read folder")
                    .on(dir.display())
                    .answered(error)
                    .next(LET_READ);
                if self.filter.may_select_below(&relative) {
                    found.push(Found::Unreadable(relative, problem));
                }
                return;
            }
        };
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let missing = missing_parts(has);
        if missing.is_empty() {
            found.extend(inner_repositories(&entries, &relative, &dir));
            return self.repository(relative, dir, has("custom_hooks"), has("shallow"), found);
        }
        let parts = PARTS.into_iter().filter(|name| has(name)).count();
        if relative.ends_with(".git") || parts >= ENOUGH {
            let problem = Problem::new(ErrorKind::Corrupt, Subject::Repository, "open repository")
                .on(dir.display())
                .answered(format!("has no {}", missing.join(", ")))
                .next(restore_it(&relative));
            return self.unusable(&relative, problem, found);
        }
        let (folders, unnamable) = self.folders(&entries, &relative, &dir);
        found.extend(links(&entries, &relative, &dir));
        found.extend(unnamable.into_iter().map(|name| not_utf8(format!("{relative}/{name}"))));
        self.stack.push(folders);
    }

    fn repository(
        &self,
        relative: String,
        dir: PathBuf,
        has_hooks: bool,
        is_shallow: bool,
        found: &mut Vec<Found>,
    ) {
        match relative.parse::<RepoPath>() {
            Ok(path) if self.filter.selects(&path) => {
                found.push(Found::Repository(Candidate { path, dir, has_hooks, is_shallow }));
            }
            Ok(_) => {}
            Err(error) => found.push(Found::Unnamable(relative, error.into())),
        }
    }

    fn unusable(&self, relative: &str, problem: Problem, found: &mut Vec<Found>) {
        match relative.parse::<RepoPath>() {
            Ok(path) if self.filter.selects(&path) => found.push(Found::Unusable(path, problem)),
            Ok(_) => {}
            Err(_) => found.push(Found::Unnamable(relative.to_owned(), problem)),
        }
    }

    /// The folders among `entries`, last first, and names that are not UTF-8.
    fn folders(&self, entries: &[Entry], relative: &str, dir: &Path) -> (Vec<Pending>, Vec<String>) {
        let depth = dir.components().count() - self.root.components().count();
        let (mut folders, mut unnamable) = (Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            match entry.name.to_str() {
                None => unnamable.push(entry.name.to_string_lossy().into_owned()),
                Some(name) if passed_over(depth, name) => {}
                Some(name) => {
                    folders.push(Pending { relative: join(relative, name), dir: dir.join(name) });
                }
            }
        }
        folders.sort_by(|a, b| b.relative.as_bytes().cmp(a.relative.as_bytes()));
        (folders, unnamable)
    }
}

impl Iterator for Walk<'_> {
    type Item = Vec<Found>;

    /// What the next folder that holds anything held; `None` at the end of the walk.
    fn next(&mut self) -> Option<Vec<Found>> {
        let mut found = std::mem::take(&mut self.found_first);
        while found.is_empty() {
            let top = self.stack.last_mut()?;
            match top.pop() {
                Some(pending) => self.visit(pending, &mut found),
                None => {
                    self.stack.pop();
                }
            }
        }
        Some(found)
    }
}

fn not_utf8(name: String) -> Found {
    let problem = Problem::new(ErrorKind::Invalid, Subject::Repository, "read folder")
        .on(&name)
        .answered("its name is not UTF-8, so it cannot be stored")
        .next("rename it");
    Found::Unnamable(name, problem)
}

/// A storage is a folder of repositories. One that is a repository, or lies in one, is the wrong folder.
pub fn refuse_repository(what: &str, root: &Path) -> Result<(), Problem> {
    let real = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let Some(repository) = real.ancestors().find(|dir| is_repository(dir)) else { return Ok(()) };
    let answer = if repository == real { "it is a repository" } else { "it lies inside a repository" };
    let next = match repository.parent() {
        Some(parent) => format!("name the folder that holds the repositories: {}", parent.display()),
        None => "name the folder that holds the repositories".to_owned(),
    };
    Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, what)
        .on(root.display())
        .answered(format!("{answer}, not a folder of repositories"))
        .next(next))
}

/// Symbolic links among `entries` that lead to a folder.
fn links(entries: &[Entry], relative: &str, dir: &Path) -> Vec<Found> {
    let leads_to_folder = |entry: &&Entry| {
        entry.is_link && fs::metadata(dir.join(&entry.name)).is_ok_and(|found| found.is_dir())
    };
    let links = entries.iter().filter(leads_to_folder);
    links.map(|entry| Found::Link(join(relative, &entry.name.to_string_lossy()))).collect()
}

fn join(relative: &str, name: &str) -> String {
    if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") }
}

/// Whether a folder has all that git needs to open it as a repository.
pub fn is_repository(dir: &Path) -> bool {
    missing_parts(|part| fs::symlink_metadata(dir.join(part)).is_ok()).is_empty()
}

/// The next step for a repository that lacks a part. It never removes the repository: that may be the only copy.
pub fn restore_it(path: &str) -> String {
    let path = shell_quoted(path);
    format!(
        "its last good state is in the backups that `backupctl find {path}` names: `backupctl restore ID --repository {path} \
         --force` brings it back; what never was a repository is moved out of the storage"
    )
}

/// The next step for a damaged repository; `which` names the state that a restore brings back.
pub fn examine_it(path: &str, dir: &Path, which: &str) -> String {
    let (path, dir) = (shell_quoted(path), dir.display().to_string());
    format!(
        "`git --git-dir={} fsck --full` shows what is damaged, and repairs nothing; {which} is in the backups that `backupctl \
         find {path}` names: `backupctl restore ID --repository {path} --as-of-last-good --force` puts it in place of what is \
         there now",
        shell_quoted(&dir)
    )
}

/// The same where nobody knows whether a backup has it.
pub fn examine_failed(path: &str, dir: &Path) -> String {
    examine_it(path, dir, "its last good state, if there is one,")
}

/// Folders that git makes in a repository, and Gitaly. Nobody looks there for repositories while a backup is made, because
/// nearly every repository has most of them; a restore does before it removes one (`restore/inside`).
const OWN_FOLDERS: [&str; 10] =
    ["objects", "refs", "hooks", "info", "logs", "branches", "custom_hooks", "worktrees", "reftable", "lfs"];

/// Repositories inside a repository, such as those of submodules, and what is left of such: they are named, and not backed up.
fn inner_repositories(entries: &[Entry], relative: &str, dir: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let foreign = |entry: &&Entry| entry.is_dir && !OWN_FOLDERS.iter().any(|own| entry.name == *own);
    let mut folders: Vec<(String, PathBuf)> = entries
        .iter()
        .filter(foreign)
        .map(|entry| (join(relative, &entry.name.to_string_lossy()), dir.join(&entry.name)))
        .collect();
    while let Some((relative, dir)) = folders.pop() {
        // What cannot be listed, or has just gone, is nothing that the backup promises.
        let Ok(entries) = list(&dir) else { continue };
        if Shape::of(&entries).is_enough() {
            found.push(Found::Inner(relative));
            continue;
        }
        let below = entries.iter().filter(|entry| entry.is_dir);
        folders.extend(
            below.map(|entry| (join(&relative, &entry.name.to_string_lossy()), dir.join(&entry.name))),
        );
    }
    found
}

/// A name in a folder, and what it is called for.
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// Whether it is a folder, and no link to one.
    pub is_dir: bool,
    /// Whether it is a symbolic link.
    pub is_link: bool,
}

/// What is in a folder.
pub fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Of a symbolic link this is the link's own type, so links are never entered.
        let kind = entry.file_type()?;
        entries.push(Entry { is_dir: kind.is_dir(), is_link: kind.is_symlink(), name: entry.file_name() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(root: &Path, relative: &str) {
        for folder in ["objects", "refs"] {
            fs::create_dir_all(root.join(relative).join(folder)).expect("create");
        }
        fs::write(root.join(relative).join("HEAD"), "ref: refs/heads/main\n").expect("write");
    }

    fn walk(root: &Path, filter: &RepoFilter) -> Vec<String> {
        let found = Walk::new(root, filter).expect("readable root").flatten();
        found
            .map(|found| match found {
                Found::Repository(candidate) => candidate.path.to_string(),
                Found::Unusable(path, _) => format!("!{path}"),
                Found::Unnamable(name, _) => format!("?{name}"),
                Found::Unreadable(name, _) => format!("-{name}"),
                Found::Link(name) => format!("@{name}"),
                Found::Inner(name) => format!("+{name}"),
            })
            .collect()
    }

    #[test]
    fn repositories_come_in_path_order_and_nothing_else_does() {
        let root = tempfile::tempdir().expect("temp folder");
        for relative in ["b.git", "a-b/x.git", "a/x.git", "a.git", "@pools/p.git", "+gitaly/t.git"] {
            repository(root.path(), relative);
        }
        fs::create_dir_all(root.path().join("a/broken.git/refs")).expect("create");
        fs::create_dir_all(root.path().join("empty/deep")).expect("create");
        let all = walk(root.path(), &RepoFilter::default());
        assert_eq!(all, ["!a/broken.git", "a/x.git", "a-b/x.git", "a.git", "b.git"]);
        let mut sorted: Vec<RepoPath> =
            all.iter().map(|p| p.trim_start_matches('!').parse().expect("valid")).collect();
        sorted.sort();
        let sorted: Vec<_> = sorted.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a/broken.git", "a/x.git", "a-b/x.git", "a.git", "b.git"]);
    }

    #[test]
    fn what_is_not_entered_is_named() {
        let root = tempfile::tempdir().expect("temp folder");
        let root = root.path();
        repository(root, "a/x.git");
        repository(root, "a/x.git/nested.git");
        repository(root, "w/.git");
        repository(root, "w/.git/modules/group/lib");
        repository(root, "y.git");
        repository(root, "y.git/modules/headless");
        let headless = root.join("y.git/modules/headless");
        fs::rename(headless.join("HEAD"), headless.join("config")).expect("rename");
        fs::create_dir_all(root.join("a/x.git/objects/pack")).expect("create");
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).expect("link");
        link("a", "link");
        link("../w", "a/other");
        link("nowhere", "dangling");
        link("a/x.git/HEAD", "file");
        let all = walk(root, &RepoFilter::default());
        let expected = [
            "@link",
            "@a/other",
            "+a/x.git/nested.git",
            "a/x.git",
            "+w/.git/modules/group/lib",
            "w/.git",
            "+y.git/modules/headless",
            "y.git",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_repository_without_suffix_that_lost_a_part_is_named() {
        let root = tempfile::tempdir().expect("temp folder");
        for lost in ["HEAD", "objects", "refs"] {
            let name = format!("no-{lost}");
            repository(root.path(), &name);
            let dir = root.path().join(&name);
            fs::write(dir.join("config"), "").expect("write");
            match lost {
                "HEAD" => fs::remove_file(dir.join(lost)).expect("remove"),
                _ => fs::remove_dir(dir.join(lost)).expect("remove"),
            }
        }
        assert_eq!(walk(root.path(), &RepoFilter::default()), ["!no-HEAD", "!no-objects", "!no-refs"]);
    }

    #[test]
    fn a_storage_that_is_a_repository_is_refused_with_the_right_folder() {
        let root = tempfile::tempdir().expect("temp folder");
        repository(root.path(), "group/x.git");
        let filter = RepoFilter::default();
        for path in ["group/x.git", "group/x.git/objects"] {
            let refused = Walk::new(&root.path().join(path), &filter).err().expect("refused");
            assert_eq!(refused.kind, ErrorKind::Invalid);
            let next = refused.next.expect("a next step");
            assert!(next.ends_with("/group"), "{path}: {next}");
        }
    }

    #[test]
    fn the_filter_limits_what_is_found() {
        let root = tempfile::tempdir().expect("temp folder");
        repository(root.path(), "a/x.git");
        repository(root.path(), "b/y.git");
        let filter = RepoFilter::new(vec!["b".parse().expect("valid")], vec![]);
        assert_eq!(walk(root.path(), &filter), ["b/y.git"]);
        assert!(Walk::new(&root.path().join("none"), &filter).is_err());
    }
}
