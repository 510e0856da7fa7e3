//! What is under way, what was, which runs committed nothing and what became of them, and what is scheduled.
//!
//! Does not own: the tasks. The vault is asked, too, so that runs of other coordinators, and of dead ones, are seen; when
//! it cannot be asked, that is said, and the rest told all the same. A run without an end is called dead only when
//! nobody can be at it or has been silent for longer than a run is resumed.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem};
use packhorse_proto::v1::{self, RunFate};
use packhorse_vault::{
    FormatMarker, Latest, RestoreBegun, UnfinishedRun, committed, nth_counted, unfinished,
};

use super::{Shared, restored, schedules};
use crate::CoordinatorOptions;

/// The answer to `Status`.
pub async fn status(shared: &Shared) -> v1::StatusResponse {
    let vault = shared.vault.briefly();
    let tasks: Vec<v1::TaskStatus> = shared.tasks.all().iter().map(|task| task.status()).collect();
    let looked = async {
        FormatMarker::of(&vault).await?;
        let (backups, _) = committed(&vault).await?;
        let runs = unfinished(&vault, &backups).await?;
        let restores = RestoreBegun::without_end(&vault).await?;
        Ok::<_, Problem>((backups, runs, restores))
    };
    let mut complete_at = None;
    let (unfinished, schedules, problem) = match looked.await {
        Ok((backups, runs, restores)) => {
            let complete = nth_counted(backups.clone(), 0, Latest::Whole);
            complete_at = complete.map(|found| found.backup.started_at.to_string());
            let schedules = schedules::told(shared, &vault, &backups, &runs).await;
            let runs = runs.into_iter().map(|run| (run.journal.started_at, told(shared, &tasks, run)));
            let restores = restores.into_iter();
            let restores = restores.map(|begun| (begun.started_at, restored::unfinished(begun, shared)));
            let mut all: Vec<_> = runs.chain(restores).collect();
            all.sort_by_key(|(started_at, _)| std::cmp::Reverse(*started_at));
            (all.into_iter().map(|(_, told)| told).collect(), schedules, None)
        }
        Err(problem) => {
            let schedules = schedules::told(shared, &vault, &[], &[]).await;
            (Vec::new(), schedules, Some((&problem).into()))
        }
    };
    let vault_url = vault.label().to_owned();
    let vault_id = vault.id();
    v1::StatusResponse {
        tasks,
        unfinished,
        vault_url,
        vault_problem: problem,
        vault_id,
        schedules,
        complete_at,
    }
}

/// An unfinished run, with what became of it.
pub fn told(shared: &Shared, tasks: &[v1::TaskStatus], run: UnfinishedRun) -> v1::UnfinishedRun {
    let options = shared.options();
    let backup_id = run.journal.backup_id.to_string();
    let task = tasks.iter().find(|task| task.backup_id == backup_id || task.run == run.journal.attempt);
    let here = task.is_some_and(|task| !task.ended);
    let (fate, reason) = match (&run.end, task) {
        (Some(end), _) if end.problem.kind == ErrorKind::Cancelled => (RunFate::Cancelled, String::new()),
        (Some(_), _) => (RunFate::Failed, String::new()),
        (None, Some(_)) if here => (RunFate::Here, String::new()),
        (None, Some(_)) => (RunFate::Elsewhere, "it is resumed when this coordinator starts again".into()),
        (None, None) => without_end(&run, &options, shared.knows_its_runs.is_cancelled(), Timestamp::now()),
    };
    v1::UnfinishedRun {
        here,
        fate: fate.into(),
        reason,
        backup_id,
        host: run.journal.host,
        pid: run.journal.pid,
        started_at: run.journal.started_at.to_string(),
        coordinator: run.journal.coordinator.filter(|_| run.end.is_none()),
        requested_by: run.journal.requested_by,
        ended_at: run.end.as_ref().map(|end| end.ended_at.to_string()),
        end: run.end.map(|end| (&end.problem).into()),
        restore: None,
    }
}

/// A run of which nobody said how it ended, and which this process is not at.
fn without_end(
    run: &UnfinishedRun,
    options: &CoordinatorOptions,
    knows_its_runs: bool,
    now: Timestamp,
) -> (RunFate, String) {
    let journal = &run.journal;
    let is_here = journal.host == options.host;
    if journal.coordinator.is_some() && journal.coordinator == options.identity {
        return match knows_its_runs {
            true => (RunFate::Dead, "its coordinator has started again without it".into()),
            false => (RunFate::Elsewhere, "this coordinator is about to look for it".into()),
        };
    }
    let is_gone = is_here && !Path::new(&format!("/proc/{}", journal.pid)).exists();
    if journal.coordinator.is_none() && is_gone {
        return (RunFate::Dead, format!("its process {} is gone", journal.pid));
    }
    let age = now.duration_since(journal.started_at);
    let limit = SignedDuration::try_from(options.resume_within).unwrap_or(SignedDuration::MAX);
    if age > limit {
        return (
            RunFate::Dead,
            "it began longer ago than runs are resumed, and nothing more was heard".into(),
        );
    }
    let reason = match &journal.coordinator {
        Some(coordinator) => format!("under way, or to be resumed, by {coordinator}"),
        None => format!("under way in process {} on {}, or dead", journal.pid, journal.host),
    };
    (RunFate::Elsewhere, reason)
}

#[cfg(test)]
mod tests {
    use packhorse_vault::RunJournal;

    use super::*;

    fn options() -> CoordinatorOptions {
        let config = packhorse_service::config::Config::default();
        let options = CoordinatorOptions::from_config(&config, &Default::default(), None).expect("valid");
        CoordinatorOptions { host: "here".into(), identity: Some("we".into()), ..options }
    }

    /// What is said of a run without an end.
    fn fate(host: &str, pid: u32, coordinator: Option<&str>, hours: i64, knows: bool) -> RunFate {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().expect("a timestamp");
        let journal = RunJournal {
            backup_id: "b1".parse().expect("valid ID"),
            attempt: "a".into(),
            host: host.into(),
            pid,
            coordinator: coordinator.map(str::to_owned),
            started_at: now - SignedDuration::from_hours(hours),
            packhorse_version: "0".into(),
            requested_by: None,
            order: None,
        };
        without_end(&UnfinishedRun { journal, end: None }, &options(), knows, now).0
    }

    #[test]
    fn a_run_is_dead_when_nobody_can_be_at_it_and_only_then() {
        const NOBODY: u32 = u32::MAX;
        let me = std::process::id();
        assert_eq!(fate("here", NOBODY, None, 1, true), RunFate::Dead, "its process is gone");
        assert_eq!(fate("here", me, None, 1, true), RunFate::Elsewhere, "its process lives");
        assert_eq!(fate("there", NOBODY, None, 1, true), RunFate::Elsewhere, "who knows");
        assert_eq!(fate("there", NOBODY, None, 13, true), RunFate::Dead, "for too long");
        assert_eq!(fate("here", NOBODY, Some("we"), 1, true), RunFate::Dead, "we did not resume it");
        assert_eq!(fate("here", NOBODY, Some("we"), 1, false), RunFate::Elsewhere, "we do not know yet");
        assert_eq!(fate("here", NOBODY, Some("they"), 1, true), RunFate::Elsewhere, "they may resume it");
        assert_eq!(fate("here", NOBODY, Some("they"), 13, true), RunFate::Dead, "not any more");
    }
}
