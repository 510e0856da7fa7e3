//! Progress on stderr: a live line on a terminal, a plain line a minute elsewhere.
//!
//! Does not own: the numbers, or how a line is put together (`line`). A live line is cut at the terminal's width, and with
//! `--verbose` each storage has one of its own. Failures are told at once in either form; `--quiet` and `--no-progress`
//! silence it. A terminal that cannot move its cursor (`TERM=dumb`) gets plain lines, `NO_COLOR` no colours.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use packhorse_model::ItemFailure;
use packhorse_proto::v1::{RunAccepted, RunProgress};

use super::{
    line::{Amount, Pace, Paint, clock, line},
    note,
};
use crate::args::Common;

/// How the ID of every restore begins.
pub const RESTORE: &str = "restore-";

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
    paint: Paint,
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
        Self {
            form,
            word,
            started: now,
            last_line: now,
            paces: BTreeMap::new(),
            waiting: BTreeSet::new(),
            paint,
        }
    }

    /// Says what begins.
    pub fn accepted(&mut self, accepted: &RunAccepted) {
        let mut text = format!("{} {}", self.word, accepted.backup_id);
        if accepted.run.starts_with(RESTORE) {
            text.push_str(&format!(" as {}", accepted.run));
        }
        if let Some(base) = &accepted.base_backup_id {
            text.push_str(&format!(" on {base}"));
        }
        if !accepted.storages.is_empty() {
            text.push_str(&format!(", storages: {}", accepted.storages.join(", ")));
        }
        self.say(&text);
    }

    /// Whether it says nothing, so that failures are only told at the end.
    pub fn is_silent(&self) -> bool {
        matches!(self.form, Form::Silent)
    }

    /// Says that something failed.
    pub fn failure(&mut self, failure: &ItemFailure) {
        self.say(&format!("failed: {failure}"));
    }

    /// Shows how far it is.
    pub fn progress(&mut self, progress: &RunProgress) {
        if matches!(self.form, Form::Silent) {
            return;
        }
        self.tell_waiting(progress);
        let elapsed = self.started.elapsed();
        let whole = self.told("", Amount::of_all(progress), elapsed);
        let whole = format!("[{}] {whole}", clock(elapsed));
        let each: Vec<(String, String)> = progress
            .storages
            .iter()
            .map(|s| (s.storage.clone(), self.told(&s.storage, Amount::of_storage(s), elapsed)))
            .collect();
        match &mut self.form {
            Form::Silent => {}
            Form::Live(live) => {
                live.whole.set_message(whole);
                each.into_iter().for_each(|(name, text)| live.storage(&name, text));
            }
            Form::Lines => {
                if self.last_line.elapsed() >= LINE_EVERY {
                    self.last_line = Instant::now();
                    note(&whole);
                }
            }
        }
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

    fn told(&mut self, name: &str, now: Amount, elapsed: Duration) -> String {
        let pace = self.paces.entry(name.to_owned()).or_insert_with(|| Pace::from(now.clone()));
        let paint = Paint(self.paint.0 && matches!(self.form, Form::Live(_)));
        line(name, &now, pace, elapsed, paint)
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
