//! Restores without any daemon, some of them after one of the same backup that was killed half way.
//!
//! Does not own: comparing what came back (`books`). What a dead restore has put in its place stays there, so the one
//! after it replaces it with `--force`, as an operator is told to.

use std::{fs, path::PathBuf, time::Duration};

use packhorse_testkit::{Backupctl, wait_until};

use super::{
    estate::{Estate, STORAGES},
    forge::Tables,
};

const SOON: Duration = Duration::from_secs(120);

/// What came back.
pub struct Restored {
    /// The folder of each storage.
    pub folders: [PathBuf; 2],
    pub tables: Tables,
}

/// A restore that is killed after so many of its requests to the store.
pub struct Cut(pub u64);

impl Estate {
    /// Restores a backup, which may only be said to lack something when it is not whole.
    pub fn restore(&mut self, id: &str, is_whole: bool, cut: Option<&Cut>) -> Restored {
        let database = self.forge.empty();
        let folders = self.targets(&database);
        let was_cut = cut.is_some_and(|cut| self.kill_restore(id, cut));
        self.cut_restores += u64::from(was_cut);
        let call = self.restoring(id);
        let output = if was_cut { call.arg("--force").run() } else { call.run() };
        if is_whole || output.code != 3 {
            output.expect_success();
        }
        Restored { folders, tables: self.forge.take(&database) }
    }

    /// Empty folders, and a configuration that names them and a database.
    fn targets(&self, database: &str) -> [PathBuf; 2] {
        let folders = STORAGES.map(|storage| self.site.path(&format!("back-{storage}")));
        for folder in &folders {
            // It is not there before the first restore.
            let _ = fs::remove_dir_all(folder);
        }
        let sections = STORAGES.map(|storage| self.site.storage_section(storage, &format!("back-{storage}")));
        let config =
            format!("{}{}{}", self.vault_section(), sections.concat(), self.forge.section_of(database));
        self.site.write("restore.toml", &config);
        folders
    }

    fn restoring(&self, id: &str) -> Backupctl {
        self.site.ctl("restore.toml", ["restore", "--embedded", id]).envs(self.store.env("restore"))
    }

    /// Kills a restore half way, and says whether it had not ended before.
    fn kill_restore(&self, id: &str, cut: &Cut) -> bool {
        let last = self.store.requests() + cut.0;
        let mut call = self.restoring(id).spawn();
        wait_until("the middle of a restore", SOON, || {
            let is_due = self.store.requests() >= last || call.ended().is_some();
            if is_due { Ok(()) } else { Err(format!("{} requests", self.store.requests())) }
        });
        let is_alive = call.ended().is_none();
        call.kill_if_alive();
        is_alive
    }
}
