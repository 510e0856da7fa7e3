//! BorgBackup: one repository on the same disk, without encryption, LZ4 as it does by itself.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    bench::Bench,
    meter::{self, Call, Script},
};

/// A repository of borg's, with its caches.
pub struct Borg<'a> {
    program: &'a Path,
    /// Where everything of it lies.
    home: PathBuf,
    archives: Cell<u32>,
}

impl<'a> Borg<'a> {
    /// Makes an empty one.
    pub fn create(bench: &Bench, program: &'a Path) -> Result<Self> {
        let borg = Self { program, home: bench.fresh("borg")?, archives: Cell::new(0) };
        let init = borg.call().args(["init", "--encryption=none"]).path(&borg.repository());
        meter::run(&Script::one(init), &bench.work)?;
        Ok(borg)
    }

    /// Where the archives lie.
    pub fn repository(&self) -> PathBuf {
        self.home.join("repository")
    }

    /// Archives a folder, as the next of this repository.
    pub fn backup(&self, folder: &Path) -> Script {
        let archive = self.archive(self.archives.replace(self.archives.get() + 1) + 1);
        Script::one(self.call().args(["create", "--compression=lz4"]).arg(archive).arg(".").dir(folder))
    }

    /// Restores the newest archive into a folder.
    pub fn restore(&self, target: &Path) -> Script {
        Script::one(self.call().arg("extract").arg(self.archive(self.archives.get())).dir(target))
    }

    fn archive(&self, number: u32) -> String {
        format!("{}::{number}", self.repository().display())
    }

    fn call(&self) -> Call {
        Call::new(self.program)
            .env("BORG_BASE_DIR", self.home.display().to_string())
            .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")
            .env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes")
    }
}
