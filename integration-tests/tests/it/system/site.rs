//! A folder with everything that one configuration file names.
//!
//! Does not own: what a test writes into the file. Paths are made on first use, so that a configuration can name them
//! before they exist.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use packhorse_testkit::{Backupctl, CliOutput, GitRepo, RepoState, run_checked};
use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder of one test.
pub struct Site {
    folder: TempDir,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("packhorse-site-").tempdir().expect("temporary folder");
        Self { folder }
    }

    /// A path below the folder, which may not exist.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder below the folder, made when it is missing.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        path
    }

    /// Makes a repository below the folder.
    pub fn repo(&self, path: &str) -> GitRepo {
        GitRepo::init(self.path(path))
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        path
    }

    /// The URL of a vault in the folder, which is made on first use.
    pub fn vault_url(&self) -> String {
        Backupctl::vault_made(format!("file://{}", self.path("vault").display()))
    }

    /// A section that names a storage of this folder, which is made.
    pub fn storage_section(&self, name: &str, folder: &str) -> String {
        format!("[[storage]]\nname = '{name}'\npath = '{}'\n", self.folder(folder).display())
    }

    /// A call of `backupctl` with a configuration file of this folder.
    pub fn ctl<const N: usize>(&self, config: &str, args: [&str; N]) -> Backupctl {
        Backupctl::new().arg("--no-progress").arg("--config").arg(self.path(config)).args(args)
    }
}

/// The one JSON object that a call printed.
#[track_caller]
pub fn json(output: &CliOutput) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{output:#?}"))
}

/// The IDs that `list --json` printed, newest first.
#[track_caller]
pub fn listed(call: Backupctl) -> Vec<String> {
    let output = call.args(["list", "--json"]).run().expect_success();
    let backups = json(&output)["backups"].as_array().cloned().expect("a list of backups");
    backups.iter().map(|backup| text(&backup["backup_id"])).collect()
}

/// A JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Copies a folder with everything that it holds.
pub fn copy(from: &Path, to: &Path) {
    let mut cp = packhorse_testkit::hermetic_command("cp");
    run_checked(cp.arg("--archive").arg("--no-target-directory").arg(from).arg(to));
}

/// Every object of a `file://` vault with its bytes, by key.
pub fn objects(vault: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![vault.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(vault).expect("below the vault").display().to_string();
                found.insert(key, fs::read(&path).expect("readable object"));
            }
        }
    }
    found
}

/// Compares a restored repository with what it must be, and has git check it.
#[track_caller]
pub fn assert_restored(expected: &RepoState, path: impl AsRef<Path>) {
    let repo = GitRepo::open(path);
    RepoState::assert_same(expected, &repo.state());
    repo.fsck();
}

/// Bytes that no compression makes smaller, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    let mut noise: Vec<u8> = std::iter::repeat_with(&mut next).take(bytes.div_ceil(8)).flatten().collect();
    noise.truncate(bytes);
    noise
}
