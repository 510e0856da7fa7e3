//! What was backed up before this process started, as the vault has it.
//!
//! Does not own: anything that is stored. A run that committed nothing does not count: it is what has to be made up for.
//! A backup that a wrong clock put into the future does not count either: it would keep the schedule quiet until then.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use packhorse_model::Problem;
use packhorse_vault::{CommittedBackup, FormatMarker, Vault, committed};

use super::Schedule;

/// How far another clock may be ahead.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// When the newest backups were made, and by which schedules.
#[derive(Clone, Debug, Default)]
pub struct History {
    whole: Option<Timestamp>,
    any: Option<Timestamp>,
    schedules: BTreeSet<String>,
}

impl History {
    /// Asks the vault.
    pub async fn read(vault: &Vault, now: Timestamp) -> Result<Self, Problem> {
        FormatMarker::of(vault).await?;
        let (backups, _unreadable) = committed(vault).await?;
        Ok(Self::of(&backups, now))
    }

    fn of(backups: &[CommittedBackup], now: Timestamp) -> Self {
        let past = |backup: &&CommittedBackup| made_at(backup).duration_since(now) <= SKEW;
        let past: Vec<&CommittedBackup> = backups.iter().filter(past).collect();
        Self {
            whole: past.iter().filter(|backup| !backup.partial).map(|backup| made_at(backup)).max(),
            any: past.iter().map(|backup| made_at(backup)).max(),
            schedules: backups.iter().filter_map(|backup| backup.schedule.clone()).collect(),
        }
    }

    /// Up to when the schedule is settled. The newest backup stands for one of its own: a whole one for any, one that
    /// leaves something out only for schedules that do so, too. A schedule that never made one is new, and was not missed.
    pub fn covers(&self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let newest = if schedule.is_partial() { self.any } else { self.whole };
        if self.schedules.contains(schedule.name()) {
            return newest;
        }
        newest.max(schedule.timetable.last_until(now))
    }
}

/// When a backup was made. `started_at` is later where an earlier backup lies in the future.
fn made_at(backup: &CommittedBackup) -> Timestamp {
    backup.committed_at.map_or(backup.started_at, |committed| committed.min(backup.started_at))
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::schedule, *};

    fn at(text: &str) -> Timestamp {
        format!("2026-01-{text}Z").parse().expect("a timestamp")
    }

    /// A backup as its record says it, with the real time of its commit.
    fn backup(id: &str, started: Timestamp, committed: Timestamp, schedule: Option<&str>) -> CommittedBackup {
        CommittedBackup {
            metadata_version: 2,
            backup_id: id.parse().expect("valid ID"),
            created_at: started,
            gitlab_version: "0".into(),
            packhorse_version: "0".into(),
            packhorse_format: 1,
            state: packhorse_model::RunState::Complete,
            partial: false,
            incremental: false,
            base_backup_id: None,
            started_at: started,
            finished_at: started,
            committed_at: Some(committed),
            schedule: schedule.map(str::to_owned),
            repositories: 0,
            repositories_failed: 0,
            repositories_gone: 0,
            unproven: 0,
            databases: 0,
            directories: 0,
            failures: 0,
            bytes_new: 0,
            bytes_total: 0,
            report_sha256: "0".repeat(64).parse().expect("a digest"),
            report_size: 0,
        }
    }

    #[test]
    fn a_schedule_begins_with_its_first_time_and_makes_up_for_what_it_missed_later() {
        let nightly = schedule("30 2 * * *", "", "host");
        let now = at("12T09:00:00");
        let asked = [backup("asked", at("10T12:00:00"), at("10T12:30:00"), None)];
        assert_eq!(History::of(&asked, now).covers(&nightly, now), Some(at("12T02:30:00")), "it is new");
        let made = [backup("made", at("10T02:30:01"), at("10T03:00:00"), Some("test"))];
        assert_eq!(History::of(&made, now).covers(&nightly, now), Some(at("10T02:30:01")), "two were missed");
    }

    #[test]
    fn a_backup_of_the_future_covers_nothing_and_those_after_it_count_by_their_commit() {
        let nightly = schedule("30 2 * * *", "", "host");
        let (now, future) = (at("12T09:00:00"), at("30T00:00:00"));
        let mut backups = vec![backup("wrong", future, future, Some("test"))];
        assert_eq!(History::of(&backups, now).covers(&nightly, now), None);
        backups.push(backup("right", future, at("12T03:00:00"), Some("test")));
        assert_eq!(History::of(&backups, now).covers(&nightly, now), Some(at("12T03:00:00")));
    }
}
