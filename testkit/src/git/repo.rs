//! The handle of a bare repository: making and opening it, and running git in it.
//!
//! Does not own: commits (`history`), refs (`refs`) or comparing (`state`). A handle holds nothing but the path and a
//! clock, so several may be open on one repository.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    command::{hermetic_command, run_checked, run_with_input, stdout_text},
    git::RepoState,
};

/// Settings of every git call; no maintenance may change a repository behind a test's back.
const SETTINGS: [&str; 6] = [
    "protocol.file.allow=always",
    "gc.auto=0",
    "maintenance.auto=false",
    "init.defaultBranch=main",
    "core.fsync=none",
    "advice.detachedHead=false",
];

/// The first commit's time: 2020-09-13.
const EPOCH: u64 = 1_600_000_000;

/// A bare repository on disk.
#[derive(Debug)]
pub struct GitRepo {
    path: PathBuf,
    git: PathBuf,
    clock: AtomicU64,
}

impl GitRepo {
    /// Makes a bare repository with its parent folders.
    pub fn init(path: impl AsRef<Path>) -> Self {
        Self::init_with(path, &[])
    }

    /// Makes a bare repository with more options of `git init`, such as `--object-format=sha256` or
    /// `--ref-format=reftable`.
    pub fn init_with(path: impl AsRef<Path>, options: &[&str]) -> Self {
        let path = path.as_ref();
        fs::create_dir_all(path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        let repo = Self::open(path);
        run_checked(repo.git_command().args(["init", "--quiet", "--bare"]).args(options).arg(path));
        repo
    }

    /// Whether the git in `PATH` can make reftables (2.45 and newer); a test of them has nothing to do without.
    pub fn can_make_reftables() -> bool {
        let folder = tempfile::tempdir().expect("temporary folder");
        let repo = Self::open(folder.path());
        repo.git_command()
            .args(["init", "--quiet", "--bare", "--ref-format=reftable"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Opens an existing repository.
    pub fn open(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let path = fs::canonicalize(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
        Self { path, git: PathBuf::from("git"), clock: AtomicU64::new(EPOCH) }
    }

    /// Uses this git instead of the one in `PATH`.
    #[must_use]
    pub fn using(mut self, git: impl Into<PathBuf>) -> Self {
        self.git = git.into();
        self
    }

    /// The repository's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs git in the repository and gives its output as text without the last line's end.
    pub fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        stdout_text(run_checked(self.command().args(args)))
    }

    /// Runs git in the repository, whether it succeeds or not.
    pub fn try_run<A: AsRef<OsStr>>(&self, args: &[A]) -> Output {
        let mut command = self.command();
        command.args(args).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"))
    }

    /// Runs git in the repository with bytes on its standard input.
    pub fn run_with_input<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> String {
        stdout_text(run_with_input(self.command().args(args), input))
    }

    /// Packs everything and removes what is unreachable.
    pub fn gc(&self) {
        self.run(&["gc", "--quiet", "--prune=now"]);
    }

    /// Packs everything into one pack.
    pub fn repack(&self) {
        self.run(&["repack", "-a", "-d", "-q"]);
    }

    /// What a restore must bring back.
    pub fn state(&self) -> RepoState {
        RepoState::read(self)
    }

    /// Has git check every object and connection, and panics with its findings when there are errors.
    pub fn fsck(&self) {
        self.run(&["fsck", "--full", "--strict", "--no-dangling", "--no-progress"]);
        self.run(&["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]);
    }

    /// A git command in the repository, for what has no method here; authors, committers and dates are fixed.
    pub fn command(&self) -> Command {
        let mut command = self.git_command();
        command.arg("--git-dir").arg(&self.path).current_dir(&self.path);
        command
    }

    /// The next moment of this repository's clock, in seconds since 1970.
    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn git_command(&self) -> Command {
        let mut command = hermetic_command(&self.git);
        let date = format!("{} +0000", self.clock.load(Ordering::Relaxed));
        for (role, name) in [("AUTHOR", "Ada Author"), ("COMMITTER", "Carl Committer")] {
            command
                .env(format!("GIT_{role}_NAME"), name)
                .env(format!("GIT_{role}_EMAIL"), "someone@packhorse.invalid")
                .env(format!("GIT_{role}_DATE"), &date);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
    }
}
