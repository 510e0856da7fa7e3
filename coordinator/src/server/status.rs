//! What is under way, what was, and which runs committed nothing.
//!
//! Does not own: the tasks. The vault is asked, too, so that runs of other coordinators, and of dead ones, are seen; when
//! it cannot be asked, that is said, and the rest told all the same.

use packhorse_model::Problem;
use packhorse_proto::v1;
use packhorse_vault::{FormatMarker, Vault, committed, unfinished};

use super::tasks::Tasks;

/// The answer to `Status`.
pub async fn status(vault: &Vault, tasks: &Tasks) -> v1::StatusResponse {
    let tasks: Vec<v1::TaskStatus> = tasks.all().iter().map(|task| task.status()).collect();
    let (unfinished, problem) = match unfinished_runs(vault, &tasks).await {
        Ok(runs) => (runs, None),
        Err(problem) => (Vec::new(), Some((&problem).into())),
    };
    v1::StatusResponse {
        tasks,
        unfinished,
        vault_url: vault.label().to_owned(),
        vault_problem: problem,
        vault_id: vault.id(),
    }
}

async fn unfinished_runs(vault: &Vault, tasks: &[v1::TaskStatus]) -> Result<Vec<v1::UnfinishedRun>, Problem> {
    FormatMarker::of(vault).await?;
    let (backups, _) = committed(vault).await?;
    let runs = unfinished(vault, &backups).await?;
    let shown = runs.into_iter().map(|run| {
        let backup_id = run.journal.backup_id.to_string();
        let here = tasks.iter().any(|task| !task.ended && task.backup_id == backup_id);
        v1::UnfinishedRun {
            here,
            backup_id,
            host: run.journal.host,
            started_at: run.journal.started_at.to_string(),
            coordinator: run.journal.coordinator.filter(|_| run.end.is_none()),
            end: run.end.map(|end| (&end.problem).into()),
        }
    });
    Ok(shown.collect())
}
