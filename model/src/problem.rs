//! The one shape of an error that an operator reads: what failed, on which object, what the other side said, what
//! state that leaves, and what to do next.
//!
//! Does not own: how an error travels (`proto::status`) or which process exits with which code (`exit`). `ErrorKind`
//! says what to do about an error, never which library raised it, so callers may branch on it safely.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What has to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The named thing does not exist: name another.
    NotFound,
    /// Something is already there: choose another name or force.
    AlreadyExists,
    /// The request or configuration is wrong: correct it.
    Invalid,
    /// Credentials or permissions are missing: grant them.
    Denied,
    /// The other side cannot be used now: try again later or repair it.
    Unavailable,
    /// Data is damaged: restore or repair it.
    Corrupt,
    /// Somebody asked for the stop.
    Cancelled,
    /// A defect in Packhorse or its environment: report it.
    Internal,
}

/// What the error is about, where the exit code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The object store that holds backups.
    Vault,
    /// An agent or the way to it.
    Agent,
    /// The coordinator or the way to it.
    Coordinator,
    /// A backup, storage or component named by the operator.
    Backup,
    /// One repository.
    Repository,
    /// One database.
    Database,
    /// One directory component.
    Directory,
    /// Flags, environment or configuration file.
    Configuration,
    /// The host: processes, files, sockets.
    Host,
}

/// An error with everything an operator needs to act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What has to be done about it.
    pub kind: ErrorKind,
    /// What it is about.
    pub subject: Subject,
    /// What failed, as a present-tense fragment such as `write manifest`.
    pub what: String,
    /// The object, path or address it failed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What the other side answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The state that things are left in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Problem {
    /// A problem that so far says only what failed.
    pub fn new(kind: ErrorKind, subject: Subject, what: impl Into<String>) -> Self {
        Self { kind, subject, what: what.into(), object: None, answer: None, state: None, next: None }
    }

    /// Names the object it failed on.
    #[must_use]
    pub fn on(mut self, object: impl fmt::Display) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// Quotes what the other side answered.
    #[must_use]
    pub fn answered(mut self, answer: impl fmt::Display) -> Self {
        self.answer = Some(answer.to_string().trim().to_owned());
        self
    }

    /// Says what state things are left in.
    #[must_use]
    pub fn leaving(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// Prefixes what failed with the larger operation that it stopped.
    #[must_use]
    pub fn while_doing(mut self, operation: &str) -> Self {
        self.what = format!("{operation}: {}", self.what);
        self
    }

    /// The error of an operation that was asked to stop.
    pub fn cancelled(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, Subject::Host, what).answered("asked to stop")
    }
}

impl fmt::Display for Problem {
    /// One line: `what: object: answer`. State and next step are for the long form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        if let Some(answer) = &self.answer {
            write!(f, ": {answer}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// A value from outside that does not parse; says which rule it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?}: {rule}")]
pub struct InvalidInput {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidInput {
    /// Says that `value`, offered as a `what`, breaks `rule`.
    pub fn new(what: &'static str, value: impl Into<String>, rule: &'static str) -> Self {
        Self { what, value: value.into(), rule }
    }
}

impl From<InvalidInput> for Problem {
    fn from(error: InvalidInput) -> Self {
        Self::new(ErrorKind::Invalid, Subject::Configuration, format!("read {}", error.what))
            .on(format!("{:?}", error.value))
            .answered(error.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_operation_object_and_answer() {
        let problem = Problem::new(ErrorKind::Unavailable, Subject::Vault, "write manifest")
            .on("manifests/a")
            .answered("503 SlowDown\n")
            .next("try again");
        assert_eq!(problem.to_string(), "write manifest: manifests/a: 503 SlowDown");
        assert_eq!(
            problem.while_doing("back up x").to_string(),
            "back up x: write manifest: manifests/a: 503 SlowDown"
        );
    }
}
