//! What a run is to do, as its journal holds it for whoever resumes it.
//!
//! Does not own: doing it. Everything that a run decided before it began is here, so that a run that is resumed does the
//! same as if nothing had happened: the same storages, on the same bases, of the same selection.

use std::collections::BTreeSet;

use packhorse_model::{
    BackupId, Component, ComponentSelection, ErrorKind, GonePart, InvalidInput, ItemFailure, LackingPart,
    Problem, RepoFilter, RepoPattern, StorageName, Subject,
};
use packhorse_proto::v1::BackupMode;
use packhorse_vault::{RunJournal, StorageBase};
use serde::{Deserialize, Serialize};

use super::{gone::AcceptGone, request::RunRequest};
use crate::CoordinatorOptions;

/// The order of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    mode: Mode,
    named_storages: Vec<StorageName>,
    include: Vec<String>,
    exclude: Vec<String>,
    only: Vec<String>,
    skip: Vec<String>,
    #[serde(default)]
    prove_later: bool,
    #[serde(default)]
    accept_all_gone: bool,
    #[serde(default)]
    accept_gone: BTreeSet<StorageName>,
    #[serde(default)]
    schedule: Option<String>,
    /// What has left the configuration.
    #[serde(default)]
    pub gone: Vec<GonePart>,
    /// What earlier backups have.
    #[serde(default)]
    pub known: Vec<LackingPart>,
    /// What is odd, and is no failure.
    #[serde(default)]
    pub remarks: Vec<ItemFailure>,
    /// The storages, each with what it builds on.
    pub storages: Vec<StorageOrder>,
    /// Whether storages that exist were left out on purpose.
    pub some_storages_only: bool,
    /// Databases and directories, by name.
    databases: Vec<String>,
    pub directories: Vec<String>,
    /// What was missing from the start.
    pub failures: Vec<ItemFailure>,
}

/// One storage of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageOrder {
    /// The storage.
    pub storage: StorageName,
    /// What it builds on.
    pub base: Option<StorageBase>,
    /// Runs that committed nothing since, the newest first.
    pub unfinished: Vec<BackupId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Auto,
    Full,
    Incremental,
}

impl RunOrder {
    /// The order of what was asked for.
    pub fn new(request: &RunRequest, options: &CoordinatorOptions) -> Self {
        let selects = |component: &Component| request.components.selects(component);
        let databases = options.databases.iter();
        let databases = databases.filter(|database| request.components.selects_database(database.name()));
        let directories = options.directories.iter().map(|directory| directory.name().to_owned());
        let patterns = |patterns: &[RepoPattern]| patterns.iter().map(ToString::to_string).collect();
        let components = |names: &BTreeSet<Component>| names.iter().map(ToString::to_string).collect();
        Self {
            mode: match request.mode {
                BackupMode::Full => Mode::Full,
                BackupMode::Incremental => Mode::Incremental,
                BackupMode::Auto | BackupMode::Unspecified => Mode::Auto,
            },
            named_storages: request.storages.clone(),
            include: patterns(request.filter.included()),
            exclude: patterns(request.filter.excluded()),
            only: components(&request.components.only),
            skip: components(&request.components.skip),
            prove_later: request.prove_later,
            accept_all_gone: request.accept_gone.all,
            accept_gone: request.accept_gone.names.clone(),
            schedule: request.schedule.clone(),
            gone: Vec::new(),
            known: Vec::new(),
            remarks: Vec::new(),
            storages: Vec::new(),
            some_storages_only: false,
            databases: databases.map(|database| database.name().to_owned()).collect(),
            directories: directories.filter(|name| selects(&Component::Directory(name.clone()))).collect(),
            failures: Vec::new(),
        }
    }

    /// The order that a journal holds.
    pub fn of_journal(journal: &RunJournal) -> Result<Self, Problem> {
        let order = journal.order.clone().unwrap_or_default();
        serde_json::from_value(order).map_err(|e| {
            Problem::new(ErrorKind::Corrupt, Subject::Backup, "resume run")
                .on(&journal.backup_id)
                .answered(format!("its journal holds no order that this version reads: {e}"))
        })
    }

    /// What the run was to hold and the configuration does not name any more.
    pub fn no_longer_configured(&self, options: &CoordinatorOptions) -> Vec<ItemFailure> {
        let gone = |component, item: &str| ItemFailure {
            component,
            storage: None,
            item: item.to_owned(),
            problem: Problem::new(ErrorKind::NotFound, Subject::Configuration, "resume run")
                .on(item)
                .answered("it was configured when the run began, and is not any more"),
        };
        let databases =
            self.databases.iter().filter(|name| !options.databases.iter().any(|d| d.name() == **name));
        let databases = databases.map(|name| gone(Component::Databases, name));
        let directories =
            self.directories.iter().filter(|name| !options.directories.iter().any(|d| d.name() == **name));
        let directories = directories.map(|name| gone(Component::Directory(name.clone()), name));
        databases.chain(directories).collect()
    }

    /// What was asked for.
    pub fn request(&self, id: &BackupId) -> Result<RunRequest, InvalidInput> {
        let patterns = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        let components = |names: &[String]| names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
        Ok(RunRequest {
            backup_id: Some(id.clone()),
            mode: match self.mode {
                Mode::Auto => BackupMode::Auto,
                Mode::Full => BackupMode::Full,
                Mode::Incremental => BackupMode::Incremental,
            },
            storages: self.named_storages.clone(),
            filter: RepoFilter::new(patterns(&self.include)?, patterns(&self.exclude)?),
            components: ComponentSelection { only: components(&self.only)?, skip: components(&self.skip)? },
            dry_run: false,
            prove_later: self.prove_later,
            accept_gone: AcceptGone { all: self.accept_all_gone, names: self.accept_gone.clone() },
            schedule: self.schedule.clone(),
            patient: true,
            requested_by: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_its_journal() {
        let id: BackupId = "i".parse().expect("valid ID");
        let request = RunRequest {
            backup_id: Some(id.clone()),
            mode: BackupMode::Full,
            storages: vec!["a".parse().expect("valid name")],
            filter: RepoFilter::new(
                vec!["group/*".parse().expect("valid pattern")],
                vec!["group/x.git".parse().expect("valid pattern")],
            ),
            components: ComponentSelection {
                only: BTreeSet::new(),
                skip: ["db".parse().expect("valid component")].into(),
            },
            dry_run: false,
            prove_later: true,
            accept_gone: AcceptGone { all: false, names: ["old".parse().expect("valid name")].into() },
            schedule: Some("nightly".into()),
            patient: true,
            requested_by: String::new(),
        };
        let config = packhorse_service::config::Config::default();
        let options = CoordinatorOptions::from_config(&config, &Default::default(), None).expect("valid");
        let mut order = RunOrder::new(&request, &options);
        order.directories.push("uploads".into());
        let json = serde_json::to_value(&order).expect("an order is JSON");
        let read: RunOrder = serde_json::from_value(json).expect("own JSON");
        assert_eq!(read, order);
        let gone = read.no_longer_configured(&options);
        assert_eq!(gone.iter().map(|failure| failure.item.as_str()).collect::<Vec<_>>(), ["uploads"]);
        assert_eq!(format!("{:?}", read.request(&id).expect("own order")), format!("{request:?}"));
    }
}
