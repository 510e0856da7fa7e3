//! One schedule of the configuration: when it starts, and what it asks for.
//!
//! Does not own: whether it starts (`decide`). The delay follows from the name, the due time and the host, so it is the
//! same after a restart, and another one on the next host.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_proto::v1::{BackupMode, CreateRequest, RepositoryFilter};
use packhorse_service::config::{Prove, ScheduleConfig, ScheduleMode};

use super::timetable::Timetable;
use crate::{CoordinatorOptions, run::RunRequest};

/// A schedule that was checked.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// As it was written.
    pub config: ScheduleConfig,
    /// When it is due.
    pub timetable: Timetable,
    host: String,
}

const BY: &str = "schedule ";

/// What a run that a schedule starts says of who asked for it.
pub fn asked_by(schedule: &str) -> String {
    format!("{BY}{schedule}")
}

/// The schedule that asked for a run, if one did.
pub fn schedule_in(by: &str) -> Option<&str> {
    by.strip_prefix(BY)
}

impl Schedule {
    /// Checks a schedule of the configuration against everything else in it.
    pub fn from_config(config: &ScheduleConfig, options: &CoordinatorOptions) -> Result<Self, Problem> {
        let mistake = |answer: String| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, "read schedule")
                .on(format!("{}: schedule {}", config.place.0, config.name))
                .answered(answer)
        };
        let timetable = Timetable::parse(&config.cron, config.time_zone.as_deref()).map_err(mistake)?;
        let schedule = Self { config: config.clone(), timetable, host: options.host.clone() };
        schedule.request(options).map_err(|problem| mistake(problem.to_string()))?;
        Ok(schedule)
    }

    /// What logs call it.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The run that it asks for.
    pub fn request(&self, options: &CoordinatorOptions) -> Result<RunRequest, Problem> {
        let config = self.config.clone();
        let mode = match config.mode {
            ScheduleMode::Auto => BackupMode::Auto,
            ScheduleMode::Full => BackupMode::Full,
            ScheduleMode::Incremental => BackupMode::Incremental,
        };
        let filter = RepositoryFilter { include: config.repositories, exclude: config.skip_repositories };
        let wire = CreateRequest {
            backup_id: None,
            mode: mode.into(),
            storages: config.storages,
            filter: Some(filter),
            only: config.only,
            skip: config.skip,
            dry_run: false,
            prove_later: config.prove == Prove::Later,
            init: false,
            // What is gone on purpose is for somebody to say.
            accept_all_gone: false,
            accept_gone: Vec::new(),
        };
        let (schedule, by) = (Some(config.name), asked_by(self.name()));
        let request = RunRequest::from_wire(wire, options)?.by(by);
        Ok(RunRequest { patient: true, schedule, ..request })
    }

    /// Whether it leaves something out on purpose.
    pub fn is_partial(&self) -> bool {
        let ScheduleConfig { storages, repositories, skip_repositories, only, skip, .. } = &self.config;
        [storages, repositories, skip_repositories, only, skip].iter().any(|names| !names.is_empty())
    }

    /// When the next run starts: the one that is due and waits for its delay, or the one after it.
    pub fn next_start(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting =
            self.timetable.last_until(now).map(|due| self.start_of(due)).filter(|start| *start > now);
        waiting.or_else(|| self.timetable.next_after(now).map(|due| self.start_of(due)))
    }

    /// When the run that is due at this moment starts: later by some of `jitter`, but never by more than half of the
    /// time to the next one.
    pub fn start_of(&self, due: Timestamp) -> Timestamp {
        let to_next = self.timetable.next_after(due).map(|next| next.duration_since(due));
        let half = to_next.and_then(|span| Duration::try_from(span / 2).ok()).unwrap_or_default();
        let most = self.config.jitter.duration().min(half);
        let mut hasher = DefaultHasher::new();
        (&self.config.name, due.as_second(), &self.host).hash(&mut hasher);
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let delay = hasher.finish().checked_rem(millis).unwrap_or_default();
        let delay = SignedDuration::from_millis(i64::try_from(delay).unwrap_or_default());
        due.saturating_add(delay).unwrap_or(due)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A schedule in UTC with these further lines.
    pub fn schedule(cron: &str, more: &str, host: &str) -> Schedule {
        let text = format!("[[schedule]]\nname = 'test'\ncron = '{cron}'\ntime_zone = 'UTC'\n{more}");
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(&file, text).expect("write configuration");
        let config = packhorse_service::config::Config::load(file.path()).expect("valid configuration");
        let options = CoordinatorOptions::from_config(&config, &std::collections::BTreeMap::new(), None);
        let mut options = options.expect("valid options");
        options.host = host.to_owned();
        Schedule::from_config(&config.schedule[0], &options).expect("valid schedule")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn the_delay_stays_for_a_due_time_and_differs_between_hosts_and_nights() {
        let due = at("2026-01-10T02:30:00Z");
        let delay = |host: &str, due: Timestamp| {
            schedule("30 2 * * *", "jitter = '1h'", host).start_of(due).duration_since(due)
        };
        assert_eq!(delay("a", due), delay("a", due));
        assert_ne!(delay("a", due), delay("b", due));
        assert_ne!(delay("a", due), delay("a", at("2026-01-11T02:30:00Z")));
        assert!(delay("a", due) < SignedDuration::from_hours(1));
        assert_eq!(schedule("30 2 * * *", "", "a").start_of(due), due, "without jitter there is none");
    }

    #[test]
    fn the_delay_leaves_room_before_the_next_time() {
        let often = schedule("* * * * *", "jitter = '10m'", "a");
        for minute in 0..60 {
            let due = at(&format!("2026-01-10T02:{minute:02}:00Z"));
            assert!(often.start_of(due).duration_since(due) < SignedDuration::from_secs(30));
        }
    }

    #[test]
    fn what_it_leaves_out_makes_it_partial() {
        assert!(!schedule("@daily", "mode = 'full'", "a").is_partial());
        for more in
            ["storages = ['a']", "repositories = ['x/**']", "skip_repositories = ['x']", "skip = ['db']"]
        {
            assert!(schedule("@daily", more, "a").is_partial(), "{more}");
        }
    }
}
