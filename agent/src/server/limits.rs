//! What all jobs of this agent share, and what each storage may take of it: repositories and uploads at once, bytes a
//! second.
//!
//! Does not own: the waiting (`vault::Limit`, `vault::Pace`). The agent's own limits always hold; a coordinator can only
//! lower what a storage takes, so that the agents of a run together stay within its limits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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
    shares: Mutex<HashMap<StorageName, JobShare>>,
}

/// The limits of one storage, whichever job it has.
#[derive(Clone)]
pub struct JobShare {
    agent: Limit,
    jobs: Limit,
    pace: Pace,
    most: Arc<Mutex<Most>>,
}

/// What the configuration lets a storage take at most.
#[derive(Clone, Copy)]
struct Most {
    jobs: usize,
    uploads: usize,
    bytes_per_second: u64,
}

impl Limits {
    /// The limits that the options set.
    pub fn new(options: &AgentOptions) -> Self {
        let pace = Pace::new(options.uploads, options.bytes_per_second);
        Self { jobs: Limit::new(options.jobs), pace, shares: Mutex::default() }
    }

    /// The limits of a storage, by the options as they are now.
    pub fn share_of(&self, options: &AgentOptions, storage: &StorageConfig) -> JobShare {
        self.jobs.set(options.jobs);
        self.pace.set(options.uploads, options.bytes_per_second);
        let jobs = if storage.jobs == 0 { self.jobs.size() } else { storage.jobs.min(self.jobs.size()) };
        let most = Most { jobs, uploads: storage.uploads, bytes_per_second: storage.bandwidth.as_u64() };
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(storage.name.clone()).or_insert_with(|| JobShare {
            agent: self.jobs.clone(),
            jobs: Limit::new(most.jobs),
            pace: self.pace.part(most.uploads, most.bytes_per_second),
            most: Arc::new(Mutex::new(most)),
        });
        *share.most.lock().unwrap_or_else(PoisonError::into_inner) = most;
        share.clone()
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

    /// Takes over what the coordinator lets the storage have.
    pub fn set(&self, limits: &v1::JobLimits) {
        let most = *self.most.lock().unwrap_or_else(PoisonError::into_inner);
        self.jobs.set(lower(most.jobs as u64, limits.repositories.into()) as usize);
        let uploads = lower(most.uploads as u64, limits.uploads.into()) as usize;
        self.pace.set(uploads, lower(most.bytes_per_second, limits.bytes_per_second));
    }
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
}
