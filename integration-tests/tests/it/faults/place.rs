//! A small site on a fault store, and what every test of it asks of a backup.
//!
//! Does not own: which faults there are. One repository is larger than a part, so uploads take part too.

use std::{fs, path::Path};

use packhorse_testkit::{Backupctl, FaultyS3, GitRepo, RepoState};

use crate::system::site::{Site, copy, listed, noise};

/// Paths of the repositories.
const REPOSITORIES: [&str; 3] = ["large.git", "team/small.git", "team/other.git"];

/// A storage, a configuration, and a store of its own.
pub struct Place {
    pub site: Site,
    pub server: FaultyS3,
}

/// What each repository has to be.
pub type States = Vec<RepoState>;

impl Place {
    /// A site with fresh repositories.
    pub fn new(budget: &str) -> Self {
        let place = Self::empty(budget);
        make_storage(&place.site.path("storage"));
        place
    }

    /// A site with a copy of repositories that were made once.
    pub fn with_copy_of(storage: &Path, budget: &str) -> Self {
        let place = Self::empty(budget);
        copy(storage, &place.site.path("storage"));
        place
    }

    fn empty(budget: &str) -> Self {
        let place = Self { site: Site::new(), server: FaultyS3::start() };
        place.configure(budget);
        place
    }

    /// Writes the configuration, with this retry budget.
    pub fn configure(&self, budget: &str) {
        let vault = self.server.vault_section("v");
        let storage =
            format!("[[storage]]\nname = 'default'\npath = '{}'\n", self.site.path("storage").display());
        self.site.write("packhorse.toml", &format!("{vault}retry_budget = '{budget}'\n{storage}"));
    }

    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        self.site.ctl("packhorse.toml", args).envs(self.server.env("ctl"))
    }

    pub fn create(&self, id: &str) -> Backupctl {
        self.ctl(["create", "--backup-id", id])
    }

    /// A call that restores a backup into a folder of its own.
    pub fn restore(&self, id: &str, folder: &Path) -> Backupctl {
        fs::create_dir_all(folder).expect("create the target");
        self.ctl(["restore", id]).arg(format!("--storage=default={}", folder.display()))
    }

    pub fn repo(&self, path: &str) -> GitRepo {
        GitRepo::open(self.site.path("storage").join(path))
    }

    /// Commits to two repositories; a large file, when it is to be large.
    pub fn change(&self, large: Option<u64>) {
        self.repo("team/small.git").fill("main", 2);
        if let Some(seed) = large {
            self.repo("large.git").commit("main", &[("more", noise(seed, 9 << 20))]);
        }
    }

    pub fn states(&self) -> States {
        REPOSITORIES.iter().map(|path| self.repo(path).state()).collect()
    }

    /// The backups that the vault has, newest first.
    pub fn listed(&self) -> Vec<String> {
        listed(self.ctl([]))
    }

    /// Restores a backup and compares everything.
    #[track_caller]
    pub fn assert_restores(&self, id: &str, states: &States) {
        let folder = self.site.path("back");
        self.assert_comes_back(id, states, &folder);
        REPOSITORIES.iter().for_each(|path| GitRepo::open(folder.join(path)).fsck());
        fs::remove_dir_all(&folder).expect("remove what was restored");
    }

    /// Restores a backup and compares what git sees, without looking at every byte.
    #[track_caller]
    pub fn assert_comes_back(&self, id: &str, states: &States, folder: &Path) {
        self.restore(id, folder).run().expect_success();
        assert_eq!(compare(folder, states), REPOSITORIES.len());
    }
}

/// Compares the repositories that are in a folder, and says how many there are.
#[track_caller]
pub fn compare(folder: &Path, states: &States) -> usize {
    let pairs = REPOSITORIES.iter().zip(states).filter(|(path, _)| folder.join(path).exists());
    pairs
        .map(|(path, state)| RepoState::assert_same(state, &GitRepo::open(folder.join(path)).state()))
        .count()
}

/// Makes the repositories in a folder.
pub fn make_storage(folder: &Path) {
    for path in REPOSITORIES {
        GitRepo::init(folder.join(path)).fill("main", 3);
    }
    GitRepo::open(folder.join(REPOSITORIES[0])).commit("main", &[("noise", noise(1, 9 << 20))]);
}
