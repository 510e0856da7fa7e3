//! Exit codes: the contract with scripts. An unknown code must be treated as a failure.
//!
//! Does not own: printing. The one place where a result or a problem becomes a number.

use crate::{ErrorKind, Problem, RunState, Subject};

/// Why a process ends, as the number that it exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything selected is in the backup, or restored.
    Complete = 0,
    /// Failed; nothing was committed.
    Failed = 1,
    /// Wrong flags or configuration.
    Usage = 2,
    /// Committed or restored, but the named items are missing.
    Incomplete = 3,
    /// Verification found damage.
    Damaged = 4,
    /// It was done, and its result could not be written to stdout.
    Unwritten = 5,
    /// No such backup, storage or repository.
    NotFound = 10,
    /// Credentials or key rejected.
    Denied = 12,
    /// The vault cannot be used.
    VaultUnusable = 13,
    /// Agents (or the coordinator) cannot be reached.
    Unreachable = 14,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number for the shell.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The code of an operation that ended with this problem.
    pub fn of_problem(problem: &Problem) -> Self {
        use ErrorKind as K;
        use Subject as S;
        match (problem.kind, problem.subject) {
            (K::Cancelled, _) => Self::Interrupted,
            (K::Invalid, _) => Self::Usage,
            (K::Denied, S::Vault | S::Agent | S::Coordinator) => Self::Denied,
            (K::NotFound, S::Backup) => Self::NotFound,
            (K::Unavailable | K::NotFound, S::Vault) => Self::VaultUnusable,
            (K::Unavailable, S::Agent | S::Coordinator) => Self::Unreachable,
            (K::Corrupt, S::Vault | S::Backup) => Self::Damaged,
            _ => Self::Failed,
        }
    }

    /// The code of a run that ended in this state.
    pub fn of_state(state: RunState) -> Self {
        match state {
            // That something was left unproven was asked for.
            RunState::Complete | RunState::Unproven => Self::Complete,
            RunState::Incomplete => Self::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_kind_and_subject() {
        let code = |kind, subject| Exit::of_problem(&Problem::new(kind, subject, "x")).code();
        assert_eq!(code(ErrorKind::Invalid, Subject::Configuration), 2);
        assert_eq!(code(ErrorKind::NotFound, Subject::Backup), 10);
        assert_eq!(code(ErrorKind::Denied, Subject::Vault), 12);
        assert_eq!(code(ErrorKind::Unavailable, Subject::Vault), 13);
        assert_eq!(code(ErrorKind::Unavailable, Subject::Agent), 14);
        assert_eq!(code(ErrorKind::Corrupt, Subject::Vault), 4);
        assert_eq!(code(ErrorKind::Internal, Subject::Host), 1);
        assert_eq!(Exit::of_state(RunState::Incomplete).code(), 3);
        assert_eq!(Exit::of_state(RunState::Unproven).code(), 0);
    }
}
