//! Step 1, discover: walks a storage for bare repositories, in the order of paths, as a stream.
//!
//! Does not own: what is in a repository. Never follows a symbolic link, so it cannot leave the storage. Temporary
//! folders (`+gitaly` and every other top-level name that starts with `+`) and pools (`@pools`, whose objects are in
//! the bundles of the repositories that borrow them) are passed over. What cannot be read, or looks like a repository
//! and is none, becomes a named failure, never a silent gap.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, RepoFilter, RepoPath, Subject};

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
                .next("check the storage's path and that the agent may read it")
        })?;
        let (folders, unnamable) = walk.folders(&top, "", root);
        walk.stack.push(folders);
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
                    .next("let the agent's user read it");
                return self.unusable(&relative, problem, found);
            }
        };
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        if has("HEAD") && has("objects") && has("refs") {
            return self.repository(relative, dir, has("custom_hooks"), has("shallow"), found);
        }
        if relative.ends_with(".git") {
            let missing: Vec<&str> =
                ["HEAD", "objects", "refs"].into_iter().filter(|name| !has(name)).collect();
            let problem = Problem::new(ErrorKind::Corrupt, Subject::Repository, "open repository")
                .on(dir.display())
                .answered(format!("has no {}", missing.join(", ")))
                .next("repair the repository, or remove the folder");
            return self.unusable(&relative, problem, found);
        }
        let (folders, unnamable) = self.folders(&entries, &relative, &dir);
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
                    let relative =
                        if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
                    folders.push(Pending { relative, dir: dir.join(name) });
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

struct Entry {
    name: OsString,
    is_dir: bool,
}

fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Of a symbolic link this is the link's own type, so links are never entered.
        entries.push(Entry { is_dir: entry.file_type()?.is_dir(), name: entry.file_name() });
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
            })
            .collect()
    }

    #[test]
    fn repositories_come_in_path_order_and_nothing_else_does() {
        let root = tempfile::tempdir().expect("temp folder");
        for relative in ["b.git", "a-b/x.git", "a/x.git", "a.git", "@pools/p.git", "+gitaly/t.git"] {
            repository(root.path(), relative);
        }
        repository(root.path(), "a/x.git/nested.git");
        fs::create_dir_all(root.path().join("a/broken.git/refs")).expect("create");
        fs::create_dir_all(root.path().join("empty/deep")).expect("create");
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).expect("link");
        let all = walk(root.path(), &RepoFilter::default());
        assert_eq!(all, ["!a/broken.git", "a/x.git", "a-b/x.git", "a.git", "b.git"]);
        let mut sorted: Vec<RepoPath> =
            all.iter().map(|p| p.trim_start_matches('!').parse().expect("valid")).collect();
        sorted.sort();
        let sorted: Vec<_> = sorted.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a/broken.git", "a/x.git", "a-b/x.git", "a.git", "b.git"]);
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
