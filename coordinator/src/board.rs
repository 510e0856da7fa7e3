//! The board: what a run or restore has reached, shared by all its parts, and what those who follow it see.
//!
//! Does not own: the result. A follower that goes away changes nothing, and one that comes late is told everything.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use packhorse_model::{Component, ErrorKind, InvalidInput, ItemFailure, Problem, RunSummary, StorageName};
use packhorse_proto::{
    status_of_problem,
    v1::{self, PartProgress, RunAccepted, RunEvent, RunProgress, StorageProgress, run_event::Event},
};
use packhorse_service::{Course, Follower, Seen};
use tokio::sync::mpsc;
use tonic::Status;

/// Collects progress and failures of one run or restore.
#[derive(Clone, Default)]
pub struct Board {
    shared: Arc<Shared>,
}

/// What a run that commits nothing leaves in the vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Repositories that the next run uses.
    pub repositories: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of repositories that arrived in all.
    pub arrived: u64,
}

#[derive(Default)]
struct Shared {
    /// Ends with the summary, as JSON.
    course: Course<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accepted: Option<RunAccepted>,
    storages: BTreeMap<String, StorageProgress>,
    parts: BTreeMap<(String, String), PartProgress>,
    told: HashSet<u128>,
    failures: Vec<ItemFailure>,
    failures_total: u64,
    remarks: Vec<ItemFailure>,
}

/// What tells an item from every other one, in few bytes, because there may be very many.
fn name_of(failure: &ItemFailure) -> u128 {
    let half = |number: u8| {
        let mut hasher = DefaultHasher::new();
        (number, &failure.component, &failure.storage, &failure.item).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

impl Board {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it has begun.
    pub fn accepted(&self, accepted: RunAccepted) {
        self.state().accepted = Some(accepted);
        // A caller that loses us must know by which name to ask for it.
        self.shared.course.touch();
    }

    /// What it is, once it has begun.
    pub fn begun(&self) -> Option<RunAccepted> {
        self.state().accepted.clone()
    }

    /// Notes how far a storage is.
    pub fn storage(&self, progress: StorageProgress) {
        self.state().storages.insert(progress.storage.clone(), progress);
    }

    /// Notes why nothing goes on with a storage, until its agent tells how far it is.
    pub fn waits(&self, storage: &StorageName, why: String) {
        let mut state = self.state();
        let progress = state.storages.entry(storage.to_string()).or_default();
        progress.storage = storage.to_string();
        progress.waits_for = why;
    }

    /// Notes that nothing is waited for with a storage.
    pub fn waits_no_more(&self, storage: &StorageName) {
        if let Some(progress) = self.state().storages.get_mut(storage.as_str()) {
            progress.waits_for.clear();
        }
    }

    /// Notes how far a database or directory is.
    pub fn part(&self, component: &Component, name: &str, bytes: u64, done: bool) {
        let (component, name) = (component.to_string(), name.to_owned());
        let key = (component.clone(), name.clone());
        self.state().parts.insert(key, PartProgress { component, name, bytes, done });
    }

    /// Records a failure and tells it.
    pub fn failed(&self, failure: ItemFailure) {
        self.record(vec![failure.clone()], 1);
        self.tell(failure);
    }

    /// Records failures that were told as they came, and how many there were of them.
    pub fn record(&self, failures: Vec<ItemFailure>, total: u64) {
        let mut state = self.state();
        // Whoever counts fewer than it names, or more than there can be, makes nothing look complete.
        let total = total.max(failures.len() as u64);
        state.failures_total = state.failures_total.saturating_add(total);
        state.failures.extend(failures);
        state.failures.truncate(RunSummary::MAX_FAILURES);
    }

    /// Records something that is odd, and is no failure.
    pub fn remark(&self, remark: ItemFailure) {
        let mut state = self.state();
        if state.remarks.len() < RunSummary::MAX_FAILURES {
            state.remarks.push(remark);
        }
    }

    /// What was odd.
    pub fn remarks(&self) -> Vec<ItemFailure> {
        self.state().remarks.clone()
    }

    /// Tells a failure that is recorded elsewhere, and may yet be made good; each item once. That an item was stopped is told
    /// by the end of the whole, and is no failure of the item.
    pub fn tell(&self, failure: ItemFailure) {
        if failure.problem.kind == ErrorKind::Cancelled {
            return;
        }
        let is_new = self.state().told.insert(name_of(&failure));
        if is_new {
            self.shared.course.failed(failure);
        }
    }

    /// Tells a failure as it came from an agent, and keeps it with the others of its job.
    pub fn hear(&self, told: v1::ItemFailure, kept: &mut Vec<ItemFailure>) -> Result<(), InvalidInput> {
        let failure = ItemFailure::try_from(told)?;
        if kept.len() < RunSummary::MAX_FAILURES {
            kept.push(failure.clone());
        }
        self.tell(failure);
        Ok(())
    }

    /// The failures that were recorded here, capped, and how many there were.
    pub fn failures(&self) -> (Vec<ItemFailure>, u64) {
        let state = self.state();
        (state.failures.clone(), state.failures_total)
    }

    /// Failures told so far.
    pub fn failures_told(&self) -> u64 {
        self.shared.course.failures_total()
    }

    /// How far everything is.
    pub fn progress(&self) -> RunProgress {
        let state = self.state();
        RunProgress {
            storages: state.storages.values().cloned().collect(),
            parts: state.parts.values().cloned().collect(),
        }
    }

    /// What is in the vault although nothing is committed.
    pub fn kept(&self) -> Kept {
        let state = self.state();
        let mut kept = Kept::default();
        for storage in state.storages.values() {
            kept.repositories += storage.stored;
            kept.bytes += storage.stored_bytes;
            kept.arrived += storage.bytes;
        }
        kept
    }

    /// Records the end.
    pub fn end(&self, end: Result<String, Problem>) {
        self.shared.course.end(end);
    }

    /// The end, if it has come.
    pub fn ended(&self) -> Option<Result<String, Problem>> {
        self.shared.course.ended()
    }

    /// Waits for the end.
    pub async fn wait(&self) -> Result<String, Problem> {
        self.shared.course.wait().await
    }

    /// Passes on everything from the beginning to the end.
    pub async fn pass_on(&self, out: mpsc::Sender<Result<RunEvent, Status>>) {
        let follower: Follower<String> = self.shared.course.follow();
        let mut begun = false;
        let event = |event| Ok(RunEvent { event: Some(event) });
        let passing = follower.pass_on(&out, |seen| {
            let accepted = if begun { None } else { self.begun() };
            begun |= accepted.is_some();
            let told = match seen {
                Seen::Tick => event(Event::Progress(self.progress())),
                Seen::Failure(failure) => event(Event::Failure(v1::ItemFailure::from(&failure))),
                Seen::End(Ok(json)) => event(Event::SummaryJson(json)),
                Seen::End(Err(problem)) => Err(status_of_problem(&problem)),
            };
            accepted.map(|accepted| event(Event::Accepted(accepted))).into_iter().chain([told])
        });
        passing.await;
    }
}

#[cfg(test)]
mod tests {
    use packhorse_model::{Component, ErrorKind, Problem, Subject};

    use super::*;

    #[test]
    fn no_number_of_an_agent_makes_failures_vanish() {
        let failure = |item: &str| ItemFailure {
            component: Component::Repositories,
            storage: Some("default".into()),
            item: item.into(),
            problem: Problem::new(ErrorKind::Corrupt, Subject::Repository, "pack repository"),
        };
        let board = Board::default();
        board.record(vec![failure("a.git"), failure("b.git")], 0);
        assert_eq!(board.failures().1, 2, "named, and not counted");
        board.record(Vec::new(), 40);
        assert_eq!(board.failures().1, 42, "counted, and not all named");
        board.record(Vec::new(), u64::MAX);
        board.failed(failure("c.git"));
        let (named, total) = board.failures();
        assert_eq!((named.len(), total), (3, u64::MAX));
    }
}
