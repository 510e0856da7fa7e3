//! How a backup ended, for the log: of a scheduled one nobody waits for the end, and of others whoever asked may be gone.
//!
//! Does not own: the exit code, which there is none of, or the summary, which is in the vault.

use packhorse_model::{Problem, RunState, RunSummary};

use super::entry::schedule_in;

/// Failures that are named; `backupctl show` has them all.
const NAMED: usize = 5;

/// Logs the end of a run that this caller or schedule asked for.
pub fn report(by: &str, result: &Result<RunSummary, Problem>) {
    let schedule = schedule_in(by);
    match (result, schedule) {
        (Ok(summary), Some(schedule)) => {
            ended(Some(schedule), None, summary, "scheduled backup ended");
            if summary.state == RunState::Incomplete {
                let next = format!("backupctl show {} --failed", summary.backup_id);
                tracing::warn!(schedule, backup = %summary.backup_id, missing = summary.failures_total,
                    first = first(summary), next, "scheduled backup is incomplete");
            }
        }
        (Ok(summary), None) => ended(None, Some(by), summary, "backup ended"),
        (Err(problem), Some(schedule)) => {
            let next = problem.next.as_deref().unwrap_or("see the lines before this one");
            tracing::error!(schedule, next, "scheduled backup failed: {problem}");
        }
        // Whoever asked is told, and the log has it as the end of any run.
        (Err(_), None) => {}
    }
}

fn ended(schedule: Option<&str>, who: Option<&str>, summary: &RunSummary, message: &str) {
    let counts = &summary.repositories;
    tracing::info!(
        schedule,
        who,
        backup = %summary.backup_id,
        state = summary.state.word(),
        backed_up = counts.backed_up,
        unchanged = counts.unchanged,
        empty = counts.empty,
        failed = counts.failed,
        damaged = counts.damaged,
        databases = summary.databases.len(),
        directories = summary.directories.len(),
        failures = summary.failures_total,
        bytes_new = summary.bytes_new,
        seconds = summary.finished_at.duration_since(summary.started_at).as_secs(),
        "{message}"
    );
}

fn first(summary: &RunSummary) -> String {
    let named = summary.failures.iter().take(NAMED).map(|failure| {
        let storage = failure.storage.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        format!("{storage}{}: {}", failure.item, failure.problem)
    });
    named.collect::<Vec<_>>().join("; ")
}
