//! What the backup itself lacks, said by every restore of it.
//!
//! Does not own: repositories that failed, each of which its agent names from the catalogue, or parts that the backup does
//! not hold at all (`request`). A restore of a backup that is incomplete, partial or unproven says so.

use packhorse_model::{Component, ErrorKind, ItemFailure, Problem, RepoPath, RunState, RunSummary, Subject};

use super::plan::RestorePlan;
use crate::{CoordinatorOptions, fleet::Fleet};

/// What is missing from the parts that are restored: files of a directory that could not be read, and repositories whose
/// names could not be stored.
pub fn missing_items(summary: &RunSummary, plan: &RestorePlan) -> Vec<ItemFailure> {
    let is_missing = |failure: &&ItemFailure| match (&failure.component, &failure.storage) {
        (Component::Repositories, Some(storage)) => {
            let restored = plan.storages.iter().any(|restored| restored.source.as_str() == storage);
            restored && (failure.item.parse::<RepoPath>().is_err() || is_folder(failure))
        }
        (Component::Directory(name), _) => {
            plan.directories.iter().any(|(restored, _)| restored.name == *name)
        }
        _ => false,
    };
    let mut missing: Vec<ItemFailure> = summary.failures.iter().filter(is_missing).map(why_missing).collect();
    let unnamed = summary.failures_total.saturating_sub(summary.failures.len() as u64);
    if unnamed > 0 && !plan.directories.is_empty() {
        missing.push(more(summary, unnamed));
    }
    missing
}

/// A folder that could not be listed is in no catalogue.
fn is_folder(failure: &ItemFailure) -> bool {
    failure.problem.what == "read folder"
}

fn why_missing(failure: &ItemFailure) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Backup, "find in backup")
        .on(&failure.item)
        .answered(format!("the backup lacks it, because its run failed on it: {}", failure.problem))
        .next("look whether another backup has it");
    ItemFailure { problem, ..failure.clone() }
}

fn more(summary: &RunSummary, unnamed: u64) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Backup, "find in backup")
        .on(&summary.backup_id)
        .answered(format!("its run failed on {unnamed} more items, which its report does not name"))
        .next("look whether another backup has them");
    // Only files of directories are not named elsewhere.
    let directory = summary.directories.first().map(|directory| directory.name.clone()).unwrap_or_default();
    ItemFailure { component: Component::Directory(directory), storage: None, item: "(more)".into(), problem }
}

/// What is to be known about the backup as a whole.
pub fn remarks(
    summary: &RunSummary,
    plan: &RestorePlan,
    options: &CoordinatorOptions,
    fleet: &Fleet,
) -> Vec<ItemFailure> {
    let mut remarks = Vec::new();
    if summary.partial {
        remarks.push(of_backup(summary, partial(summary, plan, options, fleet)));
    }
    match summary.state {
        RunState::Complete => {}
        RunState::Unproven => remarks.push(of_backup(
            summary,
            format!(
                "it is unproven: nobody has looked whether {} of its repositories hold all that their refs reach",
                summary.unproven
            ),
        )),
        RunState::Incomplete => remarks.push(of_backup(
            summary,
            match summary.failures_total {
                1 => "it is incomplete: one item is missing from it".to_owned(),
                missing => format!("it is incomplete: {missing} items are missing from it"),
            },
        )),
    }
    remarks
}

/// What the configuration names and the backup was not asked to hold.
fn partial(summary: &RunSummary, plan: &RestorePlan, options: &CoordinatorOptions, fleet: &Fleet) -> String {
    let mut left_out: Vec<String> = Vec::new();
    let held = |name: &str| summary.storages.iter().any(|held| held.storage.as_str() == name);
    left_out.extend(
        fleet.storages.keys().filter(|name| !held(name.as_str())).map(|name| format!("storage {name}")),
    );
    let filtered = summary.storages.iter().filter(|storage| {
        storage.filtered && plan.storages.iter().any(|restored| restored.source == storage.storage)
    });
    left_out.extend(
        filtered.map(|storage| format!("repositories of {} that were not selected", storage.storage)),
    );
    let databases = options.databases.iter().map(|database| database.name());
    let databases = databases.filter(|name| !summary.databases.iter().any(|held| held.name == *name));
    left_out.extend(databases.map(|name| format!("database {name}")));
    let directories = options.directories.iter().map(|directory| directory.name());
    let directories = directories.filter(|name| !summary.directories.iter().any(|held| held.name == *name));
    left_out.extend(directories.map(|name| format!("directory {name}")));
    match left_out.is_empty() {
        true => "it is partial: only what was selected is in it".to_owned(),
        false => format!("it is partial, and does not hold: {}", left_out.join(", ")),
    }
}

/// Something that is to be known of the backup.
pub fn of_backup(summary: &RunSummary, answer: String) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Backup, "restore backup")
        .on(&summary.backup_id)
        .answered(answer);
    ItemFailure {
        component: Component::Repositories,
        storage: None,
        item: summary.backup_id.to_string(),
        problem,
    }
}
