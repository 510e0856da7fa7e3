//! Status as JSON.
//!
//! Does not own: the words of states; they are the coordinator's.

use packhorse_model::Problem;
use packhorse_proto::v1::{RunFate, ScheduleStatus, TaskStatus, UnfinishedRun};
use serde_json::{Value, json};

use super::kind;

pub fn task(task: &TaskStatus) -> Value {
    let progress = task.progress.clone().unwrap_or_default();
    let storages: Vec<Value> = progress
        .storages
        .iter()
        .map(|s| {
            json!({
                "storage": s.storage, "known": s.known, "known_all": s.known_all, "done": s.done,
                "failed": s.failed, "stored": s.stored, "stored_bytes": s.stored_bytes, "bytes": s.bytes,
                "working_on": s.working_on, "waits_for": s.waits_for,
            })
        })
        .collect();
    let parts: Vec<Value> = progress
        .parts
        .iter()
        .map(|p| json!({ "component": p.component, "name": p.name, "bytes": p.bytes, "done": p.done }))
        .collect();
    json!({
        "run": task.run, "kind": kind(task), "backup_id": task.backup_id, "dry_run": task.dry_run,
        "requested_by": task.requested_by, "started_at": task.started_at, "ended_at": task.ended_at,
        "state": task.state, "failures": task.failures, "resumable": task.resumed, "storages": storages,
        "parts": parts, "problem": task.problem.clone().map(Problem::from),
    })
}

pub fn unfinished(run: &UnfinishedRun) -> Value {
    json!({
        "restore": run.restore, "backup_id": run.backup_id, "host": run.host, "pid": run.pid, "started_at": run.started_at,
        "ended_at": run.ended_at, "requested_by": run.requested_by, "coordinator": run.coordinator,
        "here": run.here, "fate": fate(run.fate()), "reason": run.reason,
        "end": run.end.clone().map(Problem::from),
    })
}

pub fn schedule(schedule: &ScheduleStatus) -> Value {
    json!({
        "name": schedule.name, "next_at": schedule.next_at, "last_at": schedule.last_at,
        "last_backup_id": schedule.last_backup_id, "last_state": schedule.last_state,
        "last_reason": schedule.last_reason,
    })
}

/// What became of a run, in a word.
pub fn fate(fate: RunFate) -> &'static str {
    match fate {
        RunFate::Here => "under_way",
        RunFate::Elsewhere | RunFate::Unspecified => "elsewhere",
        RunFate::Dead => "dead",
        RunFate::Cancelled => "cancelled",
        RunFate::Failed => "failed",
    }
}
