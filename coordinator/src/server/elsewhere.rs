//! What the vault knows of a run that is no task of this coordinator: who is at it, how it ended, or that it committed.
//!
//! Does not own: tasks, or what becomes of a run that is left (`status`). It only makes an error say more: when the vault
//! cannot be asked, the error stays as it was.

use packhorse_model::{BackupId, ErrorKind, Problem};
use packhorse_proto::v1::{self, RunFate};
use packhorse_vault::{CommittedBackup, FormatMarker, Vault, committed, name_of_run, unfinished};

use super::{Shared, status};

/// The error of a name that no task has, with what the vault knows of such a run. Without a name, the runs that other
/// processes are at are named.
pub async fn told(shared: &Shared, name: &str, unknown: Problem) -> Problem {
    if unknown.kind != ErrorKind::NotFound {
        return unknown;
    }
    match ask(shared, name).await {
        Ok(Some((answer, next))) => Problem { answer: Some(answer), next: None, ..unknown }.next(next),
        Ok(None) | Err(_) => unknown,
    }
}

async fn ask(shared: &Shared, name: &str) -> Result<Option<(String, String)>, Problem> {
    let vault = shared.vault.briefly();
    FormatMarker::of(&vault).await?;
    let (backups, _) = committed(&vault).await?;
    if let Some(backup) = backups.iter().find(|backup| is_named(&backup.backup_id, name)) {
        let answer = format!("it ended, and backup {} is committed", backup.backup_id);
        return Ok(Some((answer, format!("run `backupctl show {}`", backup.backup_id))));
    }
    let runs = unfinished(&vault, &backups).await?;
    let mut runs = runs.into_iter().map(|run| status::told(shared, &[], run));
    Ok(match name {
        "" => runs.find(|run| run.fate() == RunFate::Elsewhere).map(|run| words(&run)),
        _ => runs
            .find(|run| run.backup_id.parse().is_ok_and(|id: BackupId| is_named(&id, name)))
            .map(|run| words(&run)),
    })
}

/// The error of a name that no backup has: a run may have it, which logs and `status` tell. Then its backup is named, or where
/// to look.
pub async fn of_run(shared: &Shared, name: &str, unknown: Problem) -> Problem {
    if unknown.kind != ErrorKind::NotFound || uuid::Uuid::parse_str(name).is_err() {
        return unknown;
    }
    match run_of(shared, name).await {
        Ok(Some((answer, next))) => Problem { answer: Some(answer), next: None, ..unknown }.next(next),
        Ok(None) | Err(_) => unknown,
    }
}

async fn run_of(shared: &Shared, name: &str) -> Result<Option<(String, String)>, Problem> {
    let vault = shared.vault.briefly();
    let (backups, _) = committed(&vault).await?;
    let task = shared.tasks.find(name).ok().map(|task| task.status());
    let made = task.as_ref().filter(|task| !task.dry_run).map(|task| &task.backup_id);
    let made = made.and_then(|id| backups.iter().find(|backup| backup.backup_id.as_str() == id));
    let backup = if made.is_some() { made } else { of_name(&vault, &backups, name).await? };
    if let Some(CommittedBackup { backup_id: id, .. }) = backup {
        let answer = format!("it is the name of a run, whose backup is {id}");
        return Ok(Some((answer, format!("run `backupctl show {id}`"))));
    }
    if task.is_some() {
        let answer = "it is the name of a run, which has committed no backup";
        return Ok(Some((answer.to_owned(), format!("run `backupctl status {name}`"))));
    }
    let runs = unfinished(&vault, &backups).await?;
    Ok(runs.into_iter().find(|run| run.journal.attempt == name).map(|run| {
        let id = &run.journal.backup_id;
        let answer = format!("it is the name of a run with the ID {id}, which has committed no backup");
        (answer, format!("run `backupctl status {id}`"))
    }))
}

/// Newest backups whose runs are looked at for a name.
const LOOKED_AT: usize = 16;

/// The backup of the run of this name, if it is among the newest.
pub async fn of_name<'b>(
    vault: &Vault,
    backups: &'b [CommittedBackup],
    name: &str,
) -> Result<Option<&'b CommittedBackup>, Problem> {
    for backup in backups.iter().take(LOOKED_AT) {
        if name_of_run(vault, &backup.backup_id).await?.as_deref() == Some(name) {
            return Ok(Some(backup));
        }
    }
    Ok(None)
}

fn is_named(id: &BackupId, name: &str) -> bool {
    id.as_str() == name || name.len() >= BackupId::SHORTEST_PREFIX && id.as_str().starts_with(name)
}

/// What is said of a run that committed nothing, and what can be done about it.
fn words(run: &v1::UnfinishedRun) -> (String, String) {
    let id = &run.backup_id;
    match (&run.end, run.fate()) {
        (Some(end), _) => {
            let end = Problem::from(end.clone());
            (format!("{id} has ended, and committed nothing: {end}"), "run `backupctl status`".into())
        }
        (None, RunFate::Elsewhere) if run.coordinator.is_none() => (
            format!("{id} is not a run of this coordinator; it is {}", run.reason),
            format!("run `kill {}` on {} to cancel it", run.pid, run.host),
        ),
        (None, RunFate::Elsewhere) => {
            let other = run.coordinator.clone().unwrap_or_default();
            let next = "ask that coordinator: --coordinator ADDRESS";
            (format!("{id} is a run of another coordinator, {other}"), next.into())
        }
        (None, _) => {
            (format!("{id} committed nothing: {}", run.reason), "run `backupctl create` again".into())
        }
    }
}
