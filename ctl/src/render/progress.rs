//! Progress on stderr: a live line on a terminal, a plain line a minute elsewhere.
//!
//! Does not own: the numbers, or how a line is put together (`line`). A live line fits the terminal's width, and with
//! `--verbose` each storage has one of its own. What is counted anew after an interruption is said to be. Failures are
//! told at once in either form; `--quiet` and `--no-progress` silence it. A terminal that cannot move its cursor
//! (`TERM=dumb`) gets plain lines, `NO_COLOR` no colours.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use packhorse_model::ItemFailure;
use packhorse_proto::v1::{RunAccepted, RunProgress};

use super::{
    failures,
    line::{Amount, Line, Pace, Paint, clock},
    note,
    table::progress_width,
};
use crate::args::Common;

/// How the ID of every restore begins.
pub const RESTORE: &str = "restore-";

/// What is said when less is done than was.
const ANEW: &str =
    "it was interrupted and goes on: it is counted from the beginning, and what is done is not done again";

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Shows how far a run is.
pub struct ProgressDisplay {
    form: Form,
    word: &'static str,
    started: Instant,
    last_line: Instant,
    paces: BTreeMap<String, Pace>,
    /// Storages that were told to wait.
    waiting: BTreeSet<String>,
    /// When the pace was taken: what was before says nothing about the speed.
    paced: Instant,
    paint: Paint,
    /// How many storages will be told of, as soon as that is known.
    storages: usize,
    dry_run: bool,
}

enum Form {
    Silent,
    Lines,
    Live(Live),
}

/// The lines of a terminal: one for the whole, and below it those of the storages, when they are wanted.
struct Live {
    lines: MultiProgress,
    whole: ProgressBar,
    storages: Option<BTreeMap<String, ProgressBar>>,
}

impl Live {
    fn new(each_storage: bool) -> Self {
        let lines = MultiProgress::new();
        let whole = lines.add(ProgressBar::new_spinner());
        whole.set_style(style("{spinner} {wide_msg}"));
        whole.enable_steady_tick(Duration::from_millis(200));
        Self { lines, whole, storages: each_storage.then(BTreeMap::new) }
    }

    /// Shows the line of a storage, which gets its place when it is first told of.
    fn storage(&mut self, name: &str, text: String) {
        let Some(storages) = &mut self.storages else { return };
        let bar = storages.entry(name.to_owned()).or_insert_with(|| {
            let bar = self.lines.add(ProgressBar::new_spinner());
            bar.set_style(style("  {wide_msg}"));
            bar
        });
        bar.set_message(text);
        bar.tick();
    }
}

/// `{wide_msg}` is cut where the terminal ends.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Whether a variable of the environment is set to something.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

impl ProgressDisplay {
    /// A display of the form that fits stderr; `word` says what is going on.
    pub fn new(common: &Common, word: &'static str) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let form = if common.quiet || common.no_progress {
            Form::Silent
        } else if std::io::stderr().is_terminal() && !is_dumb {
            Form::Live(Live::new(common.verbose > 0))
        } else {
            Form::Lines
        };
        let now = Instant::now();
        let paint = Paint(!is_set("NO_COLOR"));
        let paces = BTreeMap::new();
        Self {
            form,
            word,
            started: now,
            last_line: now,
            paces,
            waiting: BTreeSet::new(),
            paced: now,
            paint,
            storages: 0,
            dry_run: false,
        }
    }

    /// The same for a dry run.
    #[must_use]
    pub fn of_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Says what begins.
    pub fn accepted(&mut self, accepted: &RunAccepted) {
        self.storages = accepted.storages.len();
        let text = beginning(self.word, self.dry_run, accepted);
        self.say(&text);
    }

    /// Whether it says nothing, so that failures are only told at the end.
    pub fn is_silent(&self) -> bool {
        matches!(self.form, Form::Silent)
    }

    /// Says that something failed.
    pub fn failure(&mut self, failure: &ItemFailure) {
        self.say(&format!("failed: {}", failures::line(failure)));
    }

    /// Shows how far it is.
    pub fn progress(&mut self, progress: &RunProgress) {
        if matches!(self.form, Form::Silent) {
            return;
        }
        self.tell_waiting(progress);
        let whole = Amount::of_all(progress, self.storages);
        let each: Vec<(String, Amount)> =
            progress.storages.iter().map(|s| (s.storage.clone(), Amount::of_storage(s))).collect();
        if self.is_counted_anew(&whole, &each) {
            self.paces.clear();
            self.paced = Instant::now();
            self.say(ANEW);
        }
        let clock = format!("[{}] ", clock(self.started.elapsed()));
        // Before it stand a spinner and a space, or two spaces.
        let width = match self.form {
            Form::Live(_) => progress_width().saturating_sub(2),
            _ => usize::MAX,
        };
        let line = self.told("", whole, width.saturating_sub(clock.len()));
        let line = format!("{clock}{line}");
        let each: Vec<(String, String)> = each
            .into_iter()
            .map(|(name, amount)| {
                let text = self.told(&name, amount, width);
                (name, text)
            })
            .collect();
        match &mut self.form {
            Form::Silent => {}
            Form::Live(live) => {
                live.whole.set_message(line);
                each.into_iter().for_each(|(name, text)| live.storage(&name, text));
            }
            Form::Lines => {
                if self.last_line.elapsed() >= LINE_EVERY {
                    self.last_line = Instant::now();
                    note(&line);
                }
            }
        }
    }

    /// Whether less is done than was: a run that is resumed counts anew.
    fn is_counted_anew(&self, whole: &Amount, each: &[(String, Amount)]) -> bool {
        let is_less = |name: &str, now: &Amount| self.paces.get(name).is_some_and(|pace| pace.is_beyond(now));
        is_less("", whole) || each.iter().any(|(name, amount)| is_less(name, amount))
    }

    /// Says once that nothing goes on with a storage, and why, and that it does again.
    fn tell_waiting(&mut self, progress: &RunProgress) {
        for storage in &progress.storages {
            let name = &storage.storage;
            if storage.waits_for.is_empty() {
                if self.waiting.remove(name) {
                    self.say(&format!("storage {name} goes on"));
                }
            } else if self.waiting.insert(name.clone()) {
                self.say(&format!("storage {name} waits: {}", storage.waits_for));
            }
        }
    }

    fn told(&mut self, name: &str, now: Amount, width: usize) -> String {
        let paint = Paint(self.paint.0 && matches!(self.form, Form::Live(_)));
        let pace = self.paces.entry(name.to_owned()).or_insert_with(|| Pace::from(now.clone()));
        pace.seen(&now);
        Line { name, now: &now, pace, elapsed: self.paced.elapsed(), paint }.within(width)
    }

    /// Removes a live display.
    pub fn clear(&mut self) {
        if let Form::Live(live) = &self.form {
            live.whole.finish_and_clear();
            // What is left of it is no result; the terminal may be gone.
            let _ = live.lines.clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.form {
            Form::Silent => {}
            Form::Live(live) => live.lines.suspend(|| note(text)),
            Form::Lines => note(text),
        }
    }
}

/// What begins, in a line. Of a dry run nothing stays by whose name it could be asked for.
fn beginning(word: &str, dry_run: bool, accepted: &RunAccepted) -> String {
    let mut text = format!("{word} {}", accepted.backup_id);
    if accepted.run.starts_with(RESTORE) && !dry_run {
        text.push_str(&format!(" as {}", accepted.run));
    }
    if let Some(base) = &accepted.base_backup_id {
        text.push_str(&format!(" on {base}"));
    }
    if !accepted.storages.is_empty() {
        text.push_str(&format!(", storages: {}", accepted.storages.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use packhorse_proto::v1::StorageProgress;

    use super::*;

    fn display() -> ProgressDisplay {
        let now = Instant::now();
        ProgressDisplay {
            waiting: BTreeSet::new(),
            form: Form::Lines,
            word: "backup",
            started: now,
            last_line: now,
            paces: BTreeMap::new(),
            paced: now,
            paint: Paint(false),
            storages: 1,
            dry_run: false,
        }
    }

    fn progress(done: &[(&str, u64)]) -> RunProgress {
        let storage = |(storage, done): &(&str, u64)| StorageProgress {
            storage: (*storage).into(),
            known: 10,
            known_all: true,
            done: *done,
            ..StorageProgress::default()
        };
        RunProgress { storages: done.iter().map(storage).collect(), parts: Vec::new() }
    }

    /// Whether something is said to be counted anew when that follows on this.
    fn anew(before: &[(&str, u64)], now: &[(&str, u64)]) -> bool {
        let mut display = display();
        display.progress(&progress(before));
        let now = progress(now);
        let each: Vec<_> = now.storages.iter().map(|s| (s.storage.clone(), Amount::of_storage(s))).collect();
        display.is_counted_anew(&Amount::of_all(&now, 1), &each)
    }

    #[test]
    fn what_goes_backwards_is_said_to_be_counted_anew() {
        assert!(anew(&[("a", 4)], &[("a", 2)]));
        assert!(anew(&[("a", 4), ("b", 1)], &[("a", 2), ("b", 9)]), "one storage of two");
        assert!(anew(&[("a", 4)], &[]), "a coordinator that has just started again");
        assert!(!anew(&[("a", 4)], &[("a", 4)]) && !anew(&[("a", 4)], &[("a", 5), ("b", 0)]));
        let mut display = display();
        display.progress(&progress(&[("a", 4)]));
        display.progress(&progress(&[("a", 2)]));
        let again = [("a".to_owned(), Amount::of_storage(&progress(&[("a", 3)]).storages[0]))];
        assert!(!display.is_counted_anew(&again[0].1, &again), "it is said once");
    }

    #[test]
    fn a_dry_run_names_no_restore() {
        let accepted = RunAccepted {
            run: "restore-1795177711-1f3a9c2e".into(),
            backup_id: "nightly-2".into(),
            storages: vec!["default".into()],
            ..RunAccepted::default()
        };
        assert_eq!(
            beginning("restore", false, &accepted),
            "restore nightly-2 as restore-1795177711-1f3a9c2e, storages: default"
        );
        assert_eq!(
            beginning("dry run of restore of", true, &accepted),
            "dry run of restore of nightly-2, storages: default"
        );
    }
}
