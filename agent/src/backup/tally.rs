//! Repositories of which something is told together: how many there are, and the first of them by path.
//!
//! Does not own: what is told (`Run`). They are met in any order by many readers; the same ones are named, whatever that
//! order is.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use packhorse_model::RepoPath;

use super::collate::NAMED;

/// How many there are, and some of them.
#[derive(Clone, Debug, Default)]
pub struct Tallied {
    /// How many.
    pub total: u64,
    /// The first of them.
    pub names: BTreeSet<RepoPath>,
}

/// What the readers of one storage add to.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Tallied>);

impl Tally {
    /// Adds one more.
    pub fn add(&self, path: &RepoPath) {
        let mut tallied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallied.total += 1;
        tallied.names.insert(path.clone());
        if tallied.names.len() > NAMED {
            tallied.names.pop_last();
        }
    }

    /// All so far.
    pub fn now(&self) -> Tallied {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
