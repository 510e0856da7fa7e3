//! Restores as tasks: under an ID of their own, with records in the vault of their beginning and of what they came to.
//!
//! Does not own: the restore, or the form of the records (`vault::RestoreRecord`). A record that cannot be written changes
//! nothing about the restore: the vault may be one that can only be read. A restore is called dead only when nobody can be at
//! it: it is never resumed.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use packhorse_model::{BackupId, Component, ErrorKind, Problem, RestoreSummary, Subject, nearest};
use packhorse_proto::v1::{self, RunFate, TaskKind};
use packhorse_vault::{RestoreBegun, RestoreRecord, Vault, VaultError};

use super::{
    Shared, json, name_of,
    tasks::{Asked, Task},
};
use crate::{
    CoordinatorOptions,
    restore::{self, RestoreContext, RestoreRequest},
};

/// Time for the record to be written: nobody waits longer for it.
const RECORD_TIME: Duration = Duration::from_secs(5);

/// Starts a restore as a task.
pub fn start(
    shared: &Arc<Shared>,
    options: Arc<CoordinatorOptions>,
    request: RestoreRequest,
    by: String,
) -> Arc<Task> {
    let asked =
        Asked { kind: TaskKind::Restore, resumable: false, dry_run: request.dry_run, by, backup_id: None };
    let shared_too = Arc::clone(shared);
    shared.tasks.start_named(new_id(Timestamp::now()), asked, |task| async move {
        let (board, stop, vault) = (&task.board, &task.stop, &shared_too.vault);
        let run = task.name.as_str();
        let order = &OnceLock::new();
        let context = RestoreContext { vault, options: &options, request: &request, run, board, stop, order };
        if request.dry_run {
            let mut planned = restore::dry_run(&context).await?;
            (planned.vault, planned.vault_id) = name_of(vault);
            planned.order = Some(context.order());
            return json(&planned);
        }
        let mut done = restore::restore(&context, || note_beginning(&context, &task)).await;
        if let (Err(problem), Some(by)) = (&mut done, stop.asked_by())
            && problem.kind == ErrorKind::Cancelled
        {
            problem.answer = Some(format!("asked to stop by {by}"));
        }
        if let Ok(summary) = &mut done {
            (summary.vault, summary.vault_id) = name_of(vault);
        }
        record(&context, &task, &done).await;
        json(&RestoreSummary { order: Some(context.order()), ..done? })
    })
}

/// IDs of restores sort by their time, and nobody else has the same.
fn new_id(now: Timestamp) -> String {
    format!("restore-{}-{:08x}", now.as_second().max(0), uuid::Uuid::new_v4().as_fields().0)
}

async fn record(context: &RestoreContext<'_>, task: &Task, done: &Result<RestoreSummary, Problem>) {
    // What is no vault, or not the one that is meant, gets no record either.
    let found_no_vault = done.as_ref().is_err_and(|problem| problem.subject == Subject::Vault);
    if found_no_vault && task.backup_id().is_none() {
        return;
    }
    let Ok(restore) = task.name.parse::<BackupId>() else { return };
    let record = RestoreRecord {
        restore,
        backup_id: task.backup_id().and_then(|id| id.parse().ok()),
        requested_by: task.requested_by.clone(),
        host: context.options.host.clone(),
        started_at: task.started_at,
        ended_at: Timestamp::now(),
        order: context.order(),
        summary: done.as_ref().ok().cloned(),
        problem: done.as_ref().err().cloned(),
    };
    written(&task.name, record.create(&context.vault.briefly())).await;
}

/// Says in the vault that a restore touches its targets from now on.
async fn note_beginning(context: &RestoreContext<'_>, task: &Task) {
    let (Ok(restore), Some(Ok(backup_id))) =
        (task.name.parse::<BackupId>(), task.backup_id().map(|id| id.parse::<BackupId>()))
    else {
        return;
    };
    let begun = RestoreBegun {
        restore,
        backup_id,
        requested_by: task.requested_by.clone(),
        host: context.options.host.clone(),
        pid: std::process::id(),
        coordinator: context.options.identity.clone(),
        started_at: task.started_at,
        order: context.order(),
    };
    written(&task.name, begun.create(&context.vault.briefly())).await;
}

async fn written(restore: &str, writing: impl Future<Output = Result<(), VaultError>>) {
    let why = match tokio::time::timeout(RECORD_TIME, writing).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the vault did not answer in time".to_owned(),
    };
    tracing::info!(restore, %why, "the vault lacks a record of this restore; it is done all the same");
}

/// What the vault knows of a restore.
pub enum Known {
    /// What it came to.
    Ended(Box<RestoreRecord>),
    /// That it has begun.
    Begun(Box<RestoreBegun>),
}

/// What is known of a restore without an end, and by what.
pub fn fate(begun: &RestoreBegun, shared: &Shared) -> (RunFate, String) {
    let options = shared.options();
    let tasks = shared.tasks.all();
    let task = tasks.iter().find(|task| task.name == begun.restore.as_str());
    match task.map(|task| task.board.ended().is_none()) {
        Some(true) => return (RunFate::Here, "this coordinator is at it".into()),
        Some(false) => return (RunFate::Dead, "it has ended, and the vault did not take its record".into()),
        None => {}
    }
    let stays = what_stays(begun);
    if begun.coordinator.is_some() && begun.coordinator == options.identity {
        return (RunFate::Dead, format!("its coordinator has started again without it; {stays}"));
    }
    let (pid, host) = (begun.pid, &begun.host);
    let is_gone = *host == options.host && !Path::new(&format!("/proc/{pid}")).exists();
    if begun.coordinator.is_none() && is_gone {
        return (RunFate::Dead, format!("its process {pid} is gone; {stays}"));
    }
    (RunFate::Elsewhere, format!("under way in process {pid} on {host}, or dead; if it is dead, {stays}"))
}

/// What a restore that died has left. The entries of a directory may change places one by one.
fn what_stays(begun: &RestoreBegun) -> String {
    let targets = begun.order.targets.iter();
    let directories = targets.filter(|target| matches!(target.component, Component::Directory(_)));
    let names: Vec<&str> = directories.map(|target| target.name.as_str()).collect();
    let to_go_on = begun.order.to_go_on();
    if names.is_empty() {
        return format!("what it put in place stays, each item whole; {to_go_on}");
    }
    format!(
        "what it put in place of repositories and databases stays, each item whole; directory {} may be half in place \
         until it is restored again; {to_go_on}",
        names.join(", directory ")
    )
}

/// A restore without an end, as status tells it.
pub fn unfinished(begun: RestoreBegun, shared: &Shared) -> v1::UnfinishedRun {
    let (fate, reason) = fate(&begun, shared);
    v1::UnfinishedRun {
        backup_id: begun.backup_id.to_string(),
        host: begun.host,
        started_at: begun.started_at.to_string(),
        coordinator: begun.coordinator,
        here: fate == RunFate::Here,
        fate: fate.into(),
        reason,
        pid: begun.pid,
        requested_by: Some(begun.requested_by),
        restore: Some(begun.restore.to_string()),
        ..v1::UnfinishedRun::default()
    }
}

/// Restores that are named when too little of an ID was given.
const NAMED: usize = 5;

/// Several restores begin so: the newest of them are named. Their IDs are in the order of their times.
fn several(wanted: &str, begins: &[&BackupId]) -> Problem {
    let newest: Vec<&str> = begins.iter().rev().take(NAMED).map(|id| id.as_str()).collect();
    let more = if begins.len() > newest.len() { ", …" } else { "" };
    Problem::new(ErrorKind::Invalid, Subject::Backup, "find restore")
        .on(wanted)
        .answered(format!(
            "{} restores begin so, the newest first: {}{more}",
            begins.len(),
            newest.join(", ")
        ))
        .next("name more of the ID")
}

/// The record of the restore that an operator names, by its ID or the beginning of it.
pub async fn find(vault: &Vault, wanted: &str) -> Result<Known, Problem> {
    let not_found = || {
        Problem::new(ErrorKind::NotFound, Subject::Backup, "find restore")
            .on(wanted)
            .answered("the vault has no record of such a restore")
            .next("correct the ID; a restore from a vault that cannot be written leaves no record")
    };
    let ids = RestoreRecord::all(vault).await?;
    let begins: Vec<&BackupId> = ids.iter().filter(|id| id.as_str().starts_with(wanted)).collect();
    let id = match begins[..] {
        [id] => id,
        [] => {
            let near = nearest(wanted, ids.iter().map(BackupId::as_str));
            return Err(not_found().or_nearest(wanted, near));
        }
        _ => match begins.iter().find(|id| id.as_str() == wanted) {
            Some(id) => id,
            None => {
                return Err(several(wanted, &begins));
            }
        },
    };
    match RestoreRecord::read(vault, id).await? {
        Some(ended) => Ok(Known::Ended(Box::new(ended))),
        None => RestoreBegun::read(vault, id).await?.map(Box::new).map(Known::Begun).ok_or_else(not_found),
    }
}

#[cfg(test)]
mod tests {
    use packhorse_model::{RestoreOrder, RestoreTarget};

    use super::*;

    #[test]
    fn the_id_of_a_restore_is_a_name_in_the_vault_and_fits_a_table() {
        let (one, other) = (new_id(Timestamp::now()), new_id(Timestamp::now()));
        assert!(one != other && one.starts_with("restore-") && one.len() <= 32, "{one} {other}");
        one.parse::<BackupId>().expect("the alphabet of IDs");
    }

    #[test]
    fn of_many_restores_the_newest_are_named() {
        let ids: Vec<BackupId> =
            (10..30).map(|n| format!("restore-17951777{n}-1f3a9c2e").parse().expect("valid ID")).collect();
        let told = several("restore-", &ids.iter().collect::<Vec<_>>()).to_string();
        assert!(
            told.contains("20 restores begin so, the newest first: restore-1795177729-1f3a9c2e, "),
            "{told}"
        );
        assert!(told.ends_with("restore-1795177725-1f3a9c2e, …"), "{told}");
    }

    #[test]
    fn a_restore_that_died_never_calls_a_directory_whole() {
        let to = |name: &str| RestoreTarget {
            component: Component::Directory(name.into()),
            name: name.into(),
            target: format!("/srv/{name}"),
            path: None,
        };
        let begun = RestoreBegun {
            restore: "restore-1-1f3a9c2e".parse().expect("valid ID"),
            backup_id: "b1".parse().expect("valid ID"),
            requested_by: "uid 0, gid 0".into(),
            host: "host".into(),
            pid: 7,
            coordinator: None,
            started_at: Timestamp::UNIX_EPOCH,
            order: RestoreOrder { targets: ["uploads", "pages"].map(to).into(), ..RestoreOrder::default() },
        };
        let told = what_stays(&begun);
        assert!(told.contains("directory uploads, directory pages may be half in place"), "{told}");
        assert!(told.contains("of repositories and databases stays, each item whole"), "{told}");
        assert!(told.contains("with --only uploads --only pages --force"), "{told}");
        assert!(!what_stays(&RestoreBegun { order: RestoreOrder::default(), ..begun }).contains("directory"));
    }
}
