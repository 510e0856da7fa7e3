//! What a restore would do: the one type behind `restore --dry-run`, its JSON, its text and its exit code.
//!
//! Does not own: finding it out (`coordinator`). The same plan decides whether a restore begins, so that a dry run cannot
//! promise what the restore then refuses.

use serde::{Deserialize, Serialize};

use crate::{BackupId, Exit, ItemFailure, Problem, RestoreOrder, RunState, StorageName};

/// What would become of one storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStorage {
    /// The storage in the backup.
    pub storage: StorageName,
    /// The storage that receives its repositories.
    pub target: StorageName,
    /// The folder of that storage on its agent's host, as far as the agent tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Repositories that come to a free place.
    pub new: u64,
    /// Repositories that take the place of others.
    pub replaced: u64,
    /// Repositories that are there already, equal to what the backup has, and stay.
    pub already: u64,
    /// Repositories whose place is taken, so that they are not restored.
    pub refused: u64,
    /// Bytes to read from the vault.
    pub bytes: u64,
    /// Bytes that the storage's file system has room for; absent when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<u64>,
}

/// How a database is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseWay {
    /// Another database is filled beside it and takes its name.
    Beside,
    /// What it holds is replaced in one transaction.
    InPlace,
}

/// What would become of one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDatabase {
    /// Its name in the backup.
    pub name: String,
    /// The database that receives it, without a password.
    pub target: String,
    /// Whether that exists.
    pub exists: bool,
    /// Whether it holds something, all of which is replaced.
    pub replaces: bool,
    /// How it is brought back.
    pub way: DatabaseWay,
    /// Bytes to read from the vault.
    pub bytes: u64,
    /// Bytes of the dump.
    pub bytes_plain: u64,
}

/// What would become of one directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDirectory {
    /// Its name in the backup.
    pub name: String,
    /// The folder that receives it.
    pub target: String,
    /// Whether that exists.
    pub exists: bool,
    /// Whether it holds something, which is replaced.
    pub replaces: bool,
    /// Bytes to read from the vault.
    pub bytes: u64,
    /// Bytes of the archive.
    pub bytes_plain: u64,
    /// Bytes that the folder's file system has room for; absent when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<u64>,
}

/// What a restore would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRestore {
    /// URL of the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// Its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
    /// Always true: nothing was written.
    pub dry_run: bool,
    /// The backup.
    pub backup_id: BackupId,
    /// What was asked for, and where each part goes.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub order: Option<RestoreOrder>,
    /// Whether anything that was selected would be missing afterwards.
    pub state: RunState,
    /// What the backup itself is.
    pub backup_state: RunState,
    /// Whether parts had been left out of the backup on purpose.
    pub backup_partial: bool,
    /// One entry for each storage.
    pub storages: Vec<PlannedStorage>,
    /// One entry for each database that can be restored.
    pub databases: Vec<PlannedDatabase>,
    /// One entry for each directory that can be restored.
    pub directories: Vec<PlannedDirectory>,
    /// What keeps the restore from beginning: with any of these, it touches nothing.
    pub problems: Vec<ItemFailure>,
    /// What would be missing afterwards, by name; capped as in a summary.
    pub failures: Vec<ItemFailure>,
    /// How many failures there would be in all.
    pub failures_total: u64,
    /// What is to be known of the backup.
    pub remarks: Vec<ItemFailure>,
}

impl PlannedRestore {
    /// Whether nothing at all would be there afterwards of what was selected.
    pub fn brings_nothing(&self) -> bool {
        let in_storages =
            self.storages.iter().map(|storage| storage.new + storage.replaced + storage.already);
        self.databases.is_empty() && self.directories.is_empty() && in_storages.sum::<u64>() == 0
    }

    /// Why the restore would end without success, if it would.
    pub fn refusal(&self) -> Option<&Problem> {
        let nothing = if self.brings_nothing() { self.failures.first() } else { None };
        self.problems.first().or(nothing).map(|failure| &failure.problem)
    }

    /// The code that the restore would end with, so far as it is known before.
    pub fn exit(&self) -> Exit {
        self.refusal().map_or_else(|| Exit::of_state(self.state), Exit::of_problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Component, ErrorKind, Subject};

    fn failure(kind: ErrorKind, subject: Subject) -> ItemFailure {
        let problem = Problem::new(kind, subject, "x");
        ItemFailure { component: Component::Repositories, storage: None, item: "x".into(), problem }
    }

    #[test]
    fn the_code_is_that_of_the_restore() {
        let storage = PlannedStorage {
            storage: "default".parse().expect("valid"),
            target: "default".parse().expect("valid"),
            path: None,
            new: 1,
            replaced: 0,
            already: 0,
            refused: 1,
            bytes: 1,
            room: None,
        };
        let plan = PlannedRestore {
            vault: None,
            vault_id: None,
            dry_run: true,
            backup_id: "b".parse().expect("valid"),
            order: None,
            state: RunState::Incomplete,
            backup_state: RunState::Complete,
            backup_partial: false,
            storages: vec![storage.clone()],
            databases: Vec::new(),
            directories: Vec::new(),
            problems: Vec::new(),
            failures: vec![failure(ErrorKind::AlreadyExists, Subject::Repository)],
            failures_total: 1,
            remarks: Vec::new(),
        };
        assert_eq!(plan.exit(), Exit::Incomplete);
        let nothing = PlannedRestore { storages: vec![PlannedStorage { new: 0, ..storage }], ..plan.clone() };
        assert_eq!(nothing.exit(), Exit::Failed, "as a restore that brings nothing back");
        let problems = vec![failure(ErrorKind::Invalid, Subject::Configuration)];
        assert_eq!(PlannedRestore { problems, ..plan.clone() }.exit(), Exit::Usage);
        let state = RunState::Complete;
        assert_eq!(PlannedRestore { state, failures: Vec::new(), ..plan }.exit(), Exit::Complete);
    }
}
