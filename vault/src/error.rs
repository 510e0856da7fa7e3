//! Errors of the vault, with the operation, the key and what the store answered.
//!
//! Does not own: retries (the HTTP client inside `object_store` has the only ones). The kind follows from what the
//! store answered, so that a rejected key and an unreachable server lead to different exit codes.

use std::{io, path::Path};

use packhorse_model::{ErrorKind, InvalidInput, Problem, Subject, whose};

use crate::{line::causes, words::plain};

/// A failed operation on the vault.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation}: {object}: {answer}")]
pub struct VaultError {
    kind: ErrorKind,
    operation: String,
    object: String,
    answer: String,
    state: Option<&'static str>,
    next: Option<&'static str>,
    /// Whether the same request may succeed a moment later.
    transient: bool,
}

/// What to do about a full vault, of which nothing may be removed.
const FULL: &str = "enlarge the vault's disk or quota, or begin a new vault elsewhere: there is no prune yet";

impl VaultError {
    /// An error of `operation` on `object`, with what was answered or found.
    pub fn new(kind: ErrorKind, operation: &str, object: impl ToString, answer: impl ToString) -> Self {
        let (operation, object, answer) = (operation.to_owned(), object.to_string(), answer.to_string());
        Self { kind, operation, object, answer, state: None, next: None, transient: false }
    }

    /// Stored data that is not what it must be.
    pub fn corrupt(operation: &str, object: impl ToString, finding: impl ToString) -> Self {
        Self::new(ErrorKind::Corrupt, operation, object, finding)
    }

    /// What has to be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn from_store(operation: &str, object: &str, error: object_store::Error) -> Self {
        let answer = causes(&error);
        let (kind, next) = classify(&error, &answer);
        let answer = plain(&answer);
        // What has a cause of its own that somebody must see to comes with a step of its own.
        let transient = next == Some(TRY_AGAIN);
        Self { next, transient, ..Self::new(kind, operation, object, answer) }
    }

    /// Adds whose the file or folder is that is in the way, when the file system said no.
    pub(crate) fn below(mut self, folder: Option<&Path>) -> Self {
        if let Some(folder) = folder.filter(|_| self.kind == ErrorKind::Denied) {
            self.answer = format!("{}: {}", self.answer, whose(&folder.join(&self.object)));
        }
        self
    }

    /// Says what state things are left in, and what to do.
    pub(crate) fn leaving(mut self, state: &'static str, next: &'static str) -> Self {
        (self.state, self.next) = (Some(state), Some(next));
        self
    }

    /// The same answer, now that somebody else's object was found at the name.
    pub(crate) fn because_taken(mut self) -> Self {
        (self.kind, self.next, self.transient) = (ErrorKind::AlreadyExists, None, false);
        self
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        self.transient
    }

    /// Whether the store refused without saying why, as it does when only a header was asked for.
    pub(crate) fn is_wordless(&self) -> bool {
        self.transient && self.answer.contains("400 Bad Request")
    }

    /// Whether a write that ended so may have been done all the same.
    pub fn may_have_written(&self) -> bool {
        self.transient || self.kind == ErrorKind::AlreadyExists
    }

    pub(crate) fn from_file(operation: &str, object: &str, error: &io::Error) -> Self {
        let (kind, next) = match error.kind() {
            io::ErrorKind::AlreadyExists => (ErrorKind::AlreadyExists, None),
            io::ErrorKind::PermissionDenied => (ErrorKind::Denied, Some(MAY_WRITE)),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::Unavailable, Some(FULL)),
            _ => (ErrorKind::Unavailable, Some("check the vault's file system, then run again")),
        };
        Self { next, ..Self::new(kind, operation, object, error) }
    }

    /// The error as one of a reader or writer, which [`VaultError::of_io`] finds in it.
    pub fn into_io(self) -> io::Error {
        let kind = match self.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// The vault error that an `io::Error` of an [`crate::ObjectWriter`] or [`crate::ObjectReader`] carries.
    pub fn of_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

const MAY_WRITE: &str = "run as the vault's owner; what others wrote is given to that user by `chown -R`: docs/operations.md, \"The vault\"";

/// Whether the file system of a `file://` vault said no.
fn is_denied_file(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(|e: &io::Error| e.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

const TRY_AGAIN: &str = "check that the store is reachable, then run again";

fn classify(error: &object_store::Error, answer: &str) -> (ErrorKind, Option<&'static str>) {
    use object_store::Error as E;
    const CREDENTIALS: [&str; 6] = [
        "ExpiredToken",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AccessDenied",
        "RequestTimeTooSkewed",
        "InvalidToken",
    ];
    if answer.contains("501 Not Implemented") {
        let next = match answer.contains("If-None-Match") {
            true => "use a store that honours conditional writes (`If-None-Match: *`), or upgrade it",
            false => "use a store that can do this, or upgrade it",
        };
        return (ErrorKind::Unavailable, Some(next));
    }
    const PLATFORM: [&str; 5] = [
        "no credentials: ",
        "/latest/api/token",
        "/latest/meta-data/",
        "/computeMetadata/",
        "/metadata/identity/",
    ];
    if PLATFORM.iter().any(|asked| answer.contains(asked)) {
        return (ErrorKind::Denied, Some(give_credentials(answer)));
    }
    if is_denied_file(error) {
        return (ErrorKind::Denied, Some(MAY_WRITE));
    }
    if answer.contains("NoSuchBucket") {
        return (ErrorKind::Unavailable, Some("create the bucket, or correct the vault's URL"));
    }
    if matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. })
        || CREDENTIALS.iter().any(|code| answer.contains(code))
    {
        let next = if answer.contains("RequestTimeTooSkewed") {
            "set this host's clock"
        } else {
            "check the vault's credentials and their permissions"
        };
        return (ErrorKind::Denied, Some(next));
    }
    match error {
        E::NotFound { .. } => (ErrorKind::NotFound, None),
        // Another request for the same name was under way, and nothing was stored.
        E::AlreadyExists { .. } if answer.contains("ConditionalRequestConflict") => {
            (ErrorKind::Unavailable, Some(TRY_AGAIN))
        }
        E::AlreadyExists { .. } | E::Precondition { .. } => (ErrorKind::AlreadyExists, None),
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => (ErrorKind::Invalid, None),
        _ if answer.contains("No space left") => (ErrorKind::Unavailable, Some(FULL)),
        _ => (ErrorKind::Unavailable, Some(TRY_AGAIN)),
    }
}

/// What is missing, by the store that the client's error names.
fn give_credentials(answer: &str) -> &'static str {
    if answer.contains("GCS") {
        "set GOOGLE_APPLICATION_CREDENTIALS, or what the platform needs"
    } else if answer.contains("MicrosoftAzure") {
        "set AZURE_STORAGE_ACCOUNT_KEY, or what the platform needs"
    } else {
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what the platform needs"
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        let mut problem =
            Self::new(error.kind, Subject::Vault, error.operation).on(error.object).answered(error.answer);
        problem.state = error.state.map(str::to_owned);
        problem.next = error.next.map(str::to_owned);
        problem
    }
}

impl From<InvalidInput> for VaultError {
    fn from(error: InvalidInput) -> Self {
        Self::new(ErrorKind::Invalid, "form key", "vault", error)
    }
}
