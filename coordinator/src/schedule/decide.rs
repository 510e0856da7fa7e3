//! Whether a schedule starts a run now.
//!
//! Does not own: the clock, or what was backed up: both are given. So the decision is the same after a restart, after a
//! pause of the machine, and after the clock was set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Schedule;

/// A run that starts within this of its time is not late, whatever `catch_up` says.
const ON_TIME: Duration = Duration::from_secs(60);

/// What to do about a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this moment.
    Wait(Timestamp),
    /// Start the run that was due then.
    Start(Timestamp),
    /// The run that was due then is too late to be made.
    TooLate(Timestamp),
}

/// Decides at `now`, when everything that was due up to `covered` is settled.
pub fn decide(now: Timestamp, covered: Option<Timestamp>, schedule: &Schedule) -> Decision {
    let timetable = &schedule.timetable;
    let open = timetable.last_until(now).filter(|due| covered.is_none_or(|covered| covered < *due));
    let Some(due) = open else {
        let next = timetable.next_after(now).map(|due| schedule.start_of(due));
        return Decision::Wait(next.unwrap_or(Timestamp::MAX));
    };
    let start = schedule.start_of(due);
    if now < start {
        return Decision::Wait(start);
    }
    let limit = schedule.config.catch_up.duration().max(ON_TIME);
    let late = now.duration_since(start);
    if late <= SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX) {
        Decision::Start(due)
    } else {
        Decision::TooLate(due)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::schedule, *};

    fn at(text: &str) -> Timestamp {
        format!("2026-01-{text}Z").parse().expect("a timestamp")
    }

    #[test]
    fn what_is_due_is_started_once_and_not_too_late() {
        use Decision::{Start, TooLate, Wait};
        let cases = [
            ("a night before", "10T12:00:00", Some("10T02:31:00"), "12h", Wait(at("11T02:30:00"))),
            ("at its time", "11T02:30:00", Some("10T02:31:00"), "12h", Start(at("11T02:30:00"))),
            ("a moment late", "11T02:30:59", Some("10T02:31:00"), "0s", Start(at("11T02:30:00"))),
            ("started", "11T02:31:00", Some("11T02:30:00"), "12h", Wait(at("12T02:30:00"))),
            ("back after hours", "11T09:00:00", Some("10T02:31:00"), "12h", Start(at("11T02:30:00"))),
            ("back after days", "11T09:00:00", Some("01T02:31:00"), "12h", Start(at("11T02:30:00"))),
            ("back too late", "11T15:00:00", Some("10T02:31:00"), "12h", TooLate(at("11T02:30:00"))),
            ("never late", "11T02:32:00", Some("10T02:31:00"), "0s", TooLate(at("11T02:30:00"))),
            ("an operator was faster", "11T09:00:00", Some("11T03:00:00"), "12h", Wait(at("12T02:30:00"))),
            ("nothing was ever made", "11T09:00:00", None, "12h", Start(at("11T02:30:00"))),
            ("the clock was set back", "09T09:00:00", Some("11T02:30:00"), "12h", Wait(at("10T02:30:00"))),
            (
                "and meets that night again",
                "11T02:30:00",
                Some("11T02:30:00"),
                "12h",
                Wait(at("12T02:30:00")),
            ),
        ];
        for (what, now, covered, catch_up, expected) in cases {
            let schedule = schedule("30 2 * * *", &format!("catch_up = '{catch_up}'"), "host");
            assert_eq!(decide(at(now), covered.map(at), &schedule), expected, "{what}");
        }
    }

    #[test]
    fn the_delay_comes_before_the_start_and_counts_as_no_lateness() {
        let schedule = schedule("30 2 * * *", "jitter = '2h'\ncatch_up = '0s'", "host");
        let (due, covered) = (at("11T02:30:00"), Some(at("10T02:30:00")));
        let start = schedule.start_of(due);
        assert!(start > due);
        let moment = SignedDuration::from_millis(1);
        assert_eq!(decide(start - moment, covered, &schedule), Decision::Wait(start));
        assert_eq!(decide(start, covered, &schedule), Decision::Start(due));
        assert_eq!(decide(due - moment, covered, &schedule), Decision::Wait(start));
    }
}
