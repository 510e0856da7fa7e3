//! A world of its own for one test: a storage of repositories, a vault, and places to restore to.
//!
//! Does not own: what happens in it. `backup` records what git says of every repository, then runs the real `backupctl`;
//! `check` restores every point with it and replays every chain with plain git (`replay`). Backup IDs ascend, so the
//! newest manifest up to an ID is the one that backup has.

mod replay;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use packhorse_model::{RestoreSummary, RunSummary};
use packhorse_testkit::{Backupctl, CliOutput, GitRepo, RepoState, skipped};
use tempfile::TempDir;

/// What git says of repositories, by path.
pub type States = BTreeMap<String, RepoState>;

/// A backup and what it has to bring back.
pub struct Point {
    pub id: String,
    pub states: States,
    pub summary: RunSummary,
}

/// A storage, its vault and its restores.
pub struct World {
    folder: TempDir,
    runs: AtomicU32,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("packhorse-world-").tempdir().expect("temporary folder");
        fs::create_dir(folder.path().join("storage")).expect("create storage");
        Backupctl::vault_made(format!("file://{}", folder.path().join("vault").display()));
        Self { folder, runs: AtomicU32::new(0) }
    }

    /// A path in this world, for what a test needs beside repositories.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn storage(&self) -> PathBuf {
        self.path("storage")
    }

    pub fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    /// Makes a repository in the storage.
    pub fn repo(&self, path: &str) -> GitRepo {
        self.repo_with(path, &[])
    }

    /// Makes a repository with more options of `git init`.
    pub fn repo_with(&self, path: &str, options: &[&str]) -> GitRepo {
        GitRepo::init_with(self.storage().join(path), options)
    }

    /// Has a repository borrow from an empty folder: such ones are packed by git also in full steps.
    pub fn leave_to_git(&self, repo: &GitRepo) {
        let lender = self.path("lender/objects");
        fs::create_dir_all(&lender).expect("create lender");
        let line = format!("{}\n", lender.display());
        fs::write(repo.path().join("objects/info/alternates"), line).expect("write alternates");
    }

    /// Settings that every later call gets.
    pub fn configure(&self, toml: &str) {
        fs::write(self.path("config.toml"), toml).expect("write configuration");
    }

    /// A call of `backupctl` on this vault.
    pub fn call(&self, command: &str) -> Backupctl {
        let vault = format!("file://{}", self.vault().display());
        let call = Backupctl::new().args([command, "--embedded", "--no-progress", "--vault", &vault]);
        let config = self.path("config.toml");
        if config.exists() { call.arg("--config").arg(config) } else { call }
    }

    /// The next backup ID and the call of `create` that makes it.
    pub fn create(&self) -> (String, Backupctl) {
        let id = format!("{:04}", self.runs.fetch_add(1, Ordering::Relaxed) + 1);
        let storage = format!("default={}", self.storage().display());
        let call = self.call("create").args(["--jobs", "2", "--storage", &storage, "--backup-id", &id]);
        (id, call)
    }

    /// Makes a backup that must end with this exit code and still be committed.
    #[track_caller]
    pub fn run(&self, extra: &[&str], code: i32) -> (String, RunSummary) {
        let (id, call) = self.create();
        let output = call.arg("--json").args(extra).run().expect_code(code);
        (id, summary(&output))
    }

    /// Makes a complete backup of the storage as it is.
    #[track_caller]
    pub fn backup(&self, extra: &[&str]) -> Point {
        let states = self.states();
        let (id, summary) = self.run(extra, 0);
        assert_eq!(summary.failures_total, 0);
        Point { id, states, summary }
    }

    /// The state of every repository in the storage.
    pub fn states(&self) -> States {
        states_below(&self.storage())
    }

    /// Restores a backup into a fresh folder, which must end with this exit code.
    #[track_caller]
    pub fn restore_with(&self, id: &str, extra: &[&str], code: i32) -> (PathBuf, RestoreSummary) {
        let folder = self.path(&format!("restore-{}", self.runs.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&folder).expect("create folder to restore to");
        let storage = format!("default={}", folder.display());
        let call = self.call("restore").args([id, "--json", "--jobs", "2", "--storage", &storage]);
        let output = call.args(extra).run().expect_code(code);
        let summary = serde_json::from_str(&output.stdout);
        (folder, summary.unwrap_or_else(|error| panic!("restore summary: {error}: {}", output.stdout)))
    }

    /// Restores a backup completely and gives the folder.
    #[track_caller]
    pub fn restore(&self, id: &str) -> PathBuf {
        self.restore_with(id, &[], 0).0
    }

    /// Restores a backup and compares every repository; no more and no fewer may be there, all of them sound.
    #[track_caller]
    pub fn assert_restores(&self, id: &str, expected: &States) {
        let folder = self.restore(id);
        assert_is(&folder, expected, id);
        fs::remove_dir_all(&folder).expect("remove what was restored");
    }

    /// Restores every point, and replays every chain as another reader would.
    #[track_caller]
    pub fn check(&self, points: &[Point]) {
        assert!(!points.is_empty(), "nothing to check");
        for Point { id, states, .. } in points {
            self.assert_restores(id, states);
            for (path, state) in states {
                self.replay(id, path, state);
            }
        }
    }

    /// Every object of the vault with its size.
    pub fn vault_objects(&self) -> BTreeMap<String, u64> {
        let mut objects = BTreeMap::new();
        walk(&self.vault(), &mut |file, meta| {
            let key = file.strip_prefix(self.vault()).expect("below the vault").display().to_string();
            if meta.is_file() {
                objects.insert(key, meta.len());
            }
            true
        });
        objects
    }
}

/// Compares a restored folder with the recorded states.
#[track_caller]
pub fn assert_is(folder: &Path, expected: &States, id: &str) {
    let actual = states_below(folder);
    let names = |states: &States| states.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(&actual), "repositories of backup {id}");
    for (path, state) in expected {
        let differences = state.differences(&actual[path]);
        assert!(differences.is_empty(), "backup {id}, {path}:\n{}", differences.join("\n"));
        GitRepo::open(folder.join(path)).fsck();
    }
}

/// Whether git can make reftables; says so when it cannot.
pub fn has_reftables() -> bool {
    let has = GitRepo::can_make_reftables();
    if !has {
        skipped("reftables need git 2.45 or newer");
    }
    has
}

#[track_caller]
fn summary(output: &CliOutput) -> RunSummary {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("run summary: {error}: {output:?}"))
}

fn states_below(folder: &Path) -> States {
    let mut states = States::new();
    walk(folder, &mut |path, meta| {
        let is_repository = meta.is_dir() && path.join("HEAD").is_file() && path.join("objects").is_dir();
        let relative = path.strip_prefix(folder).expect("below the folder").display().to_string();
        if is_repository && !relative.starts_with("@pools") {
            states.insert(relative, GitRepo::open(path).state());
        }
        !is_repository
    });
    states
}

/// Visits everything below a folder but not links; `visit` says whether to enter a folder.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata) -> bool) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("read {}: {error}", folder.display())).path();
        let meta = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if meta.is_dir() {
            if visit(&path, &meta) {
                walk(&path, visit);
            }
        } else if meta.is_file() {
            visit(&path, &meta);
        }
    }
}
