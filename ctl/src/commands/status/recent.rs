//! What `status` shows of all that is known: what is under way, what ended lately, and what is still open.
//!
//! Does not own: the text. JSON, `--all` and a run that is named show all of it; how many are left out is always told.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_proto::v1::{self, TaskStatus, UnfinishedRun};

use super::{name_of, shown_name};

/// Tasks that ended and are shown.
const ENDED: usize = 10;
/// For how long a run that committed nothing is shown, although a complete backup was made since.
const OPEN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is shown, and how many are not.
#[derive(Default)]
pub struct Shown<'a> {
    /// Tasks of this coordinator.
    pub tasks: Vec<&'a TaskStatus>,
    /// Runs that committed nothing, and that no task is at.
    pub unfinished: Vec<&'a UnfinishedRun>,
    /// Tasks that ended and are left out.
    pub tasks_left_out: usize,
    /// Runs that committed nothing and are left out.
    pub unfinished_left_out: usize,
}

/// Whether it was for repositories that do not exist, as a typing error is.
fn is_of_nothing(end: Option<&v1::Problem>) -> bool {
    let problem = end.cloned().map(Problem::from);
    problem.is_some_and(|end| (end.kind, end.subject) == (ErrorKind::NotFound, Subject::Repository))
}

impl<'a> Shown<'a> {
    /// All of it.
    pub fn all(tasks: &[&'a TaskStatus], unfinished: &[&'a UnfinishedRun]) -> Self {
        let unfinished = unfinished.iter().copied().filter(|run| !run.here).collect();
        Self { tasks: tasks.to_vec(), unfinished, ..Self::default() }
    }

    /// What matters now; both lists have the newest first.
    pub fn lately(
        tasks: &[&'a TaskStatus],
        unfinished: &[&'a UnfinishedRun],
        complete_at: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let mut shown = Self::default();
        let mut names: BTreeSet<&str> =
            tasks.iter().filter(|task| !task.ended).map(|task| shown_name(task)).collect();
        let mut ended = 0;
        for task in tasks {
            // Of one backup ID only the newest end is shown.
            let is_refused = task.refused || is_of_nothing(task.problem.as_ref());
            let is_shown = !task.ended || !is_refused && ended < ENDED && names.insert(shown_name(task));
            ended += usize::from(is_shown && task.ended);
            if is_shown {
                shown.tasks.push(task);
            } else {
                shown.tasks_left_out += 1;
            }
        }
        let complete_at = complete_at.and_then(|time| time.parse::<Timestamp>().ok());
        for run in unfinished.iter().filter(|run| !run.here) {
            let started_at = run.started_at.parse::<Timestamp>().ok();
            let is_old = started_at.is_some_and(|started| {
                now.duration_since(started) > OPEN && complete_at.is_some_and(|complete| started < complete)
            });
            // A task that is shown has told it already.
            if !names.insert(name_of(run)) {
                continue;
            }
            if is_old || is_of_nothing(run.end.as_ref()) {
                shown.unfinished_left_out += 1;
            } else {
                shown.unfinished.push(run);
            }
        }
        shown
    }

    /// How many are left out, in a line.
    pub fn left_out(&self) -> Option<String> {
        let told =
            [(self.tasks_left_out, "that ended or were refused"), (self.unfinished_left_out, "unfinished")];
        let told: Vec<String> =
            told.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        (!told.is_empty()).then(|| format!("left out: {}: `backupctl status --all`", told.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use packhorse_proto::v1::TaskKind;

    use super::*;

    fn task(id: &str, state: &str, refused: bool) -> TaskStatus {
        TaskStatus {
            run: format!("run-{id}"),
            backup_id: id.into(),
            kind: TaskKind::Create.into(),
            ended: state != "running",
            state: state.into(),
            refused,
            ..TaskStatus::default()
        }
    }

    fn run(id: &str, started_at: &str, here: bool) -> UnfinishedRun {
        UnfinishedRun {
            backup_id: id.into(),
            started_at: started_at.into(),
            here,
            ..UnfinishedRun::default()
        }
    }

    fn ids(shown: &Shown<'_>) -> (Vec<String>, Vec<String>) {
        let tasks = shown.tasks.iter().map(|task| format!("{} {}", task.backup_id, task.state));
        (tasks.collect(), shown.unfinished.iter().map(|run| run.backup_id.clone()).collect())
    }

    fn now() -> Timestamp {
        "2026-11-30T12:00:00Z".parse().expect("a timestamp")
    }

    #[test]
    fn the_last_that_ended_are_shown_each_once_and_no_typo() {
        let mut tasks = vec![
            task("open", "running", false),
            task("typo", "failed", true),
            task("again", "complete", false),
            task("again", "failed", false),
            task("open", "failed", false),
        ];
        tasks.extend((0..12).map(|n| task(&format!("night-{n}"), "complete", false)));
        tasks.push(task("long", "running", false));
        let tasks: Vec<&TaskStatus> = tasks.iter().collect();
        let shown = Shown::lately(&tasks, &[], None, now());
        let (told, _) = ids(&shown);
        assert_eq!(told.len(), 12, "two are under way: {told:?}");
        assert_eq!(told[..3], ["open running", "again complete", "night-0 complete"]);
        assert_eq!(told.last().map(String::as_str), Some("long running"), "however old it is");
        assert_eq!(shown.tasks_left_out, 6);
        let line = shown.left_out().expect("some are left out");
        assert_eq!(line, "left out: 6 that ended or were refused: `backupctl status --all`");
        let all = Shown::all(&tasks, &[]);
        assert_eq!((all.tasks.len(), all.left_out()), (tasks.len(), None));
    }

    #[test]
    fn what_committed_nothing_is_shown_for_a_week_or_until_a_complete_backup() {
        let runs = [
            run("today", "2026-11-30T02:00:00Z", false),
            run("here", "2026-11-30T02:00:00Z", true),
            run("told", "2026-11-29T02:00:00Z", false),
            run("week", "2026-11-24T02:00:00Z", false),
            run("month", "2026-11-01T02:00:00Z", false),
            run("year", "2025-11-01T02:00:00Z", false),
        ];
        let mut runs: Vec<&UnfinishedRun> = runs.iter().collect();
        let nothing = Problem::new(ErrorKind::NotFound, Subject::Repository, "find repository");
        let typo =
            UnfinishedRun { end: Some((&nothing).into()), ..run("typo", "2026-11-30T11:00:00Z", false) };
        let told = task("told", "failed", false);
        let shown = |complete| Shown::lately(&[&told], &runs, complete, now());
        let since = shown(Some("2026-11-30T03:00:00Z"));
        assert_eq!(ids(&since).1, ["today", "week"]);
        assert_eq!(since.unfinished_left_out, 2);
        assert_eq!(ids(&shown(Some("2026-10-01T00:00:00Z"))).1, ["today", "week", "month"]);
        assert_eq!(ids(&shown(None)).1, ["today", "week", "month", "year"]);
        assert_eq!(ids(&Shown::all(&[&told], &runs)).1.len(), 5, "all but what a task is at");
        runs.push(&typo);
        let shown = Shown::lately(&[&told], &runs, None, now());
        assert_eq!((shown.unfinished.len(), shown.unfinished_left_out), (4, 1));
    }
}
