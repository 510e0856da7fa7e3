//! What `status` tells of the schedules: the next start of each, and what became of the last.
//!
//! Does not own: starting them (`schedule`). What this process started is remembered; before that, the journals of the
//! newest backups say which schedule asked for them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use packhorse_proto::v1;
use packhorse_vault::{CommittedBackup, RunJournal, UnfinishedRun, Vault, journal_of};

use super::{Shared, tasks::Task};
use crate::schedule::asked_by;

/// Newest backups whose journals are looked at.
const LOOKED_AT: usize = 32;

/// What became of the last time of a schedule.
pub enum Last {
    /// A run was started.
    Started(std::sync::Arc<Task>),
    /// None was started.
    NotStarted {
        /// When it was due.
        due: Timestamp,
        /// `left_out` or `missed`.
        state: &'static str,
        /// Why.
        reason: String,
    },
}

/// The last time of each schedule, by name.
pub type Lasts = BTreeMap<String, Last>;

/// All schedules of the configuration.
pub async fn told(
    shared: &Shared,
    vault: &Vault,
    backups: &[CommittedBackup],
    unfinished: &[UnfinishedRun],
) -> Vec<v1::ScheduleStatus> {
    let options = shared.options();
    let known = |name: &str| shared.lasts().contains_key(name);
    let journals = if options.schedules.iter().all(|schedule| known(schedule.name())) {
        Vec::new()
    } else {
        journals(vault, backups).await
    };
    let now = Timestamp::now();
    let tell = |schedule: &crate::schedule::Schedule| {
        let mut status = v1::ScheduleStatus {
            name: schedule.name().to_owned(),
            next_at: schedule.next_start(now).map(|next| next.to_string()).unwrap_or_default(),
            ..v1::ScheduleStatus::default()
        };
        match shared.lasts().get(schedule.name()) {
            Some(last) => remembered(&mut status, last),
            None => found(&mut status, backups, &journals, unfinished),
        }
        status
    };
    options.schedules.iter().map(tell).collect()
}

fn remembered(status: &mut v1::ScheduleStatus, last: &Last) {
    match last {
        Last::Started(task) => {
            let task = task.status();
            status.last_at = Some(task.started_at);
            status.last_backup_id = task.backup_id;
            status.last_state = task.state;
            status.last_reason =
                task.problem.map(|problem| packhorse_model::Problem::from(problem).to_string());
        }
        Last::NotStarted { due, state, reason } => {
            status.last_at = Some(due.to_string());
            status.last_state = (*state).to_owned();
            status.last_reason = Some(reason.clone());
        }
    }
}

async fn journals(vault: &Vault, backups: &[CommittedBackup]) -> Vec<RunJournal> {
    let reading = backups.iter().take(LOOKED_AT).map(|backup| journal_of(vault, &backup.backup_id));
    // One that cannot be read tells nothing.
    join_all(reading).await.into_iter().filter_map(|read| read.ok().flatten()).collect()
}

/// The newest run that the schedule asked for, committed or not.
fn found(
    status: &mut v1::ScheduleStatus,
    backups: &[CommittedBackup],
    journals: &[RunJournal],
    unfinished: &[UnfinishedRun],
) {
    let by = asked_by(&status.name);
    let is_its = |journal: &&RunJournal| journal.requested_by.as_deref() == Some(&by);
    let committed = journals.iter().find(is_its);
    let open = unfinished.iter().find(|run| is_its(&&run.journal));
    let newer = committed.map(|journal| journal.started_at);
    if let Some(run) = open.filter(|run| newer.is_none_or(|newer| run.journal.started_at > newer)) {
        status.last_at = Some(run.journal.started_at.to_string());
        status.last_backup_id = run.journal.backup_id.to_string();
        status.last_state = "failed".into();
        status.last_reason = run.end.as_ref().map(|end| end.problem.to_string());
    } else if let Some(journal) = committed {
        status.last_at = Some(journal.started_at.to_string());
        status.last_backup_id = journal.backup_id.to_string();
        let backup = backups.iter().find(|backup| backup.backup_id == journal.backup_id);
        status.last_state = backup.map(|backup| backup.state.word()).unwrap_or_default().into();
    }
}
