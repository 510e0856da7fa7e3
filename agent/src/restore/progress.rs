//! How far a restore is, counted by all its tasks and told at a steady pace.
//!
//! Does not own: failures themselves, which are told one by one. Cheap to clone; counting never waits for a listener.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use packhorse_model::{ItemFailure, RepoPath, RunSummary};

use crate::restore::{RestoreProgress, RestoreResult};

/// The counters of one restore, and the flag that stops its threads.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Counters>);

#[derive(Default)]
struct Counters {
    known: AtomicU64,
    done: AtomicU64,
    restored: AtomicU64,
    already: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
    working_on: Mutex<BTreeSet<RepoPath>>,
    remarks: Mutex<Vec<ItemFailure>>,
}

impl Progress {
    /// Notes how many repositories there are to restore.
    pub(super) fn know(&self, repositories: u64) {
        self.0.known.store(repositories, Relaxed);
    }

    /// Notes that a repository is being restored.
    pub(super) fn start(&self, path: &RepoPath) {
        self.0.working_on.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
    }

    /// Notes that a repository has to wait for others.
    pub(super) fn put_off(&self, path: &RepoPath) {
        self.0.working_on.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Notes that a repository is dealt with, and whether it was put in place.
    pub(super) fn end(&self, path: &RepoPath, restored: bool) {
        self.0.working_on.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.0.done.fetch_add(1, Relaxed);
        self.0.restored.fetch_add(u64::from(restored), Relaxed);
    }

    /// Notes that a repository was there already.
    pub(super) fn already(&self) {
        self.0.already.fetch_add(1, Relaxed);
    }

    /// Notes a failure.
    pub(super) fn fail(&self) {
        self.0.failed.fetch_add(1, Relaxed);
    }

    /// Notes what is to be told at the end; as many as there may be failures.
    pub(super) fn remark(&self, remark: ItemFailure) {
        let mut remarks = self.0.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if remarks.len() < RunSummary::MAX_FAILURES {
            remarks.push(remark);
        }
    }

    /// Notes bytes read from the vault.
    pub(super) fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Relaxed);
    }

    /// Asks all threads to stop.
    pub(super) fn stop(&self) {
        self.0.stop.store(true, Relaxed);
    }

    /// Whether threads are asked to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.0.stop.load(Relaxed)
    }

    /// The flag that asks threads to stop.
    pub(super) fn stop_flag(&self) -> &AtomicBool {
        &self.0.stop
    }

    /// How far the restore is.
    pub(super) fn now(&self) -> RestoreProgress {
        let working_on = self.0.working_on.lock().unwrap_or_else(PoisonError::into_inner);
        RestoreProgress {
            known: self.0.known.load(Relaxed),
            done: self.0.done.load(Relaxed),
            failed: self.0.failed.load(Relaxed),
            bytes: self.0.bytes.load(Relaxed),
            working_on: working_on.iter().map(ToString::to_string).collect(),
        }
    }

    /// What the restore did, at its end.
    pub(super) fn result(&self) -> RestoreResult {
        let load = |n: &AtomicU64| n.load(Relaxed);
        RestoreResult {
            restored: load(&self.0.restored),
            already: load(&self.0.already),
            bytes: load(&self.0.bytes),
            failures: load(&self.0.failed),
            unmatched: Vec::new(),
            remarks: self.0.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
