//! Shares a run's limits out among the storages that are being worked on, anew whenever one begins or ends.
//!
//! Does not own: keeping to them (the agents do). Equal shares, at least one each; no more storages begin than there is
//! something to share, so that the agents together stay within the limits. A storage that waits for its turn holds
//! nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use packhorse_model::StorageName;
use packhorse_proto::v1::JobLimits;
use packhorse_vault::{Limit, LimitGuard};
use tokio::sync::watch;

use crate::RunLimits;

/// The limits of a run.
pub struct Shares {
    limits: RunLimits,
    storages: Limit,
    active: Arc<Mutex<Active>>,
}

type Active = BTreeMap<StorageName, watch::Sender<JobLimits>>;

/// A storage's share, which it has until it is dropped.
pub struct Share {
    limits: RunLimits,
    active: Arc<Mutex<Active>>,
    storage: StorageName,
    /// What it may take, as it changes.
    pub current: watch::Receiver<JobLimits>,
    _turn: LimitGuard,
}

impl Shares {
    /// Nothing is shared out yet.
    pub fn new(limits: RunLimits) -> Self {
        let all = [limits.storages, limits.repositories, limits.uploads];
        let storages = all.into_iter().filter(|limit| *limit > 0).min().unwrap_or(usize::MAX >> 4);
        Self { limits, storages: Limit::new(storages), active: Arc::default() }
    }

    /// Waits for the storage's turn.
    pub async fn take(&self, storage: &StorageName) -> Share {
        let turn = self.storages.take().await;
        let (sender, current) = watch::channel(JobLimits::default());
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.insert(storage.clone(), sender);
        share_out(&self.limits, &active);
        drop(active);
        let (limits, active) = (self.limits, Arc::clone(&self.active));
        Share { limits, active, storage: storage.clone(), current, _turn: turn }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.remove(&self.storage);
        share_out(&self.limits, &active);
    }
}

fn share_out(limits: &RunLimits, active: &Active) {
    let parts = active.len().max(1) as u64;
    let share = |limit: u64| if limit == 0 { 0 } else { (limit / parts).max(1) };
    let count = |limit: usize| u32::try_from(share(limit as u64)).unwrap_or(u32::MAX);
    for sender in active.values() {
        sender.send_replace(JobLimits {
            repositories: count(limits.repositories),
            uploads: count(limits.uploads),
            bytes_per_second: share(limits.bytes_per_second),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn shares_follow_who_is_at_work_and_never_exceed_the_limits() {
        let limits = RunLimits { storages: 0, repositories: 3, uploads: 0, bytes_per_second: 100 };
        let shares = Shares::new(limits);
        let names: Vec<StorageName> = ["a", "b", "c", "d"].map(|name| name.parse().expect("valid")).into();
        let first = shares.take(&names[0]).await;
        let of = |share: &Share| {
            let limits = *share.current.borrow();
            (limits.repositories, limits.uploads, limits.bytes_per_second)
        };
        assert_eq!(of(&first), (3, 0, 100));
        let second = shares.take(&names[1]).await;
        assert_eq!((of(&first), of(&second)), ((1, 0, 50), (1, 0, 50)));
        let third = shares.take(&names[2]).await;
        let waits = tokio::time::timeout(Duration::from_millis(50), shares.take(&names[3])).await;
        assert!(waits.is_err(), "three repositories cannot be shared out to four");
        drop((second, third));
        assert_eq!(of(&first), (3, 0, 100));
    }
}
