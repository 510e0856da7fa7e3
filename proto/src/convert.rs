//! Conversions between wire messages and the types of `model`.
//!
//! Does not own: validation beyond parsing. From the wire they are fallible where the words of `model` are; unknown
//! enum values become `Internal` or `Host` instead of an error, so that a newer peer's problem is still shown.

use packhorse_model::{
    Component, Counts, ErrorKind, InvalidInput, ItemFailure, ObjectDigest, PassedOver, Problem, RepoFilter,
    Subject,
};

use crate::v1;

impl From<&Problem> for v1::Problem {
    fn from(problem: &Problem) -> Self {
        Self {
            kind: wire_kind(problem.kind).into(),
            subject: wire_subject(problem.subject).into(),
            what: problem.what.clone(),
            object: problem.object.clone(),
            answer: problem.answer.clone(),
            state: problem.state.clone(),
            next: problem.next.clone(),
        }
    }
}

impl From<v1::Problem> for Problem {
    fn from(wire: v1::Problem) -> Self {
        let (kind, subject) = (wire.kind(), wire.subject());
        Self {
            kind: model_kind(kind),
            subject: model_subject(subject),
            what: wire.what,
            object: wire.object,
            answer: wire.answer,
            state: wire.state,
            next: wire.next,
        }
    }
}

fn wire_kind(kind: ErrorKind) -> v1::ErrorKind {
    match kind {
        ErrorKind::NotFound => v1::ErrorKind::NotFound,
        ErrorKind::AlreadyExists => v1::ErrorKind::AlreadyExists,
        ErrorKind::Invalid => v1::ErrorKind::Invalid,
        ErrorKind::Denied => v1::ErrorKind::Denied,
        ErrorKind::Unavailable => v1::ErrorKind::Unavailable,
        ErrorKind::Corrupt => v1::ErrorKind::Corrupt,
        ErrorKind::Cancelled => v1::ErrorKind::Cancelled,
        ErrorKind::Internal => v1::ErrorKind::Internal,
    }
}

fn model_kind(kind: v1::ErrorKind) -> ErrorKind {
    match kind {
        v1::ErrorKind::NotFound => ErrorKind::NotFound,
        v1::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        v1::ErrorKind::Invalid => ErrorKind::Invalid,
        v1::ErrorKind::Denied => ErrorKind::Denied,
        v1::ErrorKind::Unavailable => ErrorKind::Unavailable,
        v1::ErrorKind::Corrupt => ErrorKind::Corrupt,
        v1::ErrorKind::Cancelled => ErrorKind::Cancelled,
        v1::ErrorKind::Internal | v1::ErrorKind::Unspecified => ErrorKind::Internal,
    }
}

fn wire_subject(subject: Subject) -> v1::Subject {
    match subject {
        Subject::Vault => v1::Subject::Vault,
        Subject::Agent => v1::Subject::Agent,
        Subject::Coordinator => v1::Subject::Coordinator,
        Subject::Backup => v1::Subject::Backup,
        Subject::Repository => v1::Subject::Repository,
        Subject::Database => v1::Subject::Database,
        Subject::Directory => v1::Subject::Directory,
        Subject::Configuration => v1::Subject::Configuration,
        Subject::Host => v1::Subject::Host,
    }
}

fn model_subject(subject: v1::Subject) -> Subject {
    match subject {
        v1::Subject::Vault => Subject::Vault,
        v1::Subject::Agent => Subject::Agent,
        v1::Subject::Coordinator => Subject::Coordinator,
        v1::Subject::Backup => Subject::Backup,
        v1::Subject::Repository => Subject::Repository,
        v1::Subject::Database => Subject::Database,
        v1::Subject::Directory => Subject::Directory,
        v1::Subject::Configuration => Subject::Configuration,
        v1::Subject::Host | v1::Subject::Unspecified => Subject::Host,
    }
}

impl From<&ItemFailure> for v1::ItemFailure {
    fn from(failure: &ItemFailure) -> Self {
        Self {
            component: failure.component.to_string(),
            storage: failure.storage.clone(),
            item: failure.item.clone(),
            problem: Some((&failure.problem).into()),
        }
    }
}

impl TryFrom<v1::ItemFailure> for ItemFailure {
    type Error = InvalidInput;
    fn try_from(wire: v1::ItemFailure) -> Result<Self, InvalidInput> {
        let component: Component = wire.component.parse()?;
        let problem = wire.problem.unwrap_or_default().into();
        Ok(Self { component, storage: wire.storage, item: wire.item, problem })
    }
}

impl From<&ObjectDigest> for v1::ObjectDigest {
    fn from(digest: &ObjectDigest) -> Self {
        Self { path: digest.path.clone(), size: digest.size, sha256: digest.sha256.to_string() }
    }
}

impl TryFrom<v1::ObjectDigest> for ObjectDigest {
    type Error = InvalidInput;
    fn try_from(wire: v1::ObjectDigest) -> Result<Self, InvalidInput> {
        Ok(Self { path: wire.path, size: wire.size, sha256: wire.sha256.parse()? })
    }
}

impl From<&Counts> for v1::Counts {
    fn from(counts: &Counts) -> Self {
        let Counts { backed_up, unchanged, empty, missing, failed, gone, damaged } = *counts;
        Self { backed_up, unchanged, empty, missing, failed, gone, damaged }
    }
}

impl From<v1::Counts> for Counts {
    fn from(wire: v1::Counts) -> Self {
        let v1::Counts { backed_up, unchanged, empty, missing, failed, gone, damaged } = wire;
        Self { backed_up, unchanged, empty, missing, failed, gone, damaged }
    }
}

impl From<&PassedOver> for v1::PassedOver {
    fn from(passed_over: &PassedOver) -> Self {
        let PassedOver { links, inner, names } = passed_over.clone();
        Self { links, inner, names }
    }
}

impl From<v1::PassedOver> for PassedOver {
    fn from(wire: v1::PassedOver) -> Self {
        let v1::PassedOver { links, inner, mut names } = wire;
        names.truncate(Self::NAMED);
        Self { links, inner, names }
    }
}

/// A filter as it travels.
pub fn filter_to_wire(filter: &RepoFilter) -> v1::RepositoryFilter {
    let texts = |patterns: &[packhorse_model::RepoPattern]| {
        patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect()
    };
    v1::RepositoryFilter { include: texts(filter.included()), exclude: texts(filter.excluded()) }
}

/// The filter made of all the patterns that arrived.
pub fn filter_from_wire(parts: &[v1::RepositoryFilter]) -> Result<RepoFilter, InvalidInput> {
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for part in parts {
        for text in &part.include {
            include.push(text.parse()?);
        }
        for text in &part.exclude {
            exclude.push(text.parse()?);
        }
    }
    Ok(RepoFilter::new(include, exclude))
}
