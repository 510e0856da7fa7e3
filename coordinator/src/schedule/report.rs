//! How a scheduled backup ended, for the log: there is no operator who waits for it.
//!
//! Does not own: the exit code, which there is none of, or the summary, which is in the vault.

use packhorse_model::{Problem, RunState, RunSummary};

/// Failures that are named; `backupctl show` has them all.
const NAMED: usize = 5;

/// Logs the end of a run.
pub fn report(schedule: &str, result: &Result<RunSummary, Problem>) {
    match result {
        Ok(summary) => ended(schedule, summary),
        Err(problem) => {
            let next = problem.next.as_deref().unwrap_or("see the lines before this one");
            tracing::error!(schedule, next, "scheduled backup failed: {problem}");
        }
    }
}

fn ended(schedule: &str, summary: &RunSummary) {
    let counts = &summary.repositories;
    tracing::info!(
        schedule,
        backup = %summary.backup_id,
        state = summary.state.word(),
        backed_up = counts.backed_up,
        unchanged = counts.unchanged,
        empty = counts.empty,
        failed = counts.failed,
        damaged = counts.damaged,
        databases = summary.databases.len(),
        directories = summary.directories.len(),
        bytes_new = summary.bytes_new,
        seconds = summary.finished_at.duration_since(summary.started_at).as_secs(),
        "scheduled backup ended"
    );
    if summary.state == RunState::Incomplete {
        let next = format!("backupctl show {} --failed", summary.backup_id);
        tracing::warn!(schedule, backup = %summary.backup_id, missing = summary.failures_total,
            first = first(summary), next, "scheduled backup is incomplete");
    }
}

fn first(summary: &RunSummary) -> String {
    let named = summary.failures.iter().take(NAMED).map(|failure| {
        let storage = failure.storage.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        format!("{storage}{}: {}", failure.item, failure.problem)
    });
    named.collect::<Vec<_>>().join("; ")
}
