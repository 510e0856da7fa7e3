//! `backupctl status`.

use packhorse_model::{ErrorKind, Exit, Problem, RunSummary, Subject};
use packhorse_proto::v1::{
    FollowRequest, StatusRequest, StatusResponse, TaskKind, TaskStatus, UnfinishedRun,
};
use serde_json::{Value, json};

use super::{
    create,
    follow::{Role, follow},
    restore,
};
use crate::{
    args::{Common, StatusArgs},
    render::{self, Table, progress::ProgressDisplay},
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
        answer.map(|answer| show(common, answer.into_inner(), args.run.as_deref()))
    };
    session.close(exit).await
}

async fn follow_run(session: &Session, common: &Common, run: String) -> Result<Exit, Problem> {
    let started = session.answer(session.client().follow(FollowRequest { run })).await?;
    let display = ProgressDisplay::new(common, "following");
    let summary: Value = follow(session, started, display, Role::Watcher).await?;
    let unreadable = |e| Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(e);
    // Only a run has repositories by outcome.
    if summary.get("repositories").is_some() {
        let summary: RunSummary = serde_json::from_value(summary).map_err(unreadable)?;
        Ok(create::show(common, &summary))
    } else {
        Ok(restore::show(common, &serde_json::from_value(summary).map_err(unreadable)?))
    }
}

fn kind(task: &TaskStatus) -> &'static str {
    match task.kind() {
        TaskKind::Restore => "restore",
        TaskKind::Create | TaskKind::Unspecified => "create",
    }
}

fn show(common: &Common, answer: StatusResponse, only: Option<&str>) -> Exit {
    let is_meant = |name: &str, id: &str| only.is_none_or(|only| only == name || only == id);
    let tasks: Vec<&TaskStatus> = answer.tasks.iter().filter(|t| is_meant(&t.run, &t.backup_id)).collect();
    let unfinished: Vec<&UnfinishedRun> =
        answer.unfinished.iter().filter(|run| is_meant("", &run.backup_id)).collect();
    let problem = answer.vault_problem.clone().map(Problem::from);
    if common.json {
        render::json(&json!({
            "vault": answer.vault_url,
            "vault_id": answer.vault_id,
            "tasks": tasks.iter().map(|task| task_json(task)).collect::<Vec<_>>(),
            "unfinished": unfinished.iter().map(|run| unfinished_json(run)).collect::<Vec<_>>(),
            "problem": problem,
        }));
    } else {
        // What cannot be looked for is not said to be missing.
        if problem.is_none() || !tasks.is_empty() {
            render::text(&text(&tasks, &unfinished, &answer.vault_url));
        }
    }
    match (&problem, only) {
        (Some(problem), _) => {
            render::note(&render::problem(problem));
            Exit::of_problem(problem)
        }
        (None, Some(only)) if tasks.is_empty() && unfinished.is_empty() => {
            render::note(&format!("no run {only} is under way or unfinished; see `backupctl list`"));
            Exit::NotFound
        }
        _ => Exit::Complete,
    }
}

fn task_json(task: &TaskStatus) -> Value {
    let progress = task.progress.clone().unwrap_or_default();
    let storages: Vec<Value> = progress
        .storages
        .iter()
        .map(|s| {
            json!({
                "storage": s.storage, "known": s.known, "known_all": s.known_all, "done": s.done,
                "failed": s.failed, "stored": s.stored, "bytes": s.bytes, "working_on": s.working_on,
            })
        })
        .collect();
    let parts: Vec<Value> = progress
        .parts
        .iter()
        .map(|p| json!({ "component": p.component, "name": p.name, "bytes": p.bytes, "done": p.done }))
        .collect();
    json!({
        "run": task.run, "kind": kind(task), "backup_id": task.backup_id, "started_at": task.started_at,
        "state": state(task), "failures": task.failures, "resumable": task.resumed,
        "storages": storages, "parts": parts, "problem": task.problem.clone().map(Problem::from),
    })
}

fn unfinished_json(run: &UnfinishedRun) -> Value {
    json!({
        "backup_id": run.backup_id, "host": run.host, "started_at": run.started_at,
        "coordinator": run.coordinator, "here": run.here, "end": run.end.clone().map(Problem::from),
    })
}

fn state(task: &TaskStatus) -> &'static str {
    match (task.ended, &task.problem) {
        (false, _) => "running",
        (true, None) => "ended",
        (true, Some(_)) => "failed",
    }
}

fn text(tasks: &[&TaskStatus], unfinished: &[&UnfinishedRun], vault: &str) -> String {
    let mut lines = Vec::new();
    if !tasks.is_empty() {
        let mut table =
            Table::new(&["BACKUP", "KIND", "AGE", "STATE", "REPOS", "FAILED", "BYTES", "WORKING ON"]);
        for task in tasks {
            table.row(task_row(task));
        }
        lines.push(table.to_string());
    }
    let elsewhere: Vec<_> = unfinished.iter().filter(|run| !run.here).collect();
    if !elsewhere.is_empty() {
        let mut table = Table::new(&["UNFINISHED", "HOST", "AGE", "WHAT BECAME OF IT"]);
        for run in elsewhere {
            table.row([run.backup_id.clone(), run.host.clone(), render::age(&run.started_at), fate(run)]);
        }
        lines.push(table.to_string());
    }
    if lines.is_empty() {
        return format!("nothing is under way, and nothing unfinished in {vault}");
    }
    lines.push(format!("vault {vault}"));
    lines.join("\n")
}

fn task_row(task: &TaskStatus) -> [String; 8] {
    let progress = task.progress.clone().unwrap_or_default();
    let sum = |field: fn(&packhorse_proto::v1::StorageProgress) -> u64| {
        progress.storages.iter().map(field).sum::<u64>()
    };
    let parts = progress.parts.iter().filter(|part| !part.done).map(|part| part.name.clone());
    let working = parts.chain(progress.storages.iter().flat_map(|s| s.working_on.iter().cloned()));
    let size = sum(|s| s.bytes) + progress.parts.iter().map(|part| part.bytes).sum::<u64>();
    let id = if task.backup_id.is_empty() { task.run.clone() } else { task.backup_id.clone() };
    [
        id,
        kind(task).to_owned(),
        render::age(&task.started_at),
        state(task).to_owned(),
        format!("{}/{}", render::count(sum(|s| s.done)), render::count(sum(|s| s.known))),
        task.failures.to_string(),
        render::bytes(size),
        if task.ended { String::new() } else { working.take(3).collect::<Vec<_>>().join(" ") },
    ]
}

fn fate(run: &UnfinishedRun) -> String {
    match (&run.end, &run.coordinator) {
        (Some(end), _) => format!("ended: {}", Problem::from(end.clone())),
        (None, Some(coordinator)) => format!("under way, or to be resumed, by {coordinator}"),
        (None, None) => "under way in a backupctl, or dead; the next run uses what it stored".into(),
    }
}
