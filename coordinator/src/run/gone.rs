//! What earlier backups have and this run does not find: repositories of a storage, or whole storages, databases and
//! directories.
//!
//! Does not own: looking for repositories (the agent does). Nothing leaves a backup quietly: a part that has left the
//! configuration, and more repositories than a storage loses in a night, make every run incomplete until somebody confirms
//! that they were removed on purpose. The summary carries what is not confirmed from run to run.

use std::collections::BTreeSet;

use packhorse_model::{
    BackupId, Component, ErrorKind, GonePart, ItemFailure, Problem, RunSummary, StorageName, Subject,
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

/// Why so many repositories of a storage may not be gone without a word; none when they may.
pub fn too_many(
    rules: &GoneRules,
    request: &RunRequest,
    storage: &StorageName,
    finished: &BackupStorageFinished,
) -> Option<ItemFailure> {
    let counts = finished.counts.unwrap_or_default();
    let (gone, base) = (counts.gone, finished.base_repositories);
    if gone == 0 || request.accept_gone.covers(storage.as_str()) {
        return None;
    }
    let there = counts.backed_up + counts.unchanged + counts.empty + counts.failed + counts.damaged;
    let nothing_left = there == 0 && request.filter.is_all();
    #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
    let above_share = gone >= AT_LEAST && gone as f64 > rules.share * base as f64;
    // What was not confirmed once does not become too few to matter because others were added.
    if !nothing_left && !above_share && finished.still_gone == 0 {
        return None;
    }
    let answer = match nothing_left {
        true => format!("it holds none of the {base} repositories that the last backup has"),
        false => format!("{gone} of the {base} repositories that the last backup has are gone"),
    };
    let problem = Problem::new(ErrorKind::NotFound, Subject::Host, "find repositories")
        .on(storage)
        .answered(answer)
        .leaving("they stay in the backup as they were last")
        .next(format!(
            "check that the storage's file system is mounted; if they were deleted on purpose, run \
             `backupctl create --accept-gone {storage}`"
        ));
    Some(ItemFailure {
        component: Component::Repositories,
        storage: Some(storage.to_string()),
        item: WHOLE_STORAGE.into(),
        problem,
    })
}

/// What the last backup of everything has, and this run does not look at.
pub fn parts_gone(
    last: Option<&RunSummary>,
    storages: &BTreeSet<StorageName>,
    request: &RunRequest,
    options: &CoordinatorOptions,
) -> Vec<GonePart> {
    let Some(last) = last else { return Vec::new() };
    let is_here = |component: &Component, name: &str| match component {
        Component::Repositories => storages.iter().any(|storage| storage.as_str() == name),
        Component::Databases => options.databases.iter().any(|database| database.name() == name),
        Component::Directory(name) => options.directories.iter().any(|directory| directory.name() == name),
    };
    let accepted = |name: &str| {
        request.accept_gone.covers(name) || options.gone.accepted.iter().any(|known| known.as_str() == name)
    };
    let mut gone = Vec::new();
    for (component, name, last_backup) in parts_of(last) {
        if !is_here(&component, &name) {
            let confirmed = accepted(&name);
            gone.push(GonePart { component, name, last_backup, confirmed });
        }
    }
    gone
}

/// The storages, databases and directories that a backup has, should have, or says are gone without being confirmed.
fn parts_of(last: &RunSummary) -> BTreeSet<(Component, String, BackupId)> {
    let mut parts = BTreeSet::new();
    let mut known = BTreeSet::new();
    let mut add = |component: Component, name: String, id: &BackupId| {
        if known.insert((component.clone(), name.clone())) {
            parts.insert((component, name, id.clone()));
        }
    };
    for part in last.gone.iter().filter(|part| !part.confirmed) {
        add(part.component.clone(), part.name.clone(), &part.last_backup);
    }
    let id = &last.backup_id;
    for storage in &last.storages {
        add(Component::Repositories, storage.storage.to_string(), id);
    }
    for database in &last.databases {
        add(Component::Databases, database.name.clone(), id);
    }
    for directory in &last.directories {
        add(Component::Directory(directory.name.clone()), directory.name.clone(), id);
    }
    // What that run failed on as a whole is missing from its lists.
    let confirmed = |component: &Component, name: &str| {
        last.gone.iter().any(|part| part.confirmed && part.component == *component && part.name == name)
    };
    for ItemFailure { component, storage, item, .. } in &last.failures {
        let name = match (component, storage) {
            (Component::Repositories, Some(storage)) => storage.clone(),
            (Component::Repositories, None) => continue,
            (Component::Databases, _) => item.clone(),
            (Component::Directory(name), _) => name.clone(),
        };
        if !confirmed(component, &name) {
            add(component.clone(), name, id);
        }
    }
    parts
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
        too_many(&options().gone, &request(wire), &storage, &finished).is_some()
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
