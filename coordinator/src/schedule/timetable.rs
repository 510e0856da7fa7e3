//! When something is due: a cron expression in a time zone.
//!
//! Does not own: delays, or what is done then. The expression is read against the wall clock, and each time on it becomes
//! one moment: a time that the clock skips is the moment after the gap, a time that it shows twice is the first of both.
//! So nothing is due twice, and nothing is left out, when the clock is changed.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

/// The moments at which something is due.
#[derive(Clone, Debug)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
}

impl Timetable {
    /// Reads an expression of five fields, or six with seconds first; the zone is the host's when none is named.
    pub fn parse(cron: &str, zone: Option<&str>) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser
            .parse(cron)
            .map_err(|error| format!("cron = {cron:?}: {}", mistake(&parser, cron, &error.to_string())))?;
        let zone = match zone {
            None => TimeZone::system(),
            Some(name) => TimeZone::get(name).map_err(|error| format!("time_zone = {name:?}: {error}"))?,
        };
        let timetable = Self { cron, zone };
        match timetable.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(timetable),
            None => Err(format!("cron = {:?}: there is no such day", timetable.cron.as_str())),
        }
    }

    /// The first due moment after this one.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(moment);
        loop {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            let due = self.moment(civil)?;
            // Where the clock is set back, times that are to come on it have already been.
            if due > moment {
                return Some(due);
            }
        }
    }

    /// The last due moment that is not after this one.
    pub fn last_until(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut civil = self.cron.find_previous_occurrence(&self.zone.to_datetime(moment), true).ok()?;
        let mut last = self.moment(civil)?;
        loop {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            match self.moment(civil)? {
                due if due <= moment => last = due,
                _ => return Some(last),
            }
        }
    }

    fn moment(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        let earlier = ambiguous.earlier().ok()?;
        if skipped { Some(self.zone.following(earlier).next()?.timestamp()) } else { Some(earlier) }
    }
}

/// The fields of an expression, with what each may say.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7, or SUN to SAT"),
];

/// What is wrong with an expression: the first field that is no field by itself, or else what the parser says.
fn mistake(parser: &CronParser, cron: &str, told: &str) -> String {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let names = match fields.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        _ if cron.trim_start().starts_with('@') => return told.to_owned(),
        count => {
            let order = "minute, hour, day of the month, month, day of the week, and seconds before them if there are six";
            return format!("it has {count} fields, and needs five or six: {order}");
        }
    };
    let alone = |at: usize| {
        let with = |number: usize| if number == at { fields[at] } else { "*" };
        (0..fields.len()).map(with).collect::<Vec<_>>().join(" ")
    };
    let wrong = (0..fields.len()).find(|at| parser.parse(&alone(*at)).is_err());
    wrong.map_or_else(
        || told.to_owned(),
        |at| {
            let (name, range) = names[at];
            format!(
                "the {name} {:?} is not valid; it may be {range}, *, a list, a range or a step",
                fields[at]
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(cron: &str) -> Timetable {
        Timetable::parse(cron, Some("Europe/Berlin")).expect(cron)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn due_times_follow_the_wall_clock() {
        // The clock skips 02:00 to 03:00 on 2026-03-29 and shows it twice on 2026-10-25, at 00:00Z and 01:00Z.
        for (cron, after, expected) in [
            ("30 2 * * *", "2026-01-10T12:00:00Z", ["2026-01-11T01:30:00Z", "2026-01-12T01:30:00Z"]),
            ("30 2 * * *", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
            ("30 2 * * *", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
            ("30 2,14 * * *", "2026-03-29T00:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-29T12:30:00Z"]),
            ("*/30 * * * *", "2026-03-29T00:00:00Z", ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"]),
            ("*/30 * * * *", "2026-03-29T00:45:00Z", ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]),
            ("*/30 * * * *", "2026-10-25T00:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]),
            ("*/20 * * * * *", "2026-01-10T12:00:10Z", ["2026-01-10T12:00:20Z", "2026-01-10T12:00:40Z"]),
            ("@weekly", "2026-01-10T12:00:00Z", ["2026-01-10T23:00:00Z", "2026-01-17T23:00:00Z"]),
            ("0 4 29 2 *", "2026-01-10T12:00:00Z", ["2028-02-29T03:00:00Z", "2032-02-29T03:00:00Z"]),
        ] {
            let timetable = berlin(cron);
            let first = timetable.next_after(at(after)).expect("a first time");
            let second = timetable.next_after(first).expect("a second time");
            assert_eq!([first, second], expected.map(at), "{cron} after {after}");
            let before = |moment: Timestamp| timetable.last_until(moment).expect("a last time");
            let moment = jiff::SignedDuration::from_millis(1);
            assert_eq!((before(first), before(second)), (first, second), "{cron}: a due time is its own");
            assert_eq!(before(second - moment), first, "{cron}: until the second it is the first");
            assert!(before(first - moment) < first);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (cron, zone, named) in [
            ("", None, "cron"),
            ("61 2 * * *", None, "the minute \"61\" is not valid; it may be 0 to 59"),
            ("0 24 * * *", None, "the hour \"24\" is not valid; it may be 0 to 23"),
            ("0 2 32 * *", None, "the day of the month \"32\" is not valid; it may be 1 to 31"),
            ("0 2 * 13 *", None, "the month \"13\" is not valid; it may be 1 to 12"),
            ("0 2 * * 9", None, "the day of the week \"9\" is not valid; it may be 0 to 7"),
            ("61 0 2 * * *", None, "the second \"61\" is not valid; it may be 0 to 59"),
            ("0 x * * *", None, "the hour \"x\" is not valid"),
            ("@yearlyish", None, "@yearlyish"),
            ("30 2", None, "it has 2 fields, and needs five or six: minute, hour"),
            ("30 2 * *", None, "30 2 * *"),
            ("99 2 * * *", None, "99"),
            ("0 0 31 2 *", None, "no such day"),
            ("0 0 1 1 * * 2030", None, "2030"),
            ("30 2 * * *", Some("Europe/Bielefeld"), "Bielefeld"),
        ] {
            let mistake = Timetable::parse(cron, zone).expect_err(cron);
            assert!(mistake.contains(named), "{cron}: {mistake}");
        }
        Timetable::parse("30 2 * * MON-FRI", None).expect("the zone of the host");
    }
}
