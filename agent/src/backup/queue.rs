//! Repositories that wait to be packed: the largest goes first, so that a run does not end with one that could have been
//! worked on from the beginning.
//!
//! Does not own: the work. How many wait is bounded; the walk stops when there are too many. What a repository looked
//! like is kept only where that is small or there is room for it, and read again where there is none.

use std::{
    collections::BinaryHeap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use packhorse_vault::LimitGuard;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{bases::Base, discover::Candidate, plan::Plan, planner::Planner, snapshot::Snapshot};

/// The right to pack a repository, of this job and of the whole agent.
pub type Slot = (LimitGuard, LimitGuard);

/// Repositories that may wait.
const WAITING: usize = 4096;
/// Refs of a snapshot that is kept while it waits, in any case.
const KEPT_REFS: usize = 64;
/// Refs of all larger ones together.
const KEPT_REFS_IN_ALL: u32 = 1 << 18;
/// Bytes of hooks, likewise.
const KEPT_HOOKS: usize = 4096;
/// Age of a snapshot above which it is taken again.
const FRESH: Duration = Duration::from_secs(1);

/// A repository that waits.
pub struct Waiting {
    /// Bytes that it takes, about.
    pub size: u64,
    /// Number in the order of the walk.
    pub number: u64,
    /// The repository.
    pub candidate: Candidate,
    /// What finds out what it needs.
    pub planner: Planner,
    /// What it needs, when that was found out.
    pub plan: Option<Plan>,
    /// Room in the window of the walk.
    pub permit: OwnedSemaphorePermit,
    /// What it looked like, when that was kept.
    pub seen: Option<Seen>,
    /// Room among those that are planned.
    pub ahead: Option<OwnedSemaphorePermit>,
    _refs: Option<OwnedSemaphorePermit>,
    _room: OwnedSemaphorePermit,
}

/// What a repository looked like at a time.
pub struct Seen {
    /// Its state.
    pub snapshot: Snapshot,
    at: Instant,
}

impl Seen {
    /// As it is now.
    pub fn now(snapshot: Snapshot) -> Self {
        Self { snapshot, at: Instant::now() }
    }

    /// Whether it may still be taken for what the repository looks like.
    pub fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.size, other.number).cmp(&(other.size, self.number))
    }
}

/// The repositories that wait.
pub struct Queue {
    heap: Mutex<(BinaryHeap<Waiting>, bool)>,
    changed: Notify,
    room: Arc<Semaphore>,
    refs: Arc<Semaphore>,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Self {
        let room = Arc::new(Semaphore::new(WAITING));
        let refs = Arc::new(Semaphore::new(KEPT_REFS_IN_ALL as usize));
        Self { heap: Mutex::default(), changed: Notify::new(), room, refs }
    }

    /// Waits for room for one more.
    pub async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Adds a repository of about this many bytes.
    pub fn push(
        &self,
        size: u64,
        (number, candidate, base, permit): (u64, Candidate, Option<Base>, OwnedSemaphorePermit),
        snapshot: Snapshot,
        room: OwnedSemaphorePermit,
    ) {
        let hooks = snapshot.hooks.as_ref().map_or(0, Vec::len);
        let count = u32::try_from(snapshot.refs.refs.len()).unwrap_or(u32::MAX);
        let large = count as usize > KEPT_REFS;
        let refs = large.then(|| Arc::clone(&self.refs).try_acquire_many_owned(count).ok()).flatten();
        let keep = (!large || refs.is_some()) && hooks <= KEPT_HOOKS;
        let seen = keep.then(|| Seen::now(snapshot));
        self.put(Waiting {
            size,
            number,
            candidate,
            planner: Planner::new(base, size),
            plan: None,
            permit,
            seen,
            ahead: None,
            _refs: refs,
            _room: room,
        });
    }

    /// Adds one that has room already.
    pub fn put(&self, waiting: Waiting) {
        self.heap().0.push(waiting);
        self.changed.notify_one();
    }

    /// Says that nothing more comes.
    pub fn close(&self) {
        self.heap().1 = true;
        self.changed.notify_one();
    }

    /// Waits until there is a repository; false when none comes any more. For one waiter.
    pub async fn is_filled(&self) -> bool {
        loop {
            {
                let heap = self.heap();
                if !heap.0.is_empty() {
                    return true;
                }
                if heap.1 {
                    return false;
                }
            }
            self.changed.notified().await;
        }
    }

    /// The largest repository.
    pub fn pop(&self) -> Option<Waiting> {
        self.heap().0.pop()
    }

    fn heap(&self) -> std::sync::MutexGuard<'_, (BinaryHeap<Waiting>, bool)> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
