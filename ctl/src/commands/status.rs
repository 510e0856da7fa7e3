//! `backupctl status`.
//!
//! Does not own: the states; the coordinator tells them (`text`, `json`).

mod json;
mod recent;
mod text;

use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind, Exit, Problem, RunSummary, Subject};
use packhorse_proto::v1::{
    FollowRequest, StatusRequest, StatusResponse, TaskKind, TaskStatus, UnfinishedRun,
};
use serde_json::Value;

use super::{
    create,
    follow::{Role, follow},
    restore,
};
use crate::{
    args::{Common, StatusArgs},
    render::{
        self,
        progress::{ProgressDisplay, RESTORE},
    },
    session::Session,
};

/// Shows what is under way, or follows a run to its end and exits as it would have.
pub async fn run(common: &Common, args: &StatusArgs) -> Result<Exit, Problem> {
    let session = Session::open(common, &[]).await?;
    let exit = if args.follow {
        let run = args.run.clone().unwrap_or_default();
        follow_run(&session, common, run).await
    } else {
        let answer = session.answer(session.client().status(StatusRequest {})).await;
        answer.map(|answer| show(common, &answer.into_inner(), args))
    };
    session.close(exit).await
}

async fn follow_run(session: &Session, common: &Common, run: String) -> Result<Exit, Problem> {
    let started = session.answer(session.client().follow(FollowRequest { run })).await?;
    let display = ProgressDisplay::new(common, "following");
    let summary: Value = follow(session, started, display, Role::Watcher).await?;
    let unreadable = |e| Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(e);
    // Only a plan says what stands in the way, and only a run has repositories by outcome.
    if summary.get("problems").is_some() {
        Ok(restore::show_plan(common, &serde_json::from_value(summary).map_err(unreadable)?))
    } else if summary.get("repositories").is_some() {
        let summary: RunSummary = serde_json::from_value(summary).map_err(unreadable)?;
        Ok(create::show(common, &summary))
    } else {
        Ok(restore::show(common, &serde_json::from_value(summary).map_err(unreadable)?))
    }
}

/// What a task is: a backup, a dry run of one, or a restore.
fn kind(task: &TaskStatus) -> &'static str {
    match task.kind() {
        _ if task.dry_run => "dry run",
        TaskKind::Restore => "restore",
        TaskKind::Create | TaskKind::Unspecified => "create",
    }
}

/// The name by which it is asked for: the ID of the backup that it makes, or its own.
fn shown_name(task: &TaskStatus) -> &str {
    let is_backup = task.kind() != TaskKind::Restore && !task.backup_id.is_empty();
    if is_backup { &task.backup_id } else { &task.run }
}

/// The name by which a run or restore of the past is asked for.
fn name_of(run: &UnfinishedRun) -> &str {
    run.restore.as_ref().unwrap_or(&run.backup_id)
}

fn show(common: &Common, answer: &StatusResponse, args: &StatusArgs) -> Exit {
    let only = args.run.as_deref();
    let is_meant = |name: &str| {
        only.is_none_or(|only| {
            name == only || only.len() >= BackupId::SHORTEST_PREFIX && name.starts_with(only)
        })
    };
    let is_task = |task: &&TaskStatus| is_meant(&task.run) || is_meant(&task.backup_id);
    let tasks: Vec<&TaskStatus> = answer.tasks.iter().filter(is_task).collect();
    let unfinished: Vec<&UnfinishedRun> =
        answer.unfinished.iter().filter(|run| is_meant(name_of(run))).collect();
    let schedules = if only.is_none() { &answer.schedules[..] } else { &[] };
    let problem = answer.vault_problem.clone().map(Problem::from);
    if common.json {
        render::json(&serde_json::json!({
            "vault": answer.vault_url,
            "vault_id": answer.vault_id,
            "tasks": tasks.iter().map(|task| json::task(task)).collect::<Vec<_>>(),
            "unfinished": unfinished.iter().map(|run| json::unfinished(run)).collect::<Vec<_>>(),
            "schedules": schedules.iter().map(json::schedule).collect::<Vec<_>>(),
            "problem": problem,
        }));
    } else {
        let all = || recent::Shown::all(&tasks, &unfinished);
        let lately =
            || recent::Shown::lately(&tasks, &unfinished, answer.complete_at.as_deref(), Timestamp::now());
        let shown = if args.all || only.is_some() { all() } else { lately() };
        // What cannot be looked for is not said to be missing.
        if problem.is_none() || !tasks.is_empty() || !schedules.is_empty() {
            render::text(&text::all(&shown, schedules, &answer.vault_url, render::width()));
        }
    }
    match (&problem, only) {
        (Some(problem), _) => {
            render::note(&render::problem(problem));
            Exit::of_problem(problem)
        }
        (None, Some(only)) if tasks.is_empty() && unfinished.is_empty() => {
            render::note(&none_of(only));
            Exit::NotFound
        }
        _ => Exit::Complete,
    }
}

/// Where to look for a run or restore that `status` knows nothing of.
fn none_of(only: &str) -> String {
    match only.starts_with(RESTORE) {
        true => format!(
            "no restore {only} is under way, or without an end in the vault; `backupctl show {only}` tells what one came to"
        ),
        false => format!(
            "no run {only} is under way or unfinished: `backupctl list` tells whether there is such a backup; one that failed \
             before it had its ID is known only to the coordinator that was asked, and to its log"
        ),
    }
}
