//! One line of progress: a bar, percent, what is done, bytes that arrived, their rate, and the time that is left.
//!
//! Does not own: showing it (`progress`). What is not known is left out: there is no percent before everything was found,
//! and no time left before something was done. The line may be too long; who shows it cuts it.

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
    /// Of everything.
    pub fn of_all(progress: &RunProgress) -> Self {
        let mut all = Self { known_all: true, ..Self::default() };
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
}

impl Pace {
    /// Begins to look.
    pub fn from(first: Amount) -> Self {
        Self { first }
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

/// The line; `name` stands before one that is about a part of the whole.
pub fn line(name: &str, now: &Amount, pace: &Pace, elapsed: Duration, paint: Paint) -> String {
    let mut parts = Vec::new();
    if !name.is_empty() {
        parts.push(format!("{:<12}", visible(name)));
    }
    if now.known > 0 {
        parts.extend(now.permille().map(|permille| bar(permille, paint)));
        let more = if now.known_all { "" } else { "+" };
        let noun = if now.known == 1 { "repository" } else { "repositories" };
        parts.push(format!("{}/{}{more} {noun}", count(now.done), count(now.known)));
    }
    parts.push(bytes(now.bytes));
    parts.push(format!("{}/s", bytes(pace.rate(now, elapsed))));
    parts.extend(pace.left(now, elapsed).map(|left| format!("ETA {}", clock(left))));
    if now.failed > 0 {
        parts.push(paint.dye(31, &counted(now.failed, "failed", "failed")));
    }
    let working: Vec<String> = now.working_on.iter().take(3).map(|name| visible(name).into_owned()).collect();
    if !working.is_empty() {
        parts.push(working.join(" "));
    }
    parts.join("  ")
}

fn bar(permille: u64, paint: Paint) -> String {
    let full = (permille * BAR / 1000) as usize;
    let (done, open) = ("█".repeat(full), "░".repeat(BAR as usize - full));
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
        line("", now, &Pace::from(Amount::default()), Duration::from_secs(elapsed), Paint(paint))
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
        assert_eq!(told(&amount(5, false, 1, 0), 1, false), "1/5+ repositories  0 B  0 B/s");
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
        let line =
            line("", &amount(10, true, 9, (1 << 30) + 1024), &pace, Duration::from_secs(1), Paint(false));
        assert!(line.contains("1.0 KiB/s") && line.contains("ETA 00:01"), "{line}");
    }
}
