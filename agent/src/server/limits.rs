//! What all jobs of this agent share, and what each storage may take of it: repositories and uploads at once, bytes a
//! second.
//!
//! Does not own: the waiting (`vault::Limit`, `vault::Pace`). The agent's own limits always hold; a coordinator can only
//! lower what a storage takes, so that the agents of a run together stay within its limits. A storage leaves room for one
//! repository of every other that is backed up at the time, so the slow repositories of one do not hold up another that
//! begins with it; a slot that is taken is never taken away.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use packhorse_model::StorageName;
use packhorse_proto::v1;
use packhorse_service::config::StorageConfig;
use packhorse_vault::{Limit, Pace};

use super::AgentOptions;
use crate::backup::Slots;

/// The limits of the agent.
pub struct Limits {
    jobs: Limit,
    pace: Pace,
    shares: Arc<Shares>,
}

/// The shares of all storages that ever had a job.
type Shares = Mutex<HashMap<StorageName, JobShare>>;

/// The limits of one storage, whichever job it has.
#[derive(Clone)]
pub struct JobShare {
    agent: Limit,
    jobs: Limit,
    pace: Pace,
    terms: Arc<Mutex<Terms>>,
    all: Weak<Shares>,
}

/// What a storage's limits follow from.
#[derive(Default)]
struct Terms {
    most: Most,
    asked: v1::JobLimits,
    at_work: bool,
}

/// What the configuration lets a storage take at most; 0 for no limit of its own.
#[derive(Clone, Copy, Default)]
struct Most {
    jobs: usize,
    uploads: usize,
    bytes_per_second: u64,
}

/// A storage that is being backed up, until this is dropped.
pub struct AtWork(JobShare);

impl Limits {
    /// The limits that the options set.
    pub fn new(options: &AgentOptions) -> Self {
        let pace = Pace::new(options.uploads, options.bytes_per_second);
        Self { jobs: Limit::new(options.jobs), pace, shares: Arc::default() }
    }

    /// The limits of a storage, by the options as they are now.
    pub fn share_of(&self, options: &AgentOptions, storage: &StorageConfig) -> JobShare {
        self.jobs.set(options.jobs);
        self.pace.set(options.uploads, options.bytes_per_second);
        let most = Most {
            jobs: storage.jobs,
            uploads: storage.uploads,
            bytes_per_second: storage.bandwidth.as_u64(),
        };
        let mut shares = lock(&self.shares);
        let share = shares.entry(storage.name.clone()).or_insert_with(|| JobShare {
            agent: self.jobs.clone(),
            jobs: Limit::new(self.jobs.size()),
            pace: self.pace.part(most.uploads, most.bytes_per_second),
            terms: Arc::default(),
            all: Arc::downgrade(&self.shares),
        });
        lock(&share.terms).most = most;
        let share = share.clone();
        settle(&shares);
        share
    }
}

impl JobShare {
    /// How many repositories may be packed at once.
    pub fn slots(&self) -> Slots {
        Slots { own: self.jobs.clone(), agent: self.agent.clone() }
    }

    /// How fast the vault is written to.
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// Counts the storage among those that are backed up.
    pub fn begin(&self) -> AtWork {
        self.change(|terms| terms.at_work = true);
        AtWork(self.clone())
    }

    /// Takes over what the coordinator lets the storage have.
    pub fn set(&self, limits: &v1::JobLimits) {
        self.change(|terms| terms.asked = *limits);
    }

    fn change(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut lock(&self.terms));
        if let Some(all) = self.all.upgrade() {
            settle(&lock(&all));
        }
    }

    /// Sets the limits to what follows from the terms, leaving room for so many others.
    fn apply(&self, others: usize) {
        let Terms { most, asked, .. } = &*lock(&self.terms);
        let room = self.agent.size().saturating_sub(others).max(1) as u64;
        let jobs = lower(lower(most.jobs as u64, asked.repositories.into()), room);
        self.jobs.set(jobs as usize);
        let uploads = lower(most.uploads as u64, asked.uploads.into()) as usize;
        self.pace.set(uploads, lower(most.bytes_per_second, asked.bytes_per_second));
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.change(|terms| terms.at_work = false);
    }
}

fn settle(shares: &HashMap<StorageName, JobShare>) {
    let at_work = shares.values().filter(|share| lock(&share.terms).at_work).count();
    for share in shares.values() {
        let own = usize::from(lock(&share.terms).at_work);
        share.apply(at_work - own);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lower of two limits, of which 0 is none.
fn lower(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        _ => a.min(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_lowers_limits_and_never_raises_them() {
        assert_eq!([lower(0, 0), lower(0, 5), lower(5, 0), lower(5, 7), lower(7, 5)], [0, 5, 5, 5, 5]);
    }

    fn limits(jobs: usize, storages: &[(&str, usize)]) -> (Limits, Vec<JobShare>) {
        let mut config = packhorse_service::config::Config::default();
        config.agent_service.jobs = jobs;
        let options = AgentOptions::from_config(&config);
        let limits = Limits::new(&options);
        let share = |(name, jobs): &(&str, usize)| {
            let name: StorageName = name.parse().expect("a name");
            let storage = StorageConfig { jobs: *jobs, ..StorageConfig::new(name, "/".into()) };
            limits.share_of(&options, &storage)
        };
        let shares = storages.iter().map(share).collect();
        (limits, shares)
    }

    #[test]
    fn a_storage_leaves_room_for_every_other_that_is_at_work() {
        let (_limits, shares) = limits(4, &[("a", 0), ("b", 2), ("c", 0)]);
        let sizes = || shares.iter().map(|share| share.jobs.size()).collect::<Vec<_>>();
        assert_eq!(sizes(), [4, 2, 4]);
        let first = shares[0].begin();
        assert_eq!(sizes(), [4, 2, 3]);
        let others = [shares[1].begin(), shares[2].begin()];
        assert_eq!(sizes(), [2, 2, 2]);
        shares[0].set(&v1::JobLimits { repositories: 1, ..v1::JobLimits::default() });
        assert_eq!(sizes(), [1, 2, 2]);
        shares[0].set(&v1::JobLimits::default());
        drop(others);
        assert_eq!(sizes(), [4, 2, 3]);
        drop(first);
        assert_eq!(sizes(), [4, 2, 4]);
        let (_limits, shares) = limits(1, &[("a", 0), ("b", 0)]);
        let _both = [shares[0].begin(), shares[1].begin()];
        assert_eq!(shares[0].jobs.size(), 1, "one that is at work has at least one");
    }
}
