//! A git that notes each pack that it is asked for, and does not begin those of some repositories until it may.
//!
//! Does not own: what is asked. Everything but `pack-objects` goes to the real git at once.

use std::{fs, os::unix::fs::PermissionsExt as _};

use packhorse_testkit::wait_until;
use tempfile::TempDir;

use super::super::daemons::SOON;

const SCRIPT: &str = r#"#!/bin/bash
case " $* " in *" pack-objects "*) ;; *) exec git "$@" ;; esac
[ -e "@DIR@/closed" ] && case "$*" in *"$(<"@DIR@/closed")"*)
    : >"@DIR@/started-$$"
    while [ -e "@DIR@/closed" ]; do sleep 0.02 </dev/null >/dev/null 2>&1; done
;; esac
: >"@DIR@/started-$$"
exec git "$@"
"#;

/// The git, open at first.
pub struct CountedGit {
    folder: TempDir,
}

impl CountedGit {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let git = folder.path().join("git");
        fs::write(&git, SCRIPT.replace("@DIR@", &folder.path().display().to_string()))
            .expect("write the git");
        fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("make it run");
        Self { folder }
    }

    /// The line of a configuration that names it.
    pub fn line(&self) -> String {
        format!("git = '{}'", self.folder.path().join("git").display())
    }

    /// Holds the packs of every repository whose path has this text, and counts anew.
    pub fn close(&self, text: &str) {
        for entry in fs::read_dir(self.folder.path()).expect("its folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with("started-") {
                fs::remove_file(entry.path()).expect("forget");
            }
        }
        fs::write(self.folder.path().join("closed"), text).expect("close");
    }

    /// Lets all go on.
    pub fn open(&self) {
        fs::remove_file(self.folder.path().join("closed")).expect("open");
    }

    /// How many packs were asked for.
    pub fn started(&self) -> usize {
        let entries = fs::read_dir(self.folder.path()).expect("its folder").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("started-")).count()
    }

    /// Waits for so many.
    pub fn wait_for(&self, packs: usize) {
        wait_until("packs", SOON, || match self.started() {
            few if few < packs => Err(format!("{few} of {packs}")),
            _ => Ok(()),
        });
    }
}
