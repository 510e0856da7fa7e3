//! What there is to back up: two storages, a directory and, in one scene, a database, as they are for the first run and,
//! changed, for the second.
//!
//! Does not own: copies of them, which points work on and may change. One repository, or where there is a database the
//! directory, is larger than a part of an upload, before and after the change; one repository is empty, one has hooks,
//! and one does not change.

use std::{collections::BTreeMap, fs, path::Path};

use packhorse_testkit::{GitRepo, RepoState, TreeState};
use tempfile::TempDir;

use super::{
    forge::{Database, Forge, Tables},
    point::{Phase, Scene},
};
use crate::system::site::{copy, noise};

/// The repositories, by their paths below the site.
const REPOSITORIES: [&str; 6] =
    ["one/empty.git", "one/hooked.git", "one/large.git", "one/team/app.git", "two/quiet.git", "two/wiki.git"];
/// Bytes of a file that becomes an upload of several parts.
const LARGE: usize = 9 << 20;
/// Bytes of a file that does not.
const SMALL: usize = 100_000;

/// What a backup has to bring back.
#[derive(Clone)]
pub struct States {
    repositories: BTreeMap<&'static str, RepoState>,
    blobs: TreeState,
    tables: Option<Tables>,
}

impl States {
    /// What is in a folder, and in a database.
    pub fn of(folder: &Path, database: Option<&Database>) -> Self {
        let state = |path| (path, GitRepo::open(folder.join(path)).state());
        Self {
            repositories: REPOSITORIES.into_iter().map(state).collect(),
            blobs: TreeState::of(folder.join("blobs")),
            tables: database.map(Database::tables),
        }
    }

    /// Compares everything, and panics with the differences.
    #[track_caller]
    pub fn assert_are(&self, found: &Self, of: &str) {
        for (path, state) in &self.repositories {
            let differences = state.differences(&found.repositories[path]);
            assert!(differences.is_empty(), "{of}: {path}:\n{}", differences.join("\n"));
        }
        TreeState::assert_same(&self.blobs, &found.blobs);
        assert_eq!(self.tables, found.tables, "{of}: the database");
    }
}

/// The storages before and after the change.
pub struct Storages {
    folder: TempDir,
    forge: Option<Forge>,
    full: States,
    increment: States,
}

impl Storages {
    pub fn new(scene: Scene) -> Self {
        let folder = tempfile::Builder::new().prefix("packhorse-crashes-").tempdir();
        let folder = folder.expect("temporary folder");
        let (full, increment) = (folder.path().join("full"), folder.path().join("increment"));
        let (noise, blobs) = match scene {
            Scene::Plain => (LARGE, SMALL),
            Scene::Database => (SMALL, LARGE),
        };
        make(&full, noise, blobs);
        copy(&full, &increment);
        change(&increment, noise);
        let forge = (scene == Scene::Database).then(Forge::start);
        let [full, increment] = [(Phase::Full, full), (Phase::Increment, increment)].map(|(phase, path)| {
            let database = forge.as_ref().map(|forge| forge.copy(phase));
            States::of(&path, database.as_ref())
        });
        Self { folder, forge, full, increment }
    }

    /// A copy of the database as it is at a run, where there is one.
    pub fn database(&self, phase: Phase) -> Option<Database> {
        self.forge.as_ref().map(|forge| forge.copy(phase))
    }

    /// What a backup of this run has to bring back.
    pub fn states(&self, phase: Phase) -> &States {
        match phase {
            Phase::Full => &self.full,
            Phase::Increment => &self.increment,
        }
    }

    /// Copies what there is at a run into a site.
    pub fn copy_to(&self, phase: Phase, site: &Path) {
        let from = self.folder.path().join(if phase == Phase::Full { "full" } else { "increment" });
        copy(&from, site);
    }
}

fn make(folder: &Path, bytes: usize, blobs: usize) {
    for (number, path) in REPOSITORIES.iter().enumerate() {
        let repo = GitRepo::init(folder.join(path));
        if !path.contains("empty") {
            repo.fill("main", number + 2);
        }
    }
    let repo = |path: &str| GitRepo::open(folder.join(path));
    repo("one/large.git").commit("main", &[("noise", noise(1, bytes))]);
    repo("one/hooked.git").set_hook("pre-receive", "#!/bin/sh\nexit 0\n", 0o755);
    fs::create_dir(folder.join("blobs")).expect("create folder");
    for (name, seed, bytes) in [("first", 2, blobs), ("second", 3, SMALL)] {
        fs::write(folder.join("blobs").join(name), noise(seed, bytes)).expect("write file");
    }
}

fn change(folder: &Path, bytes: usize) {
    let repo = |path: &str| GitRepo::open(folder.join(path));
    repo("one/large.git").commit("main", &[("more", noise(4, bytes))]);
    repo("one/hooked.git").set_hook("update", "#!/bin/sh\nexit 0\n", 0o755);
    let tip = repo("one/team/app.git").fill("topic", 2);
    repo("one/team/app.git").tag_annotated("v1", &tip);
    repo("two/wiki.git").fill("main", 1);
    fs::write(folder.join("blobs/third"), noise(5, 50_000)).expect("write file");
}

/// What changes between a crash and the run after it.
pub const MOVED: [&str; 3] = ["one/team/app.git", "two/wiki.git", "one/empty.git"];

/// Changes a site between a crash and the run after it.
pub fn change_once_more(site: &Path) {
    for (path, branch) in MOVED.into_iter().zip(["topic", "main", "main"]) {
        GitRepo::open(site.join(path)).fill(branch, 1);
    }
}
