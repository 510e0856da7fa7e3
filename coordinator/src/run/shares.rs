//! Shares the coordinator's limits out among the storages that are being worked on, by whichever run, anew whenever one
//! begins or ends.
//!
//! Does not own: keeping to them (the agents do). Equal shares, at least one each; no more storages begin than there is
//! something to share, so that the agents together stay within the limits. A storage that waits for its turn holds
//! nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use packhorse_proto::v1::JobLimits;
use packhorse_vault::{Limit, LimitGuard};
use tokio::sync::watch;

use crate::RunLimits;

/// The limits of a coordinator.
pub struct Shares {
    storages: Limit,
    active: Arc<Mutex<Active>>,
}

#[derive(Default)]
struct Active {
    limits: RunLimits,
    next: u64,
    shares: BTreeMap<u64, watch::Sender<JobLimits>>,
}

/// A storage's share, which it has until it is dropped.
pub struct Share {
    active: Arc<Mutex<Active>>,
    number: u64,
    /// What it may take, as it changes.
    pub current: watch::Receiver<JobLimits>,
    _turn: LimitGuard,
}

impl Shares {
    /// Nothing is shared out yet.
    pub fn new(limits: RunLimits) -> Self {
        let shares = Self { storages: Limit::new(1), active: Arc::default() };
        shares.set(limits);
        shares
    }

    /// Changes the limits, also for those who are at work.
    pub fn set(&self, limits: RunLimits) {
        let all = [limits.storages, limits.repositories, limits.uploads];
        let storages = all.into_iter().filter(|limit| *limit > 0).min().unwrap_or(usize::MAX >> 4);
        self.storages.set(storages);
        let mut active = lock(&self.active);
        active.limits = limits;
        active.share_out();
    }

    /// Waits for a storage's turn.
    pub async fn take(&self) -> Share {
        let turn = self.storages.take().await;
        let (sender, current) = watch::channel(JobLimits::default());
        let mut active = lock(&self.active);
        let number = active.next;
        active.next += 1;
        active.shares.insert(number, sender);
        active.share_out();
        drop(active);
        Share { active: Arc::clone(&self.active), number, current, _turn: turn }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut active = lock(&self.active);
        active.shares.remove(&self.number);
        active.share_out();
    }
}

impl Active {
    fn share_out(&self) {
        let parts = self.shares.len().max(1) as u64;
        let share = |limit: u64| if limit == 0 { 0 } else { (limit / parts).max(1) };
        let count = |limit: usize| u32::try_from(share(limit as u64)).unwrap_or(u32::MAX);
        for sender in self.shares.values() {
            sender.send_replace(JobLimits {
                repositories: count(self.limits.repositories),
                uploads: count(self.limits.uploads),
                bytes_per_second: share(self.limits.bytes_per_second),
            });
        }
    }
}

fn lock(active: &Mutex<Active>) -> std::sync::MutexGuard<'_, Active> {
    active.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn shares_follow_who_is_at_work_and_never_exceed_the_limits() {
        let limits = RunLimits { storages: 0, repositories: 3, uploads: 0, bytes_per_second: 100 };
        let shares = Shares::new(limits);
        let first = shares.take().await;
        let of = |share: &Share| {
            let limits = *share.current.borrow();
            (limits.repositories, limits.uploads, limits.bytes_per_second)
        };
        assert_eq!(of(&first), (3, 0, 100));
        let second = shares.take().await;
        assert_eq!((of(&first), of(&second)), ((1, 0, 50), (1, 0, 50)));
        let third = shares.take().await;
        let waits = tokio::time::timeout(Duration::from_millis(50), shares.take()).await;
        assert!(waits.is_err(), "three repositories cannot be shared out to four");
        drop((second, third));
        assert_eq!(of(&first), (3, 0, 100));
        shares.set(RunLimits { bytes_per_second: 40, ..limits });
        assert_eq!(of(&first), (3, 0, 40), "also for those who are at work");
    }
}
