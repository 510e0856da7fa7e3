//! Problems from what goes wrong on this host: files, child processes, and vault errors that travel inside them.
//!
//! Does not own: what a caller does about a problem. An `io::Error` that carries a vault error keeps the vault's own
//! words, so that a damaged object is never reported as a disk error.

use std::{fmt, io};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_vault::VaultError;

/// The problem of an I/O error on a file of this host, or of the vault object that the file was to hold.
pub(super) fn io_problem(what: &str, object: impl fmt::Display, error: &io::Error) -> Problem {
    if let Some(error) = VaultError::of_io(error) {
        return vault_problem(error.clone());
    }
    use io::ErrorKind as K;
    let (kind, next) = match error.kind() {
        K::StorageFull | K::QuotaExceeded => (ErrorKind::Unavailable, Some("free space on the storage")),
        K::PermissionDenied | K::ReadOnlyFilesystem => {
            (ErrorKind::Denied, Some("let the agent's user write to the storage"))
        }
        // Only a removal says so: it enters nothing that is mounted.
        K::CrossesDevices => (ErrorKind::Invalid, Some("unmount it (umount), then restore again")),
        K::InvalidData | K::UnexpectedEof => (ErrorKind::Corrupt, None),
        _ => (ErrorKind::Unavailable, None),
    };
    let problem = Problem::new(kind, Subject::Host, what).on(object).answered(error);
    match next {
        Some(next) => problem.next(next),
        None => problem,
    }
}

/// The problem of a failed read of an object that stored data names: an absent one is damage.
pub(super) fn vault_problem(error: VaultError) -> Problem {
    let absent = error.kind() == ErrorKind::NotFound;
    let mut problem = Problem::from(error);
    if absent {
        problem.kind = ErrorKind::Corrupt;
        problem = problem.answered("the backup names this object, but the vault does not have it");
    }
    problem
}

/// The problem of stored data that is not what it must be.
pub(super) fn corrupt(what: &str, object: impl fmt::Display, finding: impl fmt::Display) -> Problem {
    Problem::new(ErrorKind::Corrupt, Subject::Vault, what).on(object).answered(finding)
}

/// The problem of a task that ended without a result, which only a defect can cause.
pub(super) fn task_problem(what: &str, error: &tokio::task::JoinError) -> Problem {
    Problem::new(ErrorKind::Internal, Subject::Host, what).answered(error)
}
