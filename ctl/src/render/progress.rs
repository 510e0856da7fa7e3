//! Progress on stderr: a live display on a terminal, a plain line a minute elsewhere.
//!
//! Does not own: the numbers. Failures are told at once in either form; `--quiet` and `--no-progress` silence it.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use packhorse_model::ItemFailure;
use packhorse_proto::v1::{RunAccepted, RunProgress};

use super::{bytes, count, note};
use crate::args::Common;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Shows how far a run is.
pub struct ProgressDisplay {
    form: Form,
    word: &'static str,
    started: Instant,
    last_line: Instant,
}

enum Form {
    Silent,
    Lines,
    Live(ProgressBar),
}

impl ProgressDisplay {
    /// A display of the form that fits stderr; `word` says what is going on.
    pub fn new(common: &Common, word: &'static str) -> Self {
        let form = if common.quiet || common.no_progress {
            Form::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            Form::Live(bar)
        } else {
            Form::Lines
        };
        Self { form, word, started: Instant::now(), last_line: Instant::now() }
    }

    /// Says what begins.
    pub fn accepted(&mut self, accepted: &RunAccepted) {
        let mut text = format!("{} {}", self.word, accepted.backup_id);
        if let Some(base) = &accepted.base_backup_id {
            text.push_str(&format!(" on {base}"));
        }
        if !accepted.storages.is_empty() {
            text.push_str(&format!(", storages: {}", accepted.storages.join(", ")));
        }
        self.say(&text);
    }

    /// Says that something failed.
    pub fn failure(&mut self, failure: &ItemFailure) {
        self.say(&format!("failed: {failure}"));
    }

    /// Shows how far it is.
    pub fn progress(&mut self, progress: &RunProgress) {
        match &self.form {
            Form::Silent => {}
            Form::Live(bar) => bar.set_message(self.line(progress)),
            Form::Lines => {
                if self.last_line.elapsed() >= LINE_EVERY {
                    self.last_line = Instant::now();
                    note(&self.line(progress));
                }
            }
        }
    }

    /// Removes a live display.
    pub fn clear(&mut self) {
        if let Form::Live(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.form {
            Form::Silent => {}
            Form::Live(bar) => bar.suspend(|| note(text)),
            Form::Lines => note(text),
        }
    }

    fn line(&self, progress: &RunProgress) -> String {
        let storages = &progress.storages;
        let sum =
            |field: fn(&packhorse_proto::v1::StorageProgress) -> u64| storages.iter().map(field).sum::<u64>();
        let (known, done, failed) = (sum(|s| s.known), sum(|s| s.done), sum(|s| s.failed));
        let size = sum(|s| s.bytes) + progress.parts.iter().map(|part| part.bytes).sum::<u64>();
        let rate = size as f64 / self.started.elapsed().as_secs_f64().max(0.1);
        let mut line = String::new();
        if !storages.is_empty() {
            let more = if storages.iter().all(|s| s.known_all) { "" } else { "+" };
            let finished = storages.iter().filter(|s| s.known_all && s.done == s.known).count();
            line = format!(
                "storages {finished}/{}  repositories {}/{}{more}  {failed} failed  ",
                storages.len(),
                count(done),
                count(known)
            );
        }
        line.push_str(&format!("{}  {}/s", bytes(size), bytes(rate as u64)));
        let parts = progress.parts.iter().filter(|part| !part.done).map(|part| part.name.as_str());
        let working: Vec<&str> = parts
            .chain(storages.iter().flat_map(|s| s.working_on.iter().map(String::as_str)))
            .take(3)
            .collect();
        if !working.is_empty() {
            line.push_str(&format!("  {}", working.join(" ")));
        }
        line
    }
}
