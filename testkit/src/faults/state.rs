//! What the server's thread and the test share, under one lock, with a bell for those who wait for a change.
//!
//! Does not own: any of its parts. Nobody keeps the lock while waiting.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::{bucket::Bucket, log::Log, plan::Active, point::Point};

/// Everything that the server knows.
pub(super) struct State {
    pub bucket: Bucket,
    pub log: Log,
    pub plan: Active,
    pub point: Option<Point>,
    pub outage: bool,
    /// How often held requests were released.
    pub releases: u64,
    /// How often a plan was set.
    pub plans: u64,
}

/// The state and its bell.
pub(super) struct Shared {
    state: Mutex<State>,
    bell: watch::Sender<()>,
}

impl Shared {
    pub fn new() -> Self {
        let state = State {
            bucket: Bucket::default(),
            log: Log::new(),
            plan: Active::default(),
            point: None,
            outage: false,
            releases: 0,
            plans: 0,
        };
        Self { state: Mutex::new(state), bell: watch::Sender::new(()) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it looked has not changed anything by halves.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the state and wakes whoever waits.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.bell.send_replace(());
    }

    /// Waits until the state is like this.
    pub async fn wait_until(&self, condition: impl Fn(&State) -> bool) {
        let mut bell = self.bell.subscribe();
        while !condition(&self.lock()) {
            // The bell lies beside the state, so it cannot be gone.
            let _ = bell.changed().await;
        }
    }
}
