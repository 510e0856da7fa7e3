//! How far a storage's backup is, shared by everything that works on it.
//!
//! Does not own: showing it. Bytes count when the store has confirmed them, never when they are only handed over.
//! Counters only ever grow; the list of what is being worked on is bounded by the number of jobs.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use packhorse_model::RepoPath;

/// Live counters of one storage.
#[derive(Debug, Default)]
pub struct Progress {
    known: AtomicU64,
    known_all: AtomicBool,
    done: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
    working_on: Mutex<Vec<RepoPath>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Repositories found.
    pub known: u64,
    /// Whether all were found.
    pub known_all: bool,
    /// Repositories dealt with.
    pub done: u64,
    /// Repositories that failed.
    pub failed: u64,
    /// Bytes that arrived in the vault, those of repositories that are not done and of tries that failed included.
    pub bytes: u64,
    /// Repositories that this run made durable.
    pub stored: u64,
    /// Bytes of these.
    pub stored_bytes: u64,
    /// Repositories being packed.
    pub working_on: Vec<String>,
}

impl Progress {
    pub(super) fn found(&self, count: u64) {
        self.known.fetch_add(count, Relaxed);
    }

    pub(super) fn found_all(&self) {
        self.known_all.store(true, Relaxed);
    }

    pub(super) fn done(&self, failed: bool) {
        self.done.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
    }

    pub(super) fn arrived(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(1, Relaxed);
        self.stored_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn start(&self, path: &RepoPath) {
        self.working().push(path.clone());
    }

    pub(super) fn end(&self, path: &RepoPath) {
        let mut working = self.working();
        if let Some(at) = working.iter().position(|other| other == path) {
            working.swap_remove(at);
        }
    }

    fn working(&self) -> std::sync::MutexGuard<'_, Vec<RepoPath>> {
        self.working_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        ProgressSnapshot {
            known: self.known.load(Relaxed),
            known_all: self.known_all.load(Relaxed),
            done: self.done.load(Relaxed),
            failed: self.failed.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            stored: self.stored.load(Relaxed),
            stored_bytes: self.stored_bytes.load(Relaxed),
            working_on: self.working().iter().map(ToString::to_string).collect(),
        }
    }
}
