//! Step 1 of a restore: which parts of a backup, and where each goes.
//!
//! Does not own: doing it, or whether the targets can be used (`preflight`). Everything that the operator names must exist
//! in the backup, and every part must have a place, or nothing is started.

use std::path::{Path, PathBuf};

use packhorse_model::{
    Component, ComponentSelection, DatabaseSummary, DirectorySummary, ErrorKind, ItemFailure, ObjectDigest,
    Problem, RestoreTarget, RunSummary, StorageName, Subject,
};
use packhorse_service::places::Place;

use super::request::RestoreRequest;
use crate::{
    CoordinatorOptions,
    database::Database,
    directory::{Target, UNREAD, path_of},
    fleet::Fleet,
    run::check_named,
};

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
    /// How the restore goes on without it; none when it was asked for by name.
    pub without: Option<String>,
}

/// One database to restore.
pub struct DatabaseRestore {
    /// What the backup has.
    pub summary: DatabaseSummary,
    /// Where it goes.
    pub target: Database,
}

/// What a restore is going to do.
#[derive(Default)]
pub struct RestorePlan {
    /// Storages.
    pub storages: Vec<StorageRestore>,
    /// Databases.
    pub databases: Vec<DatabaseRestore>,
    /// Directories, each with its target.
    pub directories: Vec<(DirectorySummary, Target)>,
    /// What was selected and the backup does not hold.
    pub failures: Vec<ItemFailure>,
    /// Parts of the backup that have no place to go to.
    pub problems: Vec<ItemFailure>,
    /// What is to be known of what was selected.
    pub remarks: Vec<ItemFailure>,
}

impl RestorePlan {
    /// Where each part goes.
    pub fn targets(&self, fleet: &Fleet) -> Vec<RestoreTarget> {
        let storages = self.storages.iter().map(|storage| RestoreTarget {
            component: Component::Repositories,
            name: storage.source.to_string(),
            target: storage.target.to_string(),
            path: fleet.path_of(&storage.target),
        });
        let databases = self.databases.iter().map(|database| RestoreTarget {
            component: Component::Databases,
            name: database.summary.name.clone(),
            target: database.target.place(),
            path: None,
        });
        let directories = self.directories.iter().map(|(directory, target)| RestoreTarget {
            component: Component::Directory(directory.name.clone()),
            name: directory.name.clone(),
            target: target.path.display().to_string(),
            path: None,
        });
        storages.chain(databases).chain(directories).collect()
    }
}

impl RestoreRequest {
    /// Looks up everything in the backup's report and the configuration.
    pub fn plan(&self, summary: &RunSummary, options: &CoordinatorOptions) -> Result<RestorePlan, Problem> {
        let directories = names_of(summary, |component| matches!(component, Component::Directory(_)));
        let databases = names_of(summary, |component| *component == Component::Databases);
        let chosen = self.choose(summary, &[&directories[..], &databases].concat())?;
        let selection = &chosen.components;
        self.check_folders(&directories, options)?;
        self.check_urls(&databases)?;
        let remarks = chosen.remarks(&self.skip, summary);
        let mut plan = RestorePlan { remarks, ..RestorePlan::default() };
        // What is named means just that: a storage, repository or directory. The rest stays as it is.
        let named = !self.storages.is_empty() || !self.filter.is_all() || !self.to_storage.is_empty();
        check_named(selection, named)?;
        let elsewhere = !self.to_directory.is_empty() || !self.to_database.is_empty();
        if selection.selects(&Component::Repositories) && (named || !elsewhere || !self.only.is_empty()) {
            self.plan_storages(summary, &chosen, &mut plan)?;
        }
        let parts = !self.only.is_empty() || !named && !elsewhere;
        self.plan_databases(selection, parts, summary, options, &mut plan)?;
        self.plan_directories(selection, parts, summary, options, &mut plan);
        let wanted = |failure: &&ItemFailure| match (&failure.component, &failure.storage) {
            (Component::Repositories, Some(storage)) => {
                selection.selects(&failure.component) && self.wants(storage, &chosen)
            }
            (Component::Databases, _) => self.wants_database(selection, parts, &failure.item),
            (component, _) => parts && selection.selects(component),
        };
        plan.failures.extend(not_held(summary).filter(wanted).map(why_not_held));
        Ok(plan)
    }

    /// Refuses folders from a caller that is not our own, and for directories that the backup does not know.
    fn check_folders(&self, names: &[String], options: &CoordinatorOptions) -> Result<(), Problem> {
        let problem = |kind, subject, name: &str, answer: String| {
            let on = format!("--to-directory {name}");
            Problem::new(kind, subject, "find directory").on(on).answered(answer)
        };
        for (name, path) in &self.to_directory {
            if options.identity.is_some() || !path.is_absolute() {
                let answer = "only embedded mode takes a folder, which must be absolute".to_owned();
                return Err(problem(ErrorKind::Invalid, Subject::Configuration, name, answer));
            }
            if !names.contains(name) {
                let answer = format!("the backup does not hold {name}; it holds: {}", names.join(", "));
                return Err(problem(ErrorKind::NotFound, Subject::Backup, name, answer)
                    .or_nearest(name, names.iter().map(String::as_str)));
            }
        }
        Ok(())
    }

    /// Refuses targets for databases that the backup does not know.
    fn check_urls(&self, names: &[String]) -> Result<(), Problem> {
        let unknown = self.to_database.keys().find(|name| !names.contains(name));
        unknown.map_or(Ok(()), |name| {
            Err(Problem::new(ErrorKind::NotFound, Subject::Backup, "find database")
                .on(format!("--to-database {name}"))
                .answered(format!("the backup does not hold {name}; it holds: {}", names.join(", ")))
                .or_nearest(name, names.iter().map(String::as_str)))
        })
    }

    fn wants_database(&self, selection: &ComponentSelection, parts: bool, name: &str) -> bool {
        self.to_database.contains_key(name) || parts && selection.selects_database(name)
    }

    fn plan_databases(
        &self,
        selection: &ComponentSelection,
        parts: bool,
        summary: &RunSummary,
        options: &CoordinatorOptions,
        plan: &mut RestorePlan,
    ) -> Result<(), Problem> {
        for database in &summary.databases {
            if !self.wants_database(selection, parts, &database.name) {
                continue;
            }
            let own = options.databases.iter().find(|own| own.name() == database.name);
            let target = match (self.to_database.get(&database.name), own) {
                (Some(url), own) => {
                    let own_caller = options.identity.is_none();
                    Database::elsewhere(&database.name, url, own, &options.libpq, own_caller)?
                }
                (None, Some(own)) => own.clone(),
                (None, None) => {
                    plan.problems.push(no_place(Component::Databases, &database.name, "[[database]]"));
                    continue;
                }
            };
            if let Some(other) = plan.databases.iter().find(|other| other.target.is_same_as(&target)) {
                let problem = into_one(&other.summary.name, &database.name, &target.place());
                let (component, item) = (Component::Databases, database.name.clone());
                plan.problems.push(ItemFailure { component, storage: None, item, problem });
                continue;
            }
            plan.databases.push(DatabaseRestore { summary: database.clone(), target });
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
            let unread = summary
                .failures
                .iter()
                .filter(|failure| failure.component == component && failure.problem.what == UNREAD);
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
                    plan.problems.push(no_place(component, &directory.name, "[[directory]]"));
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
}

fn into_one(one: &str, other: &str, place: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "plan restore")
        .on(format!("databases {one} and {other}"))
        .answered(format!("both lead to {place}, and the backup would be restored into it twice"))
        .next("correct a url, restore one of them at a time, or name another target with --to-database")
}

/// The names of parts that the backup holds, or that its run failed on.
fn names_of(summary: &RunSummary, of: impl Fn(&Component) -> bool) -> Vec<String> {
    let databases = summary.databases.iter().map(|database| (Component::Databases, database.name.clone()));
    let directories = summary.directories.iter();
    let directories = directories.map(|d| (Component::Directory(d.name.clone()), d.name.clone()));
    let failed = not_held(summary).filter(|failure| failure.component != Component::Repositories);
    let failed = failed.map(|failure| match &failure.component {
        Component::Directory(name) => (failure.component.clone(), name.clone()),
        _ => (failure.component.clone(), failure.item.clone()),
    });
    let all = databases.chain(directories).chain(failed);
    all.filter(|(component, _)| of(component)).map(|(_, name)| name).collect()
}

/// What the backup's run failed on as a whole, so that the backup holds nothing of it.
pub fn not_held(summary: &RunSummary) -> impl Iterator<Item = &ItemFailure> {
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
        .next(format!("add the {section}, name another place for it, or leave it out with --skip {name}"));
    ItemFailure { component, storage: None, item: name.to_owned(), problem }
}
