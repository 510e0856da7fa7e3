//! What backupctl is asked: the whole program in embedded mode, from its start to its end, fsync included.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    bench::{Bench, size_of},
    corpus::Repository,
    measure::{Sample, timed_with_memory},
    programs::{Git, isolated},
};

/// A call of backupctl on a storage and a vault on this machine.
pub struct Call(Command);

impl Call {
    /// `backupctl VERB` with git.
    pub fn new(bench: &Bench, git: &Git, vault: &Path, verb: &[&str]) -> Self {
        let mut command = isolated(&bench.programs.backupctl);
        command.args(["--embedded", "--quiet", "--no-progress", "--vault"]);
        command.arg(format!("file://{}", vault.display())).arg("--git").arg(&git.path).args(verb);
        Self(command)
    }

    /// Where the storage lies.
    pub fn storage(mut self, path: &Path) -> Self {
        self.0.arg("--storage").arg(format!("default={}", path.display()));
        self
    }

    /// Only this repository.
    pub fn only(mut self, repository: &Repository) -> Self {
        self.0.arg("--repository").arg(&repository.name);
        self
    }

    /// So many repositories at once.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.0.arg("--jobs").arg(jobs.to_string());
        self
    }

    /// Runs it; `result` is the folder that it fills.
    pub fn sample(mut self, result: &Path) -> Result<Sample> {
        let (took, peak) = timed_with_memory(&mut self.0)?;
        Ok(Sample { took, peak, bytes: size_of(result)? })
    }
}

/// Bytes of a repository's packs and loose objects.
pub fn size_on_disk(repository: &Repository) -> Result<u64> {
    size_of(&repository.path().join("objects"))
}

/// A file that need not exist is removed.
pub fn forget(file: PathBuf) -> Result<()> {
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}
