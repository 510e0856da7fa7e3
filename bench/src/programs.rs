//! The programs that are measured, and a command line for them that no setting of the user changes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Where the programs are.
pub struct Programs {
    /// backupctl, optimised.
    pub backupctl: PathBuf,
    /// The git that `PATH` finds.
    pub git: Git,
    /// Another git, of another version.
    pub other_git: Option<Git>,
}

/// One git.
#[derive(Clone, PartialEq, Eq)]
pub struct Git {
    /// Its executable.
    pub path: PathBuf,
    /// Such as `2.39.5`.
    pub version: String,
}

impl Programs {
    /// Looks for them.
    pub fn find(backupctl: Option<&Path>, other_git: &Path) -> Result<Self> {
        let backupctl = match backupctl {
            Some(path) => path.to_owned(),
            None => std::env::current_exe().context("find this program")?.with_file_name("backupctl"),
        };
        ensure!(
            backupctl.is_file(),
            "{} is missing; make bench builds it, or name one with --backupctl",
            backupctl.display()
        );
        let git = Git::at(Path::new("git"))?;
        let other_git = other_git.is_file().then(|| Git::at(other_git)).transpose()?;
        let other_git = other_git.filter(|other| other.version != git.version);
        Ok(Self { backupctl, git, other_git })
    }
}

impl Git {
    fn at(path: &Path) -> Result<Self> {
        let output = Command::new(path).arg("--version").output();
        let output = output.with_context(|| format!("run {} --version", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.strip_prefix("git version ") {
            Some(version) => Ok(Self { path: path.to_owned(), version: version.trim().to_owned() }),
            None => bail!("{} --version prints {text:?}", path.display()),
        }
    }

    /// This git in a repository, without input and output.
    pub fn command(&self, dir: &Path) -> Command {
        let mut command = isolated(&self.path);
        command.arg("-C").arg(dir).args(["-c", "safe.directory=*"]);
        command
    }

    /// Runs it to its end; the error has what it said.
    pub fn run(&self, dir: &Path, args: &[&str]) -> Result<()> {
        checked(self.command(dir).args(args))
    }
}

/// A command without the user's git configuration and without input and output.
pub fn isolated(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in ["PACKHORSE_CONFIG", "PACKHORSE_COORDINATOR", "PACKHORSE_VAULT", "PACKHORSE_GIT", "GIT_DIR"] {
        command.env_remove(name);
    }
    command
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("LC_ALL", "C")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs a command to its end; the error has what it said.
pub fn checked(command: &mut Command) -> Result<()> {
    let output = command.stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("start {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
