//! Status as text, within the width of the terminal.
//!
//! Does not own: the words of states, which are the coordinator's, or what is left out (`recent`).

use packhorse_model::{Problem, visible};
use packhorse_proto::v1::{RunFate, ScheduleStatus, StorageProgress, TaskKind, TaskStatus, UnfinishedRun};

use super::{kind, recent::Shown, shown_name};
use crate::render::{self, Table, cut};

/// Widest name of a host or schedule in a table.
const NAME: usize = 14;
/// Letters of the name of a run that has no ID yet; it can be asked for by them.
const RUN: usize = 8;

/// What is under way and ended lately, what is unfinished, and what is scheduled.
pub fn all(shown: &Shown<'_>, schedules: &[ScheduleStatus], vault: &str, width: usize) -> String {
    let Shown { tasks, unfinished, .. } = shown;
    let mut parts = Vec::new();
    if !tasks.is_empty() {
        parts.push(tasks_text(tasks, width));
    }
    if !unfinished.is_empty() {
        parts.push(unfinished_text(unfinished, width));
    }
    let is_quiet = parts.is_empty();
    let left_out = shown.left_out();
    if is_quiet {
        let rest = if left_out.is_none() { ", and nothing unfinished" } else { "" };
        parts.push(format!("nothing is under way{rest} in {vault}\n"));
    }
    if !schedules.is_empty() {
        parts.push(schedules_text(schedules, width));
    }
    if !is_quiet {
        parts.push(format!("vault {vault}\n"));
    }
    let left_out = left_out.map(|line| line + "\n");
    parts.join("\n") + &left_out.unwrap_or_default()
}

/// Columns that a terminal may have no room for, the most wanted first, with the width that is kept for each.
const MAY_BE_MISSING: [(&str, usize); 2] = [("FAILED", 6), ("BYTES", 5)];

/// The name in the table. Before its ID is known, a run is asked for by the beginning of its name.
fn table_name(task: &TaskStatus) -> String {
    let name = shown_name(task);
    let is_nameless = task.kind() != TaskKind::Restore && name == task.run;
    if is_nameless { name.chars().take(RUN).collect() } else { name.to_owned() }
}

fn tasks_text(tasks: &[&TaskStatus], width: usize) -> String {
    let mut table = Table::new(&["ID", "KIND", "AGE", "STATE", "DONE", "FAILED", "BYTES"]);
    for task in tasks {
        table.row(task_row(task));
    }
    let table = table.fit(width, &MAY_BE_MISSING).to_string();
    let mut lines = Vec::new();
    for (number, line) in table.lines().enumerate() {
        lines.push(line.to_owned());
        let Some(task) = number.checked_sub(1).and_then(|at| tasks.get(at)) else { continue };
        lines.extend(details(task).map(|details| cut(&format!("    {}", visible(&details)), width)));
    }
    lines.join("\n") + "\n"
}

fn task_row(task: &TaskStatus) -> [String; 7] {
    let progress = task.progress.clone().unwrap_or_default();
    let sum = |field: fn(&StorageProgress) -> u64| progress.storages.iter().map(field).sum::<u64>();
    let bytes = sum(|s| s.bytes) + progress.parts.iter().map(|part| part.bytes).sum::<u64>();
    let is_known = progress.storages.iter().all(|storage| storage.known_all);
    let done = match sum(|s| s.known) {
        _ if task.ended => String::new(),
        0 => String::new(),
        known if is_known => format!("{}%", sum(|s| s.done) * 100 / known),
        _ => "?".into(),
    };
    [
        table_name(task),
        format!("{:<7}", kind(task)),
        format!("{:<4}", render::age(&task.started_at)),
        format!("{:<10}", task.state),
        done,
        render::count(task.failures),
        render::short_bytes(bytes),
    ]
}

/// What a task is at, or of what it is.
fn details(task: &TaskStatus) -> Option<String> {
    let progress = task.progress.clone().unwrap_or_default();
    let sum = |field: fn(&StorageProgress) -> u64| progress.storages.iter().map(field).sum::<u64>();
    let mut told = Vec::new();
    if kind(task) == "restore" && !task.backup_id.is_empty() {
        told.push(format!("of {}", task.backup_id));
    }
    if let Some(problem) = &task.problem {
        told.push(Problem::from(problem.clone()).to_string());
    } else if !task.ended && !progress.storages.is_empty() {
        let known = render::counted(sum(|s| s.known), "repository", "repositories");
        told.push(format!("{} of {known}", render::count(sum(|s| s.done))));
    }
    let parts = progress.parts.iter().filter(|part| !part.done).map(|part| part.name.clone());
    let working = parts.chain(progress.storages.iter().flat_map(|s| s.working_on.iter().cloned()));
    let working: Vec<String> = working.take(3).collect();
    if !task.ended && !working.is_empty() {
        told.push(working.join(" "));
    }
    let waiting = progress.storages.iter().filter(|storage| !task.ended && !storage.waits_for.is_empty());
    told.extend(waiting.map(|storage| format!("storage {} waits: {}", storage.storage, storage.waits_for)));
    Some(told.join("; ")).filter(|told| !told.is_empty())
}

fn unfinished_text(runs: &[&UnfinishedRun], width: usize) -> String {
    let mut table = Table::new(&["UNFINISHED", "STARTED", "HOST", "STATE"]);
    for run in runs {
        let state = if run.fate() == RunFate::Elsewhere { "open" } else { super::json::fate(run.fate()) };
        table.row([
            run.restore.clone().unwrap_or_else(|| run.backup_id.clone()),
            render::minute(&run.started_at),
            cut(&run.host, NAME),
            state.to_owned(),
        ]);
    }
    let mut lines = Vec::new();
    for (number, line) in table.to_string().lines().enumerate() {
        lines.push(line.to_owned());
        let Some(run) = number.checked_sub(1).and_then(|at| runs.get(at)) else { continue };
        lines.push(cut(&format!("    {}", visible(&why(run))), width));
    }
    lines.join("\n") + "\n"
}

fn why(run: &UnfinishedRun) -> String {
    match &run.end {
        Some(end) => Problem::from(end.clone()).to_string(),
        None if run.restore.is_some() => format!("of {}: {}", run.backup_id, run.reason),
        None => run.reason.clone(),
    }
}

fn schedules_text(schedules: &[ScheduleStatus], width: usize) -> String {
    let mut table = Table::new(&["SCHEDULE", "NEXT", "LAST", "STATE"]);
    for schedule in schedules {
        table.row([
            cut(&schedule.name, NAME),
            render::minute(&schedule.next_at),
            schedule.last_at.as_deref().map_or_else(|| "not known".to_owned(), render::minute),
            schedule.last_state.replace('_', " "),
        ]);
    }
    let mut lines = Vec::new();
    for (number, line) in table.to_string().lines().enumerate() {
        lines.push(line.to_owned());
        let Some(schedule) = number.checked_sub(1).and_then(|at| schedules.get(at)) else { continue };
        let told: Vec<&str> = [Some(schedule.last_backup_id.as_str()), schedule.last_reason.as_deref()]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .collect();
        if !told.is_empty() {
            lines.push(cut(&format!("    last: {}", visible(&told.join(": "))), width));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use packhorse_proto::v1::{self, RunProgress, TaskKind};

    use super::*;

    const ID: &str = "1795177711_2026_11_20_17.10.2-ee";

    fn task(kind: TaskKind, state: &str) -> TaskStatus {
        let storage = StorageProgress {
            storage: "default".into(),
            known: 18_204,
            known_all: true,
            done: 12_000,
            failed: 3,
            bytes: 3 << 30,
            working_on: vec!["team/a-very-long-name-of-a-folder/and/of/a/repository.git".into(); 3],
            ..StorageProgress::default()
        };
        TaskStatus {
            run: if kind == TaskKind::Restore { "restore-1795177711-1f3a9c2e".into() } else { "u".into() },
            kind: kind.into(),
            backup_id: ID.into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            progress: Some(RunProgress { storages: vec![storage], parts: Vec::new() }),
            failures: 1_003,
            ended: state != "running",
            state: state.into(),
            ..TaskStatus::default()
        }
    }

    fn unfinished(fate: RunFate, reason: &str) -> UnfinishedRun {
        UnfinishedRun {
            backup_id: ID.into(),
            host: "a-host-with-a-long-name.internal".into(),
            started_at: "2026-11-20T02:30:00Z".into(),
            fate: fate.into(),
            reason: reason.into(),
            ..UnfinishedRun::default()
        }
    }

    #[test]
    fn everything_fits_eighty_columns_and_tells_runs_of_the_past_from_those_under_way() {
        let tasks = [
            task(TaskKind::Create, "running"),
            TaskStatus { dry_run: true, ..task(TaskKind::Create, "incomplete") },
            task(TaskKind::Restore, "cancelled"),
        ];
        let cancelled = UnfinishedRun {
            end: Some(v1::Problem::from(
                &Problem::cancelled("create backup").answered("asked to stop by uid 0"),
            )),
            ..unfinished(RunFate::Cancelled, "")
        };
        let runs = [unfinished(RunFate::Dead, "its process 7 is gone"), cancelled];
        let schedule = ScheduleStatus {
            name: "nightly".into(),
            next_at: "2026-12-01T02:30:00Z".into(),
            last_at: Some("2026-11-30T02:30:00Z".into()),
            last_backup_id: ID.into(),
            last_state: "complete".into(),
            last_reason: None,
        };
        let tasks: Vec<&TaskStatus> = tasks.iter().collect();
        let runs: Vec<&UnfinishedRun> = runs.iter().collect();
        let text = all(&Shown::all(&tasks, &runs), &[schedule], "file:///vault", 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for told in [
            "restore-1795177711-1f3a9c2e       restore",
            &format!("    of {ID}"),
            "dry run",
            "65%",
            "12,000 of 18,204 repositories",
            "2026-11-20 02:30Z  a-host-with-a…  dead",
            "its process 7 is gone",
            "asked to stop by uid 0",
            "nightly   2026-12-01 02:30Z  2026-11-30 02:30Z  complete",
            &format!("    last: {ID}"),
        ] {
            assert!(text.contains(told), "{told}:\n{text}");
        }
        assert!(!text.contains("under way"), "{text}");
        let step = "its coordinator has started again without it; ".repeat(4);
        let dead = unfinished(RunFate::Dead, &step);
        let told = all(&Shown::all(&[], &[&dead]), &[], "v", usize::MAX);
        assert!(told.contains(&step), "{told}");
    }

    #[test]
    fn no_row_takes_a_column_away() {
        let nameless = TaskStatus {
            run: "7b0c8f0e-6d8e-4c1c-9a3e-0d6f7b8f2c11".into(),
            backup_id: String::new(),
            ..task(TaskKind::Create, "running")
        };
        let tasks = [task(TaskKind::Restore, "incomplete"), nameless];
        for tasks in [&tasks[..1], &tasks[..]] {
            let tasks: Vec<&TaskStatus> = tasks.iter().collect();
            for width in [80, usize::MAX] {
                let text = all(&Shown::all(&tasks, &[]), &[], "file:///vault", width);
                assert!(text.contains("FAILED") && text.contains("BYTES"), "{text}");
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            }
        }
        let tasks: Vec<&TaskStatus> = tasks.iter().collect();
        let text = all(&Shown::all(&tasks, &[]), &[], "file:///vault", 80);
        assert!(text.contains("\n7b0c8f0e  "), "{text}");
    }

    #[test]
    fn the_last_line_says_how_many_are_left_out() {
        let one = task(TaskKind::Create, "complete");
        let shown = Shown { tasks_left_out: 3, unfinished_left_out: 2, ..Shown::all(&[&one], &[]) };
        let text = all(&shown, &[], "file:///vault", 80);
        let last = "left out: 3 that ended or were refused, 2 unfinished: `backupctl status --all`";
        assert_eq!(text.lines().last(), Some(last), "{text}");
        let quiet = Shown { unfinished_left_out: 1, ..Shown::default() };
        assert_eq!(
            all(&quiet, &[], "v", 80),
            "nothing is under way in v\nleft out: 1 unfinished: `backupctl status --all`\n"
        );
    }

    #[test]
    fn an_empty_vault_is_said_to_be_one() {
        assert_eq!(
            all(&Shown::default(), &[], "file:///v", 80),
            "nothing is under way, and nothing unfinished in file:///v\n"
        );
    }
}
