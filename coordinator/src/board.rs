//! The board: what a run or restore has reached, shared by all its parts, and the events that its caller sees.
//!
//! Does not own: the result. A caller that goes away changes nothing; progress that it is too slow to read is dropped,
//! failures and the end are not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use packhorse_model::{Component, ItemFailure};
use packhorse_proto::v1::{self, PartProgress, RunProgress, StorageProgress};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What is told to the caller while it goes on.
#[derive(Clone, Debug)]
pub enum Told {
    /// It has begun.
    Accepted(v1::RunAccepted),
    /// How far it is.
    Progress(RunProgress),
    /// Something failed.
    Failure(v1::ItemFailure),
}

/// Collects progress and failures of one run or restore.
#[derive(Clone)]
pub struct Board {
    shared: Arc<Shared>,
}

struct Shared {
    caller: mpsc::Sender<Told>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    storages: BTreeMap<String, StorageProgress>,
    parts: BTreeMap<(String, String), PartProgress>,
    failures: Vec<ItemFailure>,
    failures_total: u64,
}

/// Time between two looks at the progress.
const TICK: Duration = Duration::from_millis(250);

impl Board {
    /// A board that tells `caller`.
    pub fn new(caller: mpsc::Sender<Told>) -> Self {
        Self { shared: Arc::new(Shared { caller, state: Mutex::default() }) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it has begun.
    pub async fn accepted(&self, accepted: v1::RunAccepted) {
        let _ = self.shared.caller.send(Told::Accepted(accepted)).await;
    }

    /// Notes how far a storage is.
    pub fn storage(&self, progress: StorageProgress) {
        self.state().storages.insert(progress.storage.clone(), progress);
    }

    /// Notes how far a database or directory is.
    pub fn part(&self, component: &Component, name: &str, bytes: u64, done: bool) {
        let (component, name) = (component.to_string(), name.to_owned());
        let key = (component.clone(), name.clone());
        self.state().parts.insert(key, PartProgress { component, name, bytes, done });
    }

    /// Records a failure and tells it.
    pub async fn failed(&self, failure: ItemFailure) {
        {
            let mut state = self.state();
            state.failures_total += 1;
            if state.failures.len() < packhorse_model::RunSummary::MAX_FAILURES {
                state.failures.push(failure.clone());
            }
        }
        let _ = self.shared.caller.send(Told::Failure((&failure).into())).await;
    }

    /// The failures so far, capped, and how many there were.
    pub fn failures(&self) -> (Vec<ItemFailure>, u64) {
        let state = self.state();
        (state.failures.clone(), state.failures_total)
    }

    /// Tells progress at every tick until the token is cancelled, and once more then.
    pub async fn tick(&self, until: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = until.cancelled() => break,
                _ = tick.tick() => self.show(),
            }
        }
        self.show();
    }

    fn show(&self) {
        let progress = {
            let state = self.state();
            RunProgress {
                storages: state.storages.values().cloned().collect(),
                parts: state.parts.values().cloned().collect(),
            }
        };
        let _ = self.shared.caller.try_send(Told::Progress(progress));
    }
}
