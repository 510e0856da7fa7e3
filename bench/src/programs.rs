//! The programs that are measured, and a command line for them that no setting of the user changes.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{args::Args, meter::Call};

/// Where the programs are.
pub struct Programs {
    /// backupctl, optimised.
    pub backupctl: PathBuf,
    /// The example of the agent that iterates refs with gix.
    pub iterate_refs: Option<PathBuf>,
    /// The git that `PATH` finds.
    pub git: Git,
    /// An older git, or the same.
    pub old_git: Git,
    /// BorgBackup.
    pub borg: Option<PathBuf>,
    /// restic.
    pub restic: Option<PathBuf>,
    /// rustic, where it was asked for.
    pub rustic: Option<PathBuf>,
    /// A gzip for all processors.
    pub pigz: Option<PathBuf>,
    /// zstd.
    pub zstd: Option<PathBuf>,
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
    /// Looks for them. Without backupctl and git there is nothing to measure; other programs may be missing.
    pub fn find(args: &Args) -> Result<Self> {
        let own = env::current_exe().context("find this program")?;
        let backupctl = args.backupctl.clone().unwrap_or_else(|| own.with_file_name("backupctl"));
        ensure!(
            backupctl.is_file(),
            "{} is missing; make bench builds it, or name one with --backupctl",
            backupctl.display()
        );
        let git = Git::at(&in_path("git").context("git is not in PATH")?)?;
        let old_git = if args.git.is_file() { Git::at(&args.git)? } else { git.clone() };
        Ok(Self {
            backupctl,
            iterate_refs: Some(own.with_file_name("examples/iterate-refs")).filter(|path| path.is_file()),
            git,
            old_git,
            borg: in_path("borg"),
            restic: in_path("restic"),
            rustic: in_path("rustic").filter(|_| args.rustic),
            pigz: in_path("pigz"),
            zstd: in_path("zstd"),
        })
    }

    /// What was measured, in one line.
    pub fn versions(&self) -> String {
        let others = [("borg", &self.borg), ("restic", &self.restic), ("rustic", &self.rustic)];
        let mut found = vec![format!("git {}", self.git.version)];
        if self.old_git != self.git {
            found.push(format!("git {}", self.old_git.version));
        }
        for (name, path) in others {
            let flag = if name == "restic" { "version" } else { "--version" };
            let output = path.as_ref().and_then(|path| isolated_output(path, flag));
            let version = output.and_then(|text| text.split_whitespace().nth(1).map(str::to_owned));
            found.extend(version.map(|version| format!("{name} {version}")));
        }
        found.join(", ")
    }
}

impl Git {
    fn at(path: &Path) -> Result<Self> {
        let text = isolated_output(path, "--version");
        let text = text.with_context(|| format!("run {} --version", path.display()))?;
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

    /// The same as a step of a script.
    pub fn call(&self, dir: &Path) -> Call {
        Call::new(&self.path).arg("-C").path(dir).args(["-c", "safe.directory=*"])
    }

    /// Runs it to its end; the error has what it said.
    pub fn run(&self, dir: &Path, args: &[&str]) -> Result<()> {
        checked(self.command(dir).args(args))
    }

    /// The same, for what it prints.
    pub fn output(&self, dir: &Path, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.command(dir);
        let output = command.args(args).stdout(Stdio::piped()).output().context("start git")?;
        ensure!(output.status.success(), "{command:?}: {}", output.status);
        Ok(output.stdout)
    }
}

/// The executable of this name that a shell would find.
fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn isolated_output(program: &Path, arg: &str) -> Option<String> {
    let output = isolated(program).arg(arg).stdout(Stdio::piped()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
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
