//! Step 1 of a restore: which backup, which parts of it, and where each goes.
//!
//! Does not own: doing it. Everything named by the operator must exist in the backup and at the target, or nothing is
//! started.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use packhorse_model::{
    BackupSelector, Component, ComponentSelection, DatabaseSummary, DirectorySummary, ErrorKind, ItemFailure,
    ObjectDigest, Problem, RepoFilter, RunSummary, StorageName, Subject,
};
use packhorse_proto::{filter_from_wire, v1::RestoreRequest as Wire};
use packhorse_vault::Latest;

use packhorse_service::places::Place;

use crate::{
    CoordinatorOptions,
    database::Database,
    directory::{Target, path_of},
    fleet::Fleet,
    run::{check_named, components},
};

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
    only: Vec<String>,
    skip: Vec<String>,
}

/// One storage to restore.
pub struct StorageRestore {
    /// Its name in the backup.
    pub source: StorageName,
    /// The agent's storage.
    pub target: StorageName,
    /// Its catalogue.
    pub catalogue: ObjectDigest,
    /// Whether repositories that were gone are brought back, because nobody said that they were deleted on purpose.
    pub gone_unconfirmed: bool,
}

/// What a restore is going to do.
#[derive(Default)]
pub struct RestorePlan {
    /// Storages.
    pub storages: Vec<StorageRestore>,
    /// Databases.
    pub databases: Vec<DatabaseSummary>,
    /// Directories, each with its target.
    pub directories: Vec<(DirectorySummary, Target)>,
    /// Parts of the backup that the configuration has no place for.
    pub failures: Vec<ItemFailure>,
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
        list("repositories", self.filter.included().iter().map(ToString::to_string).collect());
        list("without repositories", self.filter.excluded().iter().map(ToString::to_string).collect());
        list("only", self.only.clone());
        list("without", self.skip.clone());
        if self.force {
            asked.push("replacing what exists".into());
        }
        asked.join(", ")
    }

    /// Looks up everything in the backup's report and the configuration.
    pub fn plan(&self, summary: &RunSummary, options: &CoordinatorOptions) -> Result<RestorePlan, Problem> {
        let mut names: Vec<String> = summary.directories.iter().map(|d| d.name.clone()).collect();
        names.extend(not_held(summary).filter_map(|failure| match &failure.component {
            Component::Directory(name) => Some(name.clone()),
            _ => None,
        }));
        let selection = components(&self.only, &self.skip, &names)?;
        self.check_folders(&names, options)?;
        let mut plan = RestorePlan::default();
        // What is named means just that: a storage, repository or directory. The rest stays as it is.
        let named = !self.storages.is_empty() || !self.filter.is_all() || !self.to_storage.is_empty();
        check_named(&selection, named)?;
        if selection.selects(&Component::Repositories)
            && (named || self.to_directory.is_empty() || !self.only.is_empty())
        {
            self.plan_storages(summary, &mut plan)?;
        }
        let parts = !self.only.is_empty() || !named && self.to_directory.is_empty();
        if parts {
            plan_databases(&selection, summary, options, &mut plan)?;
        }
        self.plan_directories(&selection, parts, summary, options, &mut plan);
        let wanted = |failure: &&ItemFailure| {
            selection.selects(&failure.component)
                && match (&failure.component, &failure.storage) {
                    (Component::Repositories, Some(storage)) => self.wants(storage),
                    _ => parts,
                }
        };
        plan.failures.extend(not_held(summary).filter(wanted).map(why_not_held));
        Ok(plan)
    }

    /// Refuses folders from a caller that is not our own, and for directories that the backup does not know.
    fn check_folders(&self, names: &[String], options: &CoordinatorOptions) -> Result<(), Problem> {
        let problem = |kind, subject, answer: String| {
            Err(Problem::new(kind, subject, "find directory").on("--to-directory").answered(answer))
        };
        for (name, path) in &self.to_directory {
            if options.identity.is_some() || !path.is_absolute() {
                let answer = "only embedded mode takes a folder, which must be absolute".to_owned();
                return problem(ErrorKind::Invalid, Subject::Configuration, answer);
            }
            if !names.contains(name) {
                let answer = format!("the backup does not hold {name}; it holds: {}", names.join(", "));
                return problem(ErrorKind::NotFound, Subject::Backup, answer);
            }
        }
        Ok(())
    }

    fn plan_directories(
        &self,
        selection: &ComponentSelection,
        parts: bool,
        summary: &RunSummary,
        options: &CoordinatorOptions,
        plan: &mut RestorePlan,
    ) {
        for directory in &summary.directories {
            let component = Component::Directory(directory.name.clone());
            let folder = self.to_directory.get(&directory.name);
            if folder.is_none() && !(parts && selection.selects(&component)) {
                continue;
            }
            let configured = options.directories.iter().find(|own| own.name() == directory.name);
            let unread = summary.failures.iter().filter(|failure| failure.component == component);
            let target = Target {
                path: PathBuf::new(),
                exclude: Vec::new(),
                others: options.places.clone(),
                unread: unread.map(|failure| path_of(&failure.item)).collect(),
                numeric_owner: self.numeric_owner,
                force: self.force,
            };
            match (configured, folder) {
                (own, Some(folder)) => {
                    let target = Target { path: folder.clone(), ..target };
                    let target = own.map_or_else(|| target.clone(), |own| own.excluding(target.clone()));
                    plan.directories.push((directory.clone(), target));
                }
                (Some(own), None) => plan.directories.push((directory.clone(), own.target(target))),
                (None, None) => {
                    plan.failures.push(no_place(component, &directory.name, "[[directory]]"));
                }
            }
        }
    }

    /// The folders that directories go to beside those that are configured.
    pub fn folders(&self, options: &CoordinatorOptions) -> Vec<Place> {
        let own = |name: &str, path: &Path| options.places.contains(&Place::directory(name, path));
        let folders = self.to_directory.iter().filter(|(name, path)| !own(name, path));
        folders.map(|(name, path)| Place::target(name, path)).collect()
    }

    /// Whether a storage of the backup is wanted: one that is named, or any when none is.
    fn wants(&self, storage: &str) -> bool {
        let mut named = self.storages.iter().chain(self.to_storage.keys()).peekable();
        named.peek().is_none() || named.any(|name| name.as_str() == storage)
    }

    fn plan_storages(&self, summary: &RunSummary, plan: &mut RestorePlan) -> Result<(), Problem> {
        for name in self.storages.iter().chain(self.to_storage.keys()) {
            let failed = not_held(summary).any(|failure| failure.storage.as_deref() == Some(name.as_str()));
            if !failed && !summary.storages.iter().any(|storage| storage.storage == *name) {
                let known: Vec<&str> = summary.storages.iter().map(|s| s.storage.as_str()).collect();
                return Err(Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
                    .on(name)
                    .answered(format!(
                        "backup {} does not hold it; it holds: {}",
                        summary.backup_id,
                        known.join(", ")
                    ))
                    .or_nearest(name.as_str(), known));
            }
        }
        for storage in &summary.storages {
            let selected = self.wants(storage.storage.as_str());
            let Some(catalogue) = storage.catalogue.clone().filter(|_| selected) else { continue };
            let source = storage.storage.clone();
            let target = self.to_storage.get(&source).unwrap_or(&source).clone();
            if plan.storages.iter().any(|other| other.target == target) {
                return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "plan restore")
                    .on(&target)
                    .answered("two storages of the backup would be restored into it")
                    .next("restore one of them at a time, or name another with --to-storage"));
            }
            let gone_unconfirmed = storage.gone_unconfirmed > 0;
            plan.storages.push(StorageRestore { source, target, catalogue, gone_unconfirmed });
        }
        Ok(())
    }
}

fn plan_databases(
    selection: &ComponentSelection,
    summary: &RunSummary,
    options: &CoordinatorOptions,
    plan: &mut RestorePlan,
) -> Result<(), Problem> {
    let mut targets: Vec<&Database> = Vec::new();
    for database in summary.databases.iter().filter(|_| selection.selects(&Component::Databases)) {
        let Some(target) = options.databases.iter().find(|target| target.name() == database.name) else {
            plan.failures.push(no_place(Component::Databases, &database.name, "[[database]]"));
            continue;
        };
        if let Some(other) = targets.iter().find(|other| other.is_same_as(target)) {
            return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "plan restore")
                .on(format!("[[database]] {} and {}", other.name(), target.name()))
                .answered("both lead to one database, and the backup would be restored into it twice")
                .next("correct a url, or take one of them out of the configuration of this restore"));
        }
        targets.push(target);
        plan.databases.push(database.clone());
    }
    Ok(())
}

/// What the backup's run failed on as a whole, so that the backup holds nothing of it.
fn not_held(summary: &RunSummary) -> impl Iterator<Item = &ItemFailure> {
    summary.failures.iter().filter(|failure| match &failure.component {
        Component::Repositories => failure.storage.as_ref().is_some_and(|storage| {
            let mut held = summary.storages.iter().filter(|held| held.catalogue.is_some());
            !held.any(|held| held.storage.as_str() == storage)
        }),
        Component::Databases => !summary.databases.iter().any(|held| held.name == failure.item),
        Component::Directory(name) => !summary.directories.iter().any(|held| held.name == *name),
    })
}

fn why_not_held(failure: &ItemFailure) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Backup, "find in backup")
        .on(failure.storage.as_ref().unwrap_or(&failure.item))
        .answered(format!("this backup does not hold it, because its run failed on it: {}", failure.problem))
        .next("restore it from another backup; backupctl list names them");
    ItemFailure { problem, ..failure.clone() }
}

fn no_place(component: Component, name: &str, section: &str) -> ItemFailure {
    let problem = Problem::new(ErrorKind::Invalid, Subject::Configuration, "plan restore")
        .on(name)
        .answered(format!("the backup holds it, but the configuration has no {section} of that name"))
        .next(format!("add the {section}, or leave it out with --skip"));
    ItemFailure { component, storage: None, item: name.to_owned(), problem }
}

/// Checks that every target storage is served.
pub fn check_targets(plan: &RestorePlan, fleet: &Fleet) -> Result<(), Problem> {
    plan.storages.iter().try_for_each(|storage| fleet.agent_of(&storage.target).map(drop))
}
