//! What an operator asks of a restore, parsed.
//!
//! Does not own: whether it can be had (`plan`). URLs of databases may hold passwords, so nothing here shows them.

use std::{collections::BTreeMap, path::PathBuf};

use packhorse_model::{
    BackupSelector, Component, Problem, RepoFilter, RestoreOrder, RestoreTarget, StorageName,
};
use packhorse_proto::{filter_from_wire, v1::RestoreRequest as Wire};
use packhorse_vault::Latest;

use crate::database;

/// A request parsed, not yet looked up.
pub struct RestoreRequest {
    /// The backup.
    pub backup: BackupSelector,
    /// Storages of the backup; none named means all.
    pub storages: Vec<StorageName>,
    /// Which repositories.
    pub filter: RepoFilter,
    /// Storage in the backup to storage of an agent.
    pub to_storage: BTreeMap<StorageName, StorageName>,
    /// Directory in the backup to a folder of this host.
    pub to_directory: BTreeMap<String, PathBuf>,
    /// Database in the backup to the URL of another database.
    pub to_database: BTreeMap<String, String>,
    /// Check everything, and do nothing.
    pub dry_run: bool,
    /// Replace what is there.
    pub force: bool,
    /// Leave repositories that are there already and equal as they are.
    pub skip_existing: bool,
    /// Have git prepare repositories for being served.
    pub optimise: bool,
    /// Which backups `latest` counts.
    pub latest: Latest,
    /// Files of directories get their owners by number.
    pub numeric_owner: bool,
    /// Restore damaged repositories as they were when nothing of them was left out.
    pub last_good: bool,
    /// Keep databases that are replaced.
    pub keep_old: bool,
    /// Name statements that a database refuses, and restore the rest.
    pub continue_on_error: bool,
    /// Components and parts of them that are selected.
    pub only: Vec<String>,
    /// Components and parts of them that are left out.
    pub skip: Vec<String>,
}

impl RestoreRequest {
    /// Parses a request from the wire.
    pub fn from_wire(wire: Wire) -> Result<Self, Problem> {
        for name in wire.only.iter().chain(&wire.skip) {
            name.parse::<Component>()?;
        }
        let to_storage = wire.to_storage.iter().map(|(from, to)| Ok((from.parse()?, to.parse()?)));
        Ok(Self {
            backup: wire.backup.parse()?,
            storages: wire.storages.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
            filter: filter_from_wire(wire.filter.as_slice())?,
            to_storage: to_storage.collect::<Result<_, Problem>>()?,
            to_directory: wire.to_directory.into_iter().map(|(name, path)| (name, path.into())).collect(),
            to_database: wire.to_database.into_iter().collect(),
            dry_run: wire.dry_run,
            force: wire.force,
            skip_existing: wire.skip_existing,
            optimise: wire.optimise,
            latest: if wire.partial { Latest::Any } else { Latest::Whole },
            numeric_owner: wire.numeric_owner,
            last_good: wire.last_good,
            keep_old: wire.keep_old,
            continue_on_error: wire.continue_on_error,
            only: wire.only,
            skip: wire.skip,
        })
    }

    /// What is asked for, in short, for the log.
    pub fn asked(&self) -> String {
        let mut asked = vec![format!("backup {}", self.backup)];
        let mut list = |word: &str, names: Vec<String>| {
            if !names.is_empty() {
                asked.push(format!("{word} {}", names.join(" ")));
            }
        };
        list("storages", self.storages.iter().map(ToString::to_string).collect());
        list("to storages", self.to_storage.iter().map(|(from, to)| format!("{from}={to}")).collect());
        let shown = |(name, url): (&String, &String)| format!("{name}={}", database::without_password(url));
        list("to databases", self.to_database.iter().map(shown).collect());
        let shown = |(name, folder): (&String, &PathBuf)| format!("{name}={}", folder.display());
        list("to directories", self.to_directory.iter().map(shown).collect());
        list("repositories", self.filter.included().iter().map(ToString::to_string).collect());
        list("without repositories", self.filter.excluded().iter().map(ToString::to_string).collect());
        list("only", self.only.clone());
        list("without", self.skip.clone());
        if self.force {
            asked.push("replacing what exists".into());
        }
        if self.dry_run {
            asked.push("dry run".into());
        }
        asked.join(", ")
    }

    /// What is asked for, with where each part goes, for the record.
    pub fn order(&self, targets: Vec<RestoreTarget>) -> RestoreOrder {
        RestoreOrder {
            force: self.force,
            repositories: self.filter.included().iter().map(ToString::to_string).collect(),
            skip_repositories: self.filter.excluded().iter().map(ToString::to_string).collect(),
            only: self.only.clone(),
            skip: self.skip.clone(),
            targets,
        }
    }

    /// How databases are restored.
    pub fn database_options(&self) -> database::RestoreOptions {
        let Self { force, keep_old, continue_on_error, .. } = *self;
        database::RestoreOptions { force, keep_old, continue_on_error }
    }
}
