//! One line of progress: a bar, percent, what is done, bytes that arrived, their rate, and the time that is left.
//!
//! Does not own: showing it (`progress`). What is not known is left out: there is no percent before everything was found,
//! and no time left before something was done. Where a line has no room for everything, whole fields are left out or
//! shortened, those about percent and time left last of all; none is cut.

use std::time::Duration;

use packhorse_model::visible;
use packhorse_proto::v1::{RunProgress, StorageProgress};

use super::{bytes, count, counted};

/// Characters of the bar.
const BAR: u64 = 20;

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    fn dye(self, code: u8, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How far something is, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    known: u64,
    known_all: bool,
    done: u64,
    failed: u64,
    bytes: u64,
    working_on: Vec<String>,
}

impl Amount {
    /// Of everything; of `storages` storages, some of which may not have begun.
    pub fn of_all(progress: &RunProgress, storages: usize) -> Self {
        let mut all = Self { known_all: progress.storages.len() >= storages, ..Self::default() };
        let parts = progress.parts.iter().filter(|part| !part.done).map(|part| part.name.clone());
        all.working_on.extend(parts);
        for storage in &progress.storages {
            let one = Self::of_storage(storage);
            all.known += one.known;
            all.known_all &= one.known_all;
            all.done += one.done;
            all.failed += one.failed;
            all.bytes += one.bytes;
            all.working_on.extend(one.working_on);
        }
        all.bytes += progress.parts.iter().map(|part| part.bytes).sum::<u64>();
        all
    }

    /// Of one storage.
    pub fn of_storage(storage: &StorageProgress) -> Self {
        Self {
            known: storage.known,
            known_all: storage.known_all,
            done: storage.done,
            failed: storage.failed,
            bytes: storage.bytes,
            working_on: storage.working_on.clone(),
        }
    }

    fn permille(&self) -> Option<u64> {
        (self.known_all && self.known > 0).then(|| self.done.min(self.known) * 1000 / self.known)
    }
}

/// What was seen since we look: of a run that others began, the rest says nothing about its speed.
#[derive(Clone, Debug)]
pub struct Pace {
    first: Amount,
    most: u64,
}

impl Pace {
    /// Begins to look.
    pub fn from(first: Amount) -> Self {
        Self { most: first.done, first }
    }

    /// Looks again.
    pub fn seen(&mut self, now: &Amount) {
        self.most = self.most.max(now.done);
    }

    /// Whether more was done before.
    pub fn is_beyond(&self, now: &Amount) -> bool {
        now.done < self.most
    }

    fn rate(&self, now: &Amount, elapsed: Duration) -> u64 {
        let seconds = elapsed.as_secs_f64().max(0.1);
        (now.bytes.saturating_sub(self.first.bytes) as f64 / seconds) as u64
    }

    /// Time left, from the repositories that were done while we looked.
    fn left(&self, now: &Amount, elapsed: Duration) -> Option<Duration> {
        let done = now.done.saturating_sub(self.first.done);
        let open = now.known.saturating_sub(now.done);
        if !now.known_all || done == 0 || open == 0 {
            return None;
        }
        Some(Duration::from_secs_f64(elapsed.as_secs_f64() / done as f64 * open as f64))
    }
}

/// What a line tells.
pub struct Line<'a> {
    /// Stands before a line that is about a part of the whole.
    pub name: &'a str,
    /// How far it is.
    pub now: &'a Amount,
    /// What was seen before.
    pub pace: &'a Pace,
    /// Time since that.
    pub elapsed: Duration,
    /// Colours.
    pub paint: Paint,
}

/// How much of a line is left out or shortened, in the order in which that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    working_on: usize,
    bar: u64,
    noun: bool,
    rate: bool,
    bytes: bool,
    count: bool,
    failed: bool,
    name: bool,
}

impl Form {
    const WHOLE: Self = Self {
        working_on: 3,
        bar: BAR,
        noun: true,
        rate: true,
        bytes: true,
        count: true,
        failed: true,
        name: true,
    };

    /// All forms, the longest first.
    fn all() -> impl Iterator<Item = Self> {
        let steps: [fn(&mut Self); 11] = [
            |form| form.working_on = 2,
            |form| form.working_on = 1,
            |form| form.working_on = 0,
            |form| form.noun = false,
            |form| form.bar = BAR / 2,
            |form| form.rate = false,
            |form| form.bar = 0,
            |form| form.bytes = false,
            |form| form.count = false,
            |form| form.failed = false,
            |form| form.name = false,
        ];
        let mut form = Self::WHOLE;
        std::iter::once(form).chain(steps.into_iter().map(move |step| {
            step(&mut form);
            form
        }))
    }
}

impl Line<'_> {
    /// As much of it as fits, in whole fields.
    pub fn within(&self, width: usize) -> String {
        let plain = Line { paint: Paint(false), ..*self };
        let fits = |form: &Form| plain.text(*form).chars().count() <= width;
        let form = Form::all().find(fits).or_else(|| Form::all().last()).unwrap_or(Form::WHOLE);
        self.text(form)
    }

    fn text(&self, form: Form) -> String {
        let Self { now, paint, .. } = *self;
        let mut parts = Vec::new();
        if !self.name.is_empty() && form.name {
            parts.push(format!("{:<12}", visible(self.name)));
        }
        parts.extend(now.permille().map(|permille| bar(permille, form.bar, paint)));
        if now.known > 0 && form.count {
            parts.push(counted_of(now, form.noun));
        }
        if form.bytes {
            parts.push(bytes(now.bytes));
        }
        if form.rate {
            parts.push(format!("{}/s", bytes(self.pace.rate(now, self.elapsed))));
        }
        parts.extend(self.pace.left(now, self.elapsed).map(|left| format!("ETA {}", clock(left))));
        if now.failed > 0 && form.failed {
            parts.push(paint.dye(31, &counted(now.failed, "failed", "failed")));
        }
        let working = now.working_on.iter().take(form.working_on);
        let working: Vec<String> = working.map(|name| visible(name).into_owned()).collect();
        if !working.is_empty() {
            parts.push(working.join(" "));
        }
        parts.join("  ")
    }
}

/// How many of how many; as long as more are looked for, how many that are is not known.
fn counted_of(now: &Amount, noun: bool) -> String {
    let of = format!("{}/{}", count(now.done), count(now.known));
    let noun = match (noun, now.known) {
        (false, _) => "",
        (true, 1) => " repository",
        (true, _) => " repositories",
    };
    format!("{of}{noun}{}", if now.known_all { "" } else { " so far" })
}

fn bar(permille: u64, length: u64, paint: Paint) -> String {
    if length == 0 {
        return format!("{}%", permille / 10);
    }
    let full = (permille * length / 1000) as usize;
    let (done, open) = ("█".repeat(full), "░".repeat(length as usize - full));
    format!("{}{open} {:>3}%", paint.dye(32, &done), permille / 10)
}

/// `1:02:03`, or `02:03` below an hour.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(known: u64, known_all: bool, done: u64, bytes: u64) -> Amount {
        Amount { known, known_all, done, bytes, ..Amount::default() }
    }

    fn told(now: &Amount, elapsed: u64, paint: bool) -> String {
        let (pace, elapsed) = (Pace::from(Amount::default()), Duration::from_secs(elapsed));
        Line { name: "", now, pace: &pace, elapsed, paint: Paint(paint) }.within(usize::MAX)
    }

    #[test]
    fn a_line_has_bar_percent_rate_and_time_left() {
        let now = Amount {
            failed: 2,
            working_on: vec!["team/a\x1b[1m.git".into()],
            ..amount(412, true, 251, 1 << 31)
        };
        assert_eq!(
            told(&now, 64, false),
            "████████████░░░░░░░░  60%  251/412 repositories  2.0 GiB  32.0 MiB/s  ETA 00:41  2 failed  team/a\\x1b[1m.git"
        );
        assert!(told(&now, 64, true).contains("\x1b[32m████████████\x1b[0m░"), "{}", told(&now, 64, true));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(told(&amount(0, false, 0, 0), 1, false), "0 B  0 B/s");
        assert_eq!(told(&amount(5, false, 1, 0), 1, false), "1/5 repositories so far  0 B  0 B/s");
        assert_eq!(
            told(&amount(1, true, 0, 0), 1, false),
            "░░░░░░░░░░░░░░░░░░░░   0%  0/1 repository  0 B  0 B/s"
        );
        assert!(!told(&amount(5, true, 5, 9), 1, false).contains("ETA"));
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }

    #[test]
    fn the_speed_of_a_run_that_is_joined_is_what_was_seen_of_it() {
        let pace = Pace::from(amount(10, true, 8, 1 << 30));
        let now = amount(10, true, 9, (1 << 30) + 1024);
        let elapsed = Duration::from_secs(1);
        let line = Line { name: "", now: &now, pace: &pace, elapsed, paint: Paint(false) }.within(200);
        assert!(line.contains("1.0 KiB/s") && line.contains("ETA 00:01"), "{line}");
    }

    #[test]
    fn percent_and_time_left_are_whole_at_any_width_and_no_field_is_cut() {
        let now = Amount {
            failed: 12,
            working_on: vec!["team/a-long-name-of-a-repository.git".into(); 3],
            ..amount(118_204, true, 47_281, 17 << 20)
        };
        let pace = Pace::from(Amount::default());
        for (name, paint) in [("", false), ("default", false), ("default", true)] {
            let elapsed = Duration::from_secs(600);
            let line = Line { name, now: &now, pace: &pace, elapsed, paint: Paint(paint) };
            let whole = line.within(usize::MAX).replace("█", "").replace("░", "");
            for width in 20..220 {
                let text = line.within(width);
                assert!(text.contains("39%") || text.contains("40%"), "{width}: {text}");
                assert!(text.contains("ETA 15:00"), "{width}: {text}");
                let seen = console::strip_ansi_codes(&text).chars().count();
                assert!(seen <= width, "{width}: {seen} {text}");
                for field in text.replace("█", "").replace("░", "").split("  ").map(str::trim) {
                    assert!(whole.contains(field), "{width}: {field:?} of {whole:?}");
                }
            }
        }
        let line =
            Line { name: "", now: &now, pace: &pace, elapsed: Duration::from_secs(600), paint: Paint(false) };
        assert_eq!(line.within(70), "███░░░░░░░  39%  47,281/118,204  17.0 MiB  ETA 15:00  12 failed");
    }

    #[test]
    fn a_percent_needs_all_storages() {
        let storage = StorageProgress { known: 4, known_all: true, done: 2, ..StorageProgress::default() };
        let progress = RunProgress { storages: vec![storage], parts: Vec::new() };
        let told = |storages| told(&Amount::of_all(&progress, storages), 1, false);
        assert!(told(1).contains("50%"), "{}", told(1));
        assert!(told(2).starts_with("2/4 repositories so far"), "another is still to begin: {}", told(2));
    }
}
