//! Turning results and problems into text. The only place that writes to stdout and stderr.
//!
//! Does not own: what is said. A closed pipe ends the output quietly. Everything passes `model::visible` on its way out,
//! so that no name of a repository, and no answer of git or a server, can steer the terminal.

mod failures;
mod line;
mod numbers;
pub mod plan;
pub mod progress;
pub mod summary;
mod table;

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use packhorse_model::{Exit, ItemFailure, Problem, visible, visible_json, visible_lines};
use serde::Serialize;

pub use self::{
    numbers::{age, bytes, count, counted, duration, minute, short_bytes},
    table::{Table, cut, width, wrapped},
};

/// Whether a result could not be written, other than to a pipe that its reader closed.
static RESULT_LOST: AtomicBool = AtomicBool::new(false);

/// Failures that were told on the way.
static TOLD: Mutex<Vec<ItemFailure>> = Mutex::new(Vec::new());

/// Whether they were also shown.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Keeps a failure that was told, so that an error names all of them, in text unless they were shown at once.
pub fn told(failure: &ItemFailure, shown: bool) {
    SHOWN.fetch_or(shown, Relaxed);
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(failure.clone());
}

/// The failures of a summary with those that it has no room for, as they were told; without them when more were told than
/// there are, because some were made good.
pub fn all_failures(named: &[ItemFailure], total: u64) -> Vec<ItemFailure> {
    let key =
        |failure: &ItemFailure| (failure.component.clone(), failure.storage.clone(), failure.item.clone());
    let mut all = named.to_vec();
    if named.len() as u64 >= total {
        return all;
    }
    let known: BTreeSet<_> = named.iter().map(key).collect();
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let others: Vec<&ItemFailure> = told.iter().filter(|failure| !known.contains(&key(failure))).collect();
    if (all.len() + others.len()) as u64 <= total {
        all.extend(others.into_iter().cloned());
    }
    all
}

/// Prints a result.
pub fn text(text: &str) {
    result(&visible_lines(text));
}

/// Prints a script of our own making, as it is.
pub fn script(text: &str) {
    result(text);
}

fn result(text: &str) {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
        && !RESULT_LOST.swap(true, Relaxed)
    {
        note(&format!("error: write the result to stdout: {error}"));
    }
}

/// The exit code of something that was done and whose result was just printed. When the result was lost, `done` is told
/// on stderr, and the code says neither that all is well nor that nothing was done.
pub fn settled(exit: Exit, done: impl FnOnce() -> String) -> Exit {
    if !RESULT_LOST.load(Relaxed) {
        return exit;
    }
    note(&done());
    if exit == Exit::Complete { Exit::Unwritten } else { exit }
}

/// The exit code of a question, which is no success when the answer was lost.
pub fn checked(exit: Exit) -> Exit {
    if exit == Exit::Complete && RESULT_LOST.load(Relaxed) { Exit::Failed } else { exit }
}

/// Prints a result as one JSON object.
pub fn json(value: &impl Serialize) {
    if let Ok(json) = serde_json::to_string_pretty(value) {
        result(&visible_json(&json));
    }
}

/// Prints something that is no result.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", visible_lines(text.trim_end()));
}

/// Tells how a command failed, on stderr, and with `--json` on stdout too.
pub fn failure(problem: &Problem, exit: Exit, json: bool) {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if json {
        let mut answer = serde_json::json!({ "error": problem, "exit_code": exit.code() });
        if !told.is_empty() {
            answer["failures"] = serde_json::json!(told);
        }
        self::json(&answer);
    }
    let mut lines = vec![self::problem(problem)];
    if told.len() > 1 && !SHOWN.load(Relaxed) {
        failures::append(&mut lines, &told, told.len() as u64);
    }
    note(&lines.join("\n"));
}

/// The long form of a problem.
pub fn problem(problem: &Problem) -> String {
    let mut lines = vec![format!("error: {}", visible(&problem.what))];
    let object = problem.object.as_deref().map(|object| visible(object).into_owned());
    let rows =
        [("on", &object), ("answer", &problem.answer), ("state", &problem.state), ("next", &problem.next)];
    for (label, value) in rows {
        if let Some(value) = value {
            let value = value.replace('\n', "\n          ");
            lines.push(format!("  {label:<7} {value}"));
        }
    }
    lines.join("\n")
}
