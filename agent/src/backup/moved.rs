//! Repositories that came to a path which the walk had passed already.
//!
//! Does not own: the walk. One that is renamed while its storage is walked may be met under neither name: the old one is
//! gone when the walk comes to it, and the new one was not there yet. A storage from which something is gone is therefore
//! looked through again when everything in it has been read. Who was made before the walk began, and was not met by it,
//! was elsewhere then; who is younger is new, and belongs to the next backup.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    path::Path,
    time::SystemTime,
};

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject};

use super::{
    Run,
    discover::{Candidate, Found, PARTS, Walk},
    watch::Watch,
};

/// What the walk has met, eight bytes for each.
#[derive(Debug)]
pub struct Met {
    began: SystemTime,
    hasher: RandomState,
    /// Numbers of paths, sorted when they are looked for.
    paths: Vec<u64>,
}

impl Met {
    /// Nothing yet, by a walk that begins now.
    pub fn now() -> Self {
        Self { began: SystemTime::now(), hasher: RandomState::new(), paths: Vec::new() }
    }

    /// Notes that the walk met a path.
    pub fn add(&mut self, path: &RepoPath) {
        self.paths.push(self.hasher.hash_one(path.as_str()));
    }

    /// Looks through the storage again: repositories that were there and were not met. Blocking.
    pub fn not_met(mut self, run: &Run, watch: &Watch) -> Result<Vec<(String, Problem)>, Problem> {
        watch.this_thread();
        self.paths.sort_unstable();
        let mut not_met = Vec::new();
        for found in Walk::new(&run.root, &run.filter)?.flatten() {
            watch.moved(1);
            if run.begins_nothing() {
                return Err(Problem::cancelled("walk storage").on(&run.storage));
            }
            let (Found::Repository(Candidate { path, .. }) | Found::Unusable(path, _)) = found else {
                continue;
            };
            let met = self.paths.binary_search(&self.hasher.hash_one(path.as_str())).is_ok();
            if !met && is_older(&run.root.join(path.as_str()), self.began) {
                not_met.push((path.to_string(), came_late(&path)));
            }
        }
        Ok(not_met)
    }
}

/// Whether a repository was made before a time. Where the file system does not tell when, its oldest part does.
fn is_older(dir: &Path, than: SystemTime) -> bool {
    match fs::symlink_metadata(dir).and_then(|found| found.created()) {
        Ok(created) => created < than,
        Err(_) => {
            let parts = PARTS.iter().filter_map(|part| fs::symlink_metadata(dir.join(part)).ok());
            parts.filter_map(|part| part.modified().ok()).min().is_some_and(|oldest| oldest < than)
        }
    }
}

fn came_late(path: &RepoPath) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Repository, "find repository")
        .on(path)
        .answered("it was moved to this path while the storage was backed up, and was met under no other")
        .leaving("this backup may not have it under any name")
        .next("back up again: backupctl create")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_repository_is_as_old_as_before() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = |name: &str| folder.path().join(name);
        let make = |name: &str| {
            fs::create_dir(path(name)).expect("create");
            fs::metadata(path(name)).and_then(|found| found.created()).expect("a time")
        };
        let first = make("from.git");
        let mut number = 0;
        // File systems have a coarse clock.
        let later = std::iter::repeat_with(|| {
            number += 1;
            make(&number.to_string())
        });
        let between = later.into_iter().find(|time| *time > first).expect("time goes on");
        fs::rename(path("from.git"), path("to.git")).expect("rename");
        make("from.git");
        assert_eq!(["to.git", "from.git"].map(|name| is_older(&path(name), between)), [true, false]);
    }
}
