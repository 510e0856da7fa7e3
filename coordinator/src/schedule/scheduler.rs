//! Starts what is due, for as long as the coordinator takes new work.
//!
//! Does not own: the decision (`decide`), or the run. It looks at the wall clock at least once a minute instead of
//! sleeping through, so a clock that is set and a machine that was paused change nothing. A run that cannot start,
//! because another one goes on, is left out by name; two scheduled runs never go on at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use packhorse_service::Live;
use packhorse_vault::Vault;
use tokio_util::sync::CancellationToken;

use super::{
    Schedule,
    decide::{Decision, decide},
    entry::asked_by,
    history::History,
    report::report,
};
use crate::{CoordinatorOptions, run::RunRequest};

/// Time between two looks at the clock at most.
const LOOK: Duration = Duration::from_secs(60);

/// When the newest run of each schedule began that goes on again after a restart.
pub type Begun = BTreeMap<String, Timestamp>;

/// The way to start a run, as operators do.
pub trait StartRun: Send + Sync + 'static {
    /// Starts a run.
    fn start(&self, schedule: &str, request: RunRequest);
    /// Notes that none is started: it is `left_out` or was `missed`.
    fn left_out(&self, schedule: &str, due: Timestamp, state: &'static str, reason: String);
    /// What is under way, if anything is.
    fn busy(&self) -> Option<String>;
}

/// The coordinator's own schedules.
pub struct Scheduler<S> {
    /// Where the schedules are.
    pub options: Live<CoordinatorOptions>,
    /// What has been backed up.
    pub vault: Vault,
    /// The way to start a run.
    pub runs: S,
    /// Ends the scheduler.
    pub stopping: CancellationToken,
}

/// A schedule and how far it is settled in this process.
struct Settled {
    schedule: Schedule,
    until: Option<Timestamp>,
    skipped: u64,
    announced: Option<Timestamp>,
}

impl<S: StartRun> Scheduler<S> {
    /// Runs until the coordinator stops; `begun` are runs that go on, and are not to be started again.
    pub async fn run(self, begun: Begun) {
        let mut changes = self.options.changes();
        let mut settled = BTreeMap::new();
        let mut history = None;
        loop {
            let options = self.options.now();
            if history.is_none() && !options.schedules.is_empty() {
                history = self.history().await;
                if let Some(history) = &history {
                    settled = first(&options.schedules, (history, &begun), Timestamp::now());
                }
            }
            let mut pause = LOOK;
            if history.is_some() {
                settled = merge(settled, &options.schedules, Timestamp::now());
                for one in settled.values_mut() {
                    pause = pause.min(self.look(one, &options));
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                _ = changes.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn history(&self) -> Option<History> {
        tokio::select! {
            read = History::read(&self.vault, Timestamp::now()) => match read {
                Ok(history) => Some(history),
                Err(problem) => {
                    tracing::warn!(next = problem.next, "schedules wait for the vault: {problem}");
                    None
                }
            },
            () = self.stopping.cancelled() => None,
        }
    }

    /// Does what is due, and says how long there is nothing more to do.
    fn look(&self, one: &mut Settled, options: &CoordinatorOptions) -> Duration {
        let now = Timestamp::now();
        let name = one.schedule.name().to_owned();
        match decide(now, one.until, &one.schedule) {
            Decision::Wait(until) => {
                if one.announced.replace(until) != Some(until) {
                    tracing::info!(schedule = name, %until, "the next scheduled backup is planned");
                }
                return Duration::try_from(until.duration_since(now)).unwrap_or_default();
            }
            Decision::TooLate(due) => {
                tracing::warn!(schedule = name, %due, "scheduled backup was missed and is too late to be made");
                one.until = Some(due);
                self.runs.left_out(&name, due, "missed", "the coordinator was not there in time".into());
            }
            Decision::Start(due) => {
                one.until = Some(due);
                if let Some(busy) = self.runs.busy() {
                    one.skipped += 1;
                    let skipped = one.skipped;
                    tracing::warn!(schedule = name, %due, skipped, "scheduled backup is left out: {busy} goes on");
                    self.runs.left_out(&name, due, "left_out", format!("{busy} went on"));
                } else {
                    self.start(&one.schedule, due, options);
                }
            }
        }
        Duration::ZERO
    }

    fn start(&self, schedule: &Schedule, due: Timestamp, options: &CoordinatorOptions) {
        let name = schedule.name().to_owned();
        match schedule.request(options) {
            Ok(request) => {
                tracing::info!(schedule = name, %due, "scheduled backup starts");
                self.runs.start(&name, request);
            }
            Err(problem) => report(&asked_by(&name), &Err(problem)),
        }
    }
}

type AllSettled = BTreeMap<String, Settled>;

fn first(schedules: &[Schedule], (history, begun): (&History, &Begun), now: Timestamp) -> AllSettled {
    let settled = schedules.iter().map(|schedule| {
        let until = history.covers(schedule, now).max(begun.get(schedule.name()).copied());
        let one = Settled { schedule: schedule.clone(), until, skipped: 0, announced: None };
        (schedule.name().to_owned(), one)
    });
    settled.collect()
}

/// Takes up new and changed schedules from now on, not from their last time: they were not missed. Forgets others.
fn merge(mut settled: AllSettled, schedules: &[Schedule], now: Timestamp) -> AllSettled {
    let kept = schedules.iter().map(|schedule| {
        let known = settled.remove(schedule.name()).filter(|one| one.schedule.config == schedule.config);
        let one = known.unwrap_or_else(|| Settled {
            schedule: schedule.clone(),
            until: schedule.timetable.last_until(now),
            skipped: 0,
            announced: None,
        });
        (schedule.name().to_owned(), one)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::schedule, *};

    #[test]
    fn a_schedule_that_is_new_or_changed_was_not_missed() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().expect("a timestamp");
        let (old, changed) = (schedule("30 2 * * *", "", "host"), schedule("0 11 * * *", "", "host"));
        let last_night = Some("2026-01-10T02:30:00Z".to_owned());
        let until = |all: &AllSettled| all["test"].until.map(|time| time.to_string());
        let none = (&History::default(), &Begun::new());
        let started = first(std::slice::from_ref(&old), none, now);
        assert_eq!(until(&started), last_night, "the vault has nothing of it: it begins at its next time");
        let kept = merge(started, std::slice::from_ref(&old), now);
        assert_eq!(until(&kept), last_night, "a reload without a change changes nothing");
        let merged = merge(kept, &[changed], now);
        assert_eq!(merged["test"].until.map(|t| t.to_string()).as_deref(), Some("2026-01-10T11:00:00Z"));
        assert!(merge(merged, &[], now).is_empty());
    }

    #[test]
    fn a_run_that_goes_on_is_not_started_again() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().expect("a timestamp");
        let schedule = schedule("30 2 * * *", "", "host");
        let until = |begun: &Begun| {
            first(std::slice::from_ref(&schedule), (&History::default(), begun), now)["test"].until
        };
        let begun = |name: &str, at: &str| Begun::from([(name.to_owned(), at.parse().expect("a timestamp"))]);
        let tonight = "2026-01-10T02:30:07Z";
        assert_eq!(until(&begun("test", tonight)).map(|time| time.to_string()).as_deref(), Some(tonight));
        // One of another schedule, or of the night before, stands for nothing of tonight.
        for other in [begun("other", tonight), begun("test", "2026-01-09T02:30:07Z")] {
            assert_eq!(until(&other), until(&Begun::new()));
        }
    }
}
