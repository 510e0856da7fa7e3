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
    let databases = options.databases.iter().map(|database| (Component::Databases, database.name()));
    let directories = options.directories.iter();
    let directories = directories.map(|d| (Component::Directory(d.name().to_owned()), d.name()));
    let parts = databases.chain(directories).filter(|(component, _)| request.components.selects(component));
    let names: Vec<&str> = parts.map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| ItemFailure {
        component: Component::Repositories,
        storage: None,
        item: plan.run.id.to_string(),
        problem: Problem::new(ErrorKind::Invalid, Subject::Backup, "dry run")
            .answered(format!("looked at repositories only, and not at {}", names.join(", "))),
    })
}
