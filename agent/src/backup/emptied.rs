//! Repositories that had refs in the base and have none now: counted and named, as those that are gone are.
//!
//! Does not own: whether so many may lose their refs (the coordinator). They are met in any order by many readers; the first
//! of them by path are named, whatever that order is.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use packhorse_model::RepoPath;

use super::collate::NAMED;

/// How many there are, and some of them.
#[derive(Clone, Debug, Default)]
pub struct Emptied {
    /// How many.
    pub total: u64,
    /// The first of them.
    pub names: BTreeSet<RepoPath>,
}

/// What the readers of one storage add to.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Emptied>);

impl Tally {
    /// Adds one more.
    pub fn add(&self, path: &RepoPath) {
        let mut emptied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        emptied.total += 1;
        emptied.names.insert(path.clone());
        if emptied.names.len() > NAMED {
            emptied.names.pop_last();
        }
    }

    /// All so far.
    pub fn now(&self) -> Emptied {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
