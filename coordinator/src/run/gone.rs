//! What earlier backups have and this run does not find: repositories of a storage, or whole storages, databases and
//! directories.
//!
//! Does not own: looking for repositories (the agent does). Nothing leaves a backup quietly: a part that has left the
//! configuration, and more repositories than a storage loses in a night, make every run incomplete until somebody confirms
//! that they were removed on purpose. The summary carries what is not confirmed from run to run.

use std::collections::BTreeSet;

use packhorse_model::{
    BackupId, Component, DatabaseContents, DatabaseSummary, DirectorySummary, ErrorKind, GonePart,
    ItemFailure, LackingPart, Problem, RunSummary, StorageName, Subject,
};
use packhorse_proto::v1::BackupStorageFinished;
use packhorse_service::config::RunSection;

use super::{WHOLE_STORAGE, request::RunRequest};
use crate::CoordinatorOptions;

/// So many repositories may be gone, however small the storage is.
const AT_LEAST: u64 = 10;

/// How much may be gone without a word from an operator.
#[derive(Clone, Debug)]
pub struct GoneRules {
    /// Share of a storage's repositories.
    pub share: f64,
    /// Storages, databases and directories that were removed on purpose.
    pub accepted: BTreeSet<StorageName>,
}

impl GoneRules {
    /// The rules that a configuration sets.
    pub fn from_config(section: &RunSection) -> Self {
        Self { share: section.max_gone, accepted: section.accept_gone.iter().cloned().collect() }
    }
}

/// What an operator confirms for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptGone {
    /// All that is gone.
    pub all: bool,
    /// What is gone of these.
    pub names: BTreeSet<StorageName>,
}

impl AcceptGone {
    fn covers(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|accepted| accepted.as_str() == name)
    }
}

/// What a storage has lost since the last backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Repositories that the last backup has.
    base: u64,
    /// Those of them that are gone.
    gone: u64,
    /// Those of them that were gone before, too, without being confirmed.
    still_gone: u64,
    /// Those of them that had refs, now or before without being confirmed, and have none.
    pub emptied: u64,
    /// Those of these that had none before, without being confirmed.
    still_emptied: u64,
    /// Others that were found and went away before they were read.
    missing: u64,
    /// Repositories that are there.
    there: u64,
}

impl Lost {
    /// What an agent found; `emptied_before` of the storage's repositories had lost their refs before.
    pub fn of(finished: &BackupStorageFinished, emptied_before: u64) -> Self {
        let counts = finished.counts.unwrap_or_default();
        // Those that fail tonight have not got their refs back.
        let still_emptied = emptied_before.min(counts.empty.saturating_add(counts.failed));
        Self {
            base: finished.base_repositories,
            gone: counts.gone,
            still_gone: finished.still_gone,
            emptied: finished.emptied.saturating_add(still_emptied),
            still_emptied,
            missing: counts.missing,
            there: counts.backed_up + counts.unchanged + counts.empty + counts.failed + counts.damaged,
        }
    }

    fn is_too_much(&self, share: f64, of_all: bool) -> bool {
        let lost = self.gone + self.emptied + self.missing;
        let known = self.base + self.missing;
        #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
        let above_share = lost >= AT_LEAST && lost as f64 > share * known as f64;
        // The only repository of a storage may lose its refs: somebody deleted the last branch.
        let is_all = self.gone + self.emptied >= self.base && (self.gone > 0 || self.emptied > 1);
        let whole = of_all && lost > 0 && (self.there == 0 || self.base > 0 && is_all);
        // What was not confirmed once does not become too few to matter because others were added.
        above_share || whole || self.still_gone > 0 || self.still_emptied > 0
    }

    fn told(&self) -> String {
        let parts = [
            (self.gone, "are gone"),
            (self.emptied, "have lost all their refs"),
            (self.missing, "went away before they were read"),
        ];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<String> = parts.map(|(number, what)| format!("{number} {what}")).collect();
        format!("of {} repositories that it held, {}", self.base + self.missing, parts.join(", "))
    }
}

/// Why a storage may not lose so many repositories without a word; none when it may.
pub fn too_many(
    rules: &GoneRules,
    request: &RunRequest,
    storage: &StorageName,
    lost: &Lost,
) -> Option<ItemFailure> {
    let is_accepted = request.accept_gone.covers(storage.as_str());
    if is_accepted || !lost.is_too_much(rules.share, request.filter.is_all()) {
        return None;
    }
    let problem = Problem::new(ErrorKind::NotFound, Subject::Host, "find repositories")
        .on(storage)
        .answered(lost.told())
        .leaving("what is gone stays in the backup as it was last")
        .next(format!(
            "check that the storage's file system is mounted; if this was meant, run `backupctl create \
             --accept-gone {storage}`"
        ));
    Some(ItemFailure {
        component: Component::Repositories,
        storage: Some(storage.to_string()),
        item: WHOLE_STORAGE.into(),
        problem,
    })
}

/// A database or directory, by component and name.
pub type Part = (Component, String);

/// The storages, databases and directories that the last backup of everything has, should have, or says are gone without
/// being confirmed: each with the newest backup that has it.
pub fn known(last: Option<&RunSummary>) -> Vec<LackingPart> {
    let Some(last) = last else { return Vec::new() };
    let id = &last.backup_id;
    let part = |component, name: &str, last_backup: &BackupId, filled| {
        let (name, last_backup) = (name.to_owned(), last_backup.clone());
        LackingPart { component, name, last_backup, filled }
    };
    let mut all = Vec::new();
    let storages = last.storages.iter();
    all.extend(storages.map(|storage| part(Component::Repositories, storage.storage.as_str(), id, false)));
    let databases = last.databases.iter();
    all.extend(databases.map(|database| part(Component::Databases, &database.name, id, is_filled(database))));
    for directory in &last.directories {
        let component = Component::Directory(directory.name.clone());
        all.push(part(component, &directory.name, id, is_filled_directory(directory)));
    }
    all.extend(last.lacking.iter().flatten().cloned());
    let gone = last.gone.iter().filter(|gone| !gone.confirmed);
    all.extend(gone.map(|gone| part(gone.component.clone(), &gone.name, &gone.last_backup, false)));
    if last.lacking.is_none() {
        all.extend(failed(last).map(|(component, name)| part(component, &name, id, false)));
    }
    let mut seen = BTreeSet::new();
    all.retain(|part| seen.insert((part.component.clone(), part.name.clone())));
    all
}

fn is_filled(database: &DatabaseSummary) -> bool {
    database.emptied_unconfirmed || database.contents.as_ref().is_some_and(|held| !held.is_empty())
}

fn is_filled_directory(directory: &DirectorySummary) -> bool {
    let held = directory.is_empty().map_or(directory.bytes_plain > SMALLEST_ARCHIVE, |empty| !empty);
    held || directory.emptied_unconfirmed
}

/// What a run of an older version failed on as a whole, and nobody confirmed to be gone.
fn failed(last: &RunSummary) -> impl Iterator<Item = Part> {
    let parts = last.failures.iter().filter_map(|failure| {
        let name = match (&failure.component, &failure.storage) {
            (Component::Repositories, Some(storage)) => storage.clone(),
            (Component::Repositories, None) => return None,
            (Component::Databases, _) => failure.item.clone(),
            (Component::Directory(name), _) => name.clone(),
        };
        Some((failure.component.clone(), name))
    });
    parts.filter(|(component, name)| !is_confirmed(&last.gone, component, name))
}

/// Whether an operator said that a part was removed on purpose.
fn is_confirmed(gone: &[GonePart], component: &Component, name: &str) -> bool {
    gone.iter().any(|part| part.confirmed && part.component == *component && part.name == name)
}

/// What is known from before and is not in the backup that a run made of everything, for the next run; what an operator
/// confirmed is known no more, or no more to hold something.
pub fn lacking(
    known: &[LackingPart],
    request: &RunRequest,
    gone: &[GonePart],
    has: impl Fn(&Component, &str) -> bool,
) -> Vec<LackingPart> {
    let is_lacking = |part: &&LackingPart| {
        !has(&part.component, &part.name) && !is_confirmed(gone, &part.component, &part.name)
    };
    let lacking = known.iter().filter(is_lacking).cloned();
    lacking
        .map(|part| LackingPart { filled: part.filled && !request.accept_gone.covers(&part.name), ..part })
        .collect()
}

/// Bytes of an archive that may hold nothing.
const SMALLEST_ARCHIVE: u64 = 10_240;

/// Marks databases and directories that are suddenly empty, and gives their failures.
pub fn emptied(
    known: &[LackingPart],
    request: &RunRequest,
    databases: &mut [DatabaseSummary],
    directories: &mut [DirectorySummary],
) -> Vec<ItemFailure> {
    let was_filled = |(component, name): &Part| {
        known.iter().any(|part| part.filled && part.component == *component && part.name == *name)
    };
    let is_meant = |part: &Part| !was_filled(part) || request.accept_gone.covers(&part.1);
    let mut failures = Vec::new();
    for database in databases {
        let part = (Component::Databases, database.name.clone());
        let is_empty = database.contents.as_ref().is_some_and(DatabaseContents::is_empty);
        database.emptied_unconfirmed = is_empty && !is_meant(&part);
        failures.extend(database.emptied_unconfirmed.then(|| suddenly_empty(part)));
    }
    for directory in directories {
        let part = (Component::Directory(directory.name.clone()), directory.name.clone());
        directory.emptied_unconfirmed = directory.is_empty() == Some(true) && !is_meant(&part);
        failures.extend(directory.emptied_unconfirmed.then(|| suddenly_empty(part)));
    }
    failures
}

fn suddenly_empty((component, name): Part) -> ItemFailure {
    let (subject, answer, check) = match component {
        Component::Databases => (
            Subject::Database,
            "it is empty, and was not at the last backup",
            "that this is the database that is meant",
        ),
        _ => (
            Subject::Directory,
            "no file of it is in the backup, and the last backup has some",
            "that its file system is mounted, and what it excludes",
        ),
    };
    let problem = Problem::new(ErrorKind::NotFound, subject, "compare with the last backup")
        .on(&name)
        .answered(answer)
        .leaving("the backup holds it as it is: empty")
        .next(format!("check {check}; if this was meant, run `backupctl create --accept-gone {name}`"));
    ItemFailure { component, storage: None, item: name, problem }
}

/// Refuses to confirm what nobody knows.
pub fn check_accepted(
    request: &RunRequest,
    options: &CoordinatorOptions,
    storages: &[StorageName],
    before: &[LackingPart],
) -> Result<(), Problem> {
    let mut known: BTreeSet<String> = storages.iter().map(ToString::to_string).collect();
    known.extend(options.databases.iter().map(|database| database.name().to_owned()));
    known.extend(options.directories.iter().map(|directory| directory.name().to_owned()));
    known.extend(before.iter().map(|part| part.name.clone()));
    let unknown = request.accept_gone.names.iter().find(|name| !known.contains(name.as_str()));
    unknown.map_or(Ok(()), |name| {
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "accept what is gone")
            .on(name)
            .answered(format!("no storage, database or directory is called so; known: {}", names.join(", ")))
            .or_nearest(name.as_str(), names.iter().copied()))
    })
}

/// What the last backup of everything has, and this run does not look at.
pub fn parts_gone(
    known: &[LackingPart],
    storages: &BTreeSet<StorageName>,
    request: &RunRequest,
    options: &CoordinatorOptions,
) -> Vec<GonePart> {
    let is_here = |component: &Component, name: &str| match component {
        Component::Repositories => storages.iter().any(|storage| storage.as_str() == name),
        Component::Databases => options.databases.iter().any(|database| database.name() == name),
        Component::Directory(name) => options.directories.iter().any(|directory| directory.name() == name),
    };
    // Of what a run leaves out on purpose, nobody can say that all of it is gone.
    let asked = |name: &str| match request.is_limited() {
        true => request.accept_gone.names.iter().any(|named| named.as_str() == name),
        false => request.accept_gone.covers(name),
    };
    let accepted =
        |name: &str| asked(name) || options.gone.accepted.iter().any(|known| known.as_str() == name);
    let mut gone = Vec::new();
    for LackingPart { component, name, last_backup, .. } in known.iter().cloned() {
        if !is_here(&component, &name) {
            let confirmed = accepted(&name);
            gone.push(GonePart { component, name, last_backup, confirmed });
        }
    }
    gone
}

/// The failures of parts that are gone and not confirmed.
pub fn failures(gone: &[GonePart]) -> impl Iterator<Item = ItemFailure> {
    gone.iter().filter(|part| !part.confirmed).map(failure)
}

fn failure(GonePart { component, name, last_backup, .. }: &GonePart) -> ItemFailure {
    let (storage, item, what, subject, section) = match component {
        Component::Repositories => (
            Some(name.clone()),
            WHOLE_STORAGE.to_owned(),
            "no agent that answers serves it",
            Subject::Agent,
            "storage",
        ),
        Component::Databases => {
            (None, name.clone(), "the configuration has it no more", Subject::Database, "database")
        }
        Component::Directory(_) => {
            (None, name.clone(), "the configuration has it no more", Subject::Directory, "directory")
        }
    };
    let problem = Problem::new(ErrorKind::NotFound, subject, format!("find {section}"))
        .on(name)
        .answered(format!("{what}, and backup {last_backup} has it"))
        .leaving("this backup does not hold it; earlier ones do")
        .next(format!(
            "configure it again; if it was removed on purpose, run `backupctl create --accept-gone {name}`, or \
             add it to accept_gone in [run]"
        ));
    ItemFailure { component: component.clone(), storage, item, problem }
}

#[cfg(test)]
mod tests {
    use packhorse_proto::v1::{Counts, CreateRequest};

    use super::*;

    fn options() -> CoordinatorOptions {
        let config = packhorse_service::config::Config::default();
        CoordinatorOptions::from_config(&config, &Default::default(), None).expect("valid")
    }

    fn request(wire: CreateRequest) -> RunRequest {
        RunRequest::from_wire(wire, &options()).expect("valid request")
    }

    fn verdict(wire: CreateRequest, there: u64, gone: u64) -> bool {
        verdict_again(wire, there, gone, 0)
    }

    fn verdict_again(wire: CreateRequest, there: u64, gone: u64, still_gone: u64) -> bool {
        let finished = BackupStorageFinished {
            counts: Some(Counts { unchanged: there, gone, ..Counts::default() }),
            base_repositories: there + gone,
            still_gone,
            ..BackupStorageFinished::default()
        };
        let storage: StorageName = "default".parse().expect("valid name");
        too_many(&options().gone, &request(wire), &storage, &Lost::of(&finished, 0)).is_some()
    }

    #[test]
    fn repositories_without_refs_are_missed_until_all_have_theirs_back_or_somebody_confirms_it() {
        let verdict = |wire: CreateRequest, empty: u64, failed: u64| {
            let counts = Counts { unchanged: 1000, empty, failed, ..Counts::default() };
            let finished = BackupStorageFinished {
                counts: Some(counts),
                base_repositories: 1000 + empty + failed,
                ..BackupStorageFinished::default()
            };
            let storage: StorageName = "default".parse().expect("valid name");
            too_many(&options().gone, &request(wire), &storage, &Lost::of(&finished, 12)).is_some()
        };
        let asked = CreateRequest::default;
        assert!(verdict(asked(), 12, 0) && verdict(asked(), 3, 0), "some are back");
        assert!(verdict(asked(), 0, 12), "nobody can see their refs tonight");
        assert!(!verdict(asked(), 0, 0), "all are back");
        assert!(!verdict(CreateRequest { accept_all_gone: true, ..asked() }, 12, 0));
    }

    #[test]
    fn a_night_may_lose_a_quarter_or_a_few_but_not_all() {
        let asked = CreateRequest::default;
        for (there, gone, too_many) in [
            (100, 0, false),
            (100, 33, false),
            (100, 34, true),
            (1, 9, false),
            (1, 16, true),
            (0, 1, true),
            (0, 9, true),
        ] {
            assert_eq!(verdict(asked(), there, gone), too_many, "{gone} gone, {there} there");
        }
        assert!(verdict_again(asked(), 1000, 12, 12), "as long as nobody confirms it");
        assert!(!verdict_again(CreateRequest { accept_all_gone: true, ..asked() }, 1000, 12, 12));
        assert!(!verdict(CreateRequest { accept_all_gone: true, ..asked() }, 0, 50));
        assert!(!verdict(CreateRequest { accept_gone: vec!["default".into()], ..asked() }, 0, 50));
        assert!(verdict(CreateRequest { accept_gone: vec!["other".into()], ..asked() }, 0, 50));
    }
}
