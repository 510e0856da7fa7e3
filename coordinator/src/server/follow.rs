//! Finds what somebody wants to follow: a task of this life, or a run that was committed in the last one.
//!
//! Does not own: the stream. Whoever lost the coordinator asks again as soon as it listens, which is before it knows the
//! runs that its last life left: so it is asked to wait until then, and "no such run" is the truth.

use std::sync::Arc;

use packhorse_model::Problem;
use packhorse_proto::v1::RunAccepted;
use packhorse_vault::{FormatMarker, committed, load_summary};

use super::{Shared, elsewhere, json, named, tasks::Task};
use crate::board::Board;

/// What is followed.
pub enum Followed {
    /// A run or restore of this life.
    Task(Arc<Task>),
    /// A run that ended before it, with what it came to.
    Committed(Board),
}

/// Finds a run by its name or backup ID; without one, the only one that is under way.
pub async fn find(shared: &Shared, name: &str) -> Result<Followed, Problem> {
    if let Ok(task) = shared.tasks.find(name) {
        return Ok(Followed::Task(task));
    }
    if shared.options().identity.is_some() {
        tokio::select! {
            () = shared.knows_its_runs.cancelled() => {}
            () = shared.stopping.cancelled() => {}
        }
    }
    let unknown = match shared.tasks.find(name) {
        Ok(task) => return Ok(Followed::Task(task)),
        Err(problem) => problem,
    };
    match committed_run(shared, name).await? {
        Some(board) => Ok(Followed::Committed(board)),
        None => Err(elsewhere::told(shared, name, unknown).await),
    }
}

/// A run that nobody has to go on with, because its last write had come through.
async fn committed_run(shared: &Shared, name: &str) -> Result<Option<Board>, Problem> {
    FormatMarker::of(&shared.vault).await?;
    let (backups, _) = committed(&shared.vault).await?;
    let mut found = backups.iter().find(|backup| backup.backup_id.as_str() == name);
    if found.is_none() {
        found = elsewhere::of_name(&shared.vault, &backups, name).await?;
    }
    let Some(backup) = found else { return Ok(None) };
    let id = &backup.backup_id;
    let summary = load_summary(&shared.vault, backup).await?;
    let board = Board::default();
    board.accepted(RunAccepted {
        run: id.to_string(),
        backup_id: id.to_string(),
        base_backup_id: summary.base_backup_id.as_ref().map(ToString::to_string),
        storages: summary.storages.iter().map(|storage| storage.storage.to_string()).collect(),
    });
    board.end(json(&named(&shared.vault, summary)));
    Ok(Some(board))
}
