//! What a dry run checks and says that a run does not need to.
//!
//! Does not own: the look at the repositories (`dispatch`). A dry run writes nothing, and does not open a database or read
//! a directory.

use packhorse_model::{Component, ErrorKind, ItemFailure, Problem, Subject};
use packhorse_vault::{RunJournal, Vault};

use super::{plan::RunPlan, request::RunRequest};
use crate::CoordinatorOptions;

/// Refuses a backup ID that a run could not claim.
pub async fn check_id(vault: &Vault, request: &RunRequest) -> Result<(), Problem> {
    match &request.backup_id {
        Some(id) => Ok(RunJournal::check_free(vault, id).await?),
        None => Ok(()),
    }
}

/// The databases and directories that a run would back up, and this one does not look at.
pub fn not_looked_at(
    plan: &RunPlan,
    request: &RunRequest,
    options: &CoordinatorOptions,
) -> Option<ItemFailure> {
    let names = parts(request, options);
    (!names.is_empty()).then(|| ItemFailure {
        component: Component::Repositories,
        storage: None,
        item: plan.run.id.to_string(),
        problem: Problem::new(ErrorKind::Invalid, Subject::Backup, "dry run")
            .answered(format!("looked at repositories only, and not at {}", names.join(", "))),
    })
}

/// The databases and directories that are selected.
pub fn parts<'o>(request: &RunRequest, options: &'o CoordinatorOptions) -> Vec<&'o str> {
    let components = &request.components;
    let databases = options.databases.iter().map(|database| database.name());
    let directories = options.directories.iter().map(|directory| directory.name());
    let directories =
        directories.filter(|name| components.selects(&Component::Directory((*name).to_owned())));
    databases.filter(|name| components.selects_database(name)).chain(directories).collect()
}

/// The error of a dry run for which no repositories are selected.
pub fn nothing_looked_at(names: &[&str]) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "create backup")
        .answered(format!(
            "a dry run looks at repositories only, and none are selected; a run would back up {}",
            names.join(", ")
        ))
        .next("run without --dry-run, or select repositories, too")
}
