//! The course of a piece of work: its failures so far and its end, for any number of followers that may come at any time.
//!
//! Does not own: the work, or how far it is (whoever follows asks for that). A follower that comes late is told
//! everything from the beginning; one that is slow or goes away changes nothing. Failures that are kept are bounded; the
//! number of all of them is known.

use std::time::Duration;

use packhorse_model::{ItemFailure, Problem, RunSummary};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};

/// Time between two looks at how far it is.
const TICK: Duration = Duration::from_millis(250);

/// The course of work that ends with a `T`.
pub struct Course<T> {
    state: watch::Sender<State<T>>,
}

struct State<T> {
    failures: Vec<ItemFailure>,
    failures_total: u64,
    end: Option<Result<T, Problem>>,
}

/// What a follower sees.
pub enum Seen<T> {
    /// It is time to look how far the work is.
    Tick,
    /// Something failed.
    Failure(ItemFailure),
    /// The end; nothing comes after it.
    End(Result<T, Problem>),
}

/// Somebody who follows; counts as long as it exists.
pub struct Follower<T> {
    state: watch::Receiver<State<T>>,
    told: usize,
}

impl<T: Clone> Default for Course<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Course<T> {
    /// The course of work that begins.
    pub fn new() -> Self {
        let state = State { failures: Vec::new(), failures_total: 0, end: None };
        Self { state: watch::Sender::new(state) }
    }

    /// Records a failure.
    pub fn failed(&self, failure: ItemFailure) {
        self.state.send_modify(|state| {
            state.failures_total += 1;
            if state.failures.len() < RunSummary::MAX_FAILURES {
                state.failures.push(failure);
            }
        });
    }

    /// Has followers look how far the work is, because something important has happened.
    pub fn touch(&self) {
        self.state.send_modify(|_| {});
    }

    /// Failures so far, those that were not kept among them.
    pub fn failures_total(&self) -> u64 {
        self.state.borrow().failures_total
    }

    /// Records the end.
    pub fn end(&self, end: Result<T, Problem>) {
        self.state.send_modify(|state| state.end = Some(end));
    }

    /// The end, if it has come.
    pub fn ended(&self) -> Option<Result<T, Problem>> {
        self.state.borrow().end.clone()
    }

    /// Waits for the end.
    pub async fn wait(&self) -> Result<T, Problem> {
        let mut state = self.state.subscribe();
        loop {
            if let Some(end) = state.borrow_and_update().end.clone() {
                return end;
            }
            // The sender is `self`, so there always comes a change.
            let _ = state.changed().await;
        }
    }

    /// A new follower, who is told everything from the beginning.
    pub fn follow(&self) -> Follower<T> {
        let mut state = self.state.subscribe();
        state.mark_changed();
        Follower { state, told: 0 }
    }

    /// Whether anybody follows.
    pub fn is_followed(&self) -> bool {
        self.state.receiver_count() > 0
    }

    /// Waits until nobody follows.
    pub async fn unfollowed(&self) {
        self.state.closed().await;
    }
}

impl<T: Clone> Follower<T> {
    /// Passes on what it sees until the end was passed on, or nobody receives it any more.
    pub async fn pass_on<E, I: IntoIterator<Item = E>>(
        mut self,
        out: &mpsc::Sender<E>,
        mut events_of: impl FnMut(Seen<T>) -> I,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let (failures, end) = {
                let state = self.state.borrow_and_update();
                (state.failures[self.told..].to_vec(), state.end.clone())
            };
            self.told += failures.len();
            let mut events = Vec::new();
            events.extend(failures.into_iter().flat_map(|failure| events_of(Seen::Failure(failure))));
            let ended = end.is_some();
            if let Some(end) = end {
                events.extend(events_of(Seen::Tick));
                events.extend(events_of(Seen::End(end)));
            }
            for event in events {
                if out.send(event).await.is_err() {
                    return;
                }
            }
            if ended {
                return;
            }
            tokio::select! {
                changed = self.state.changed() => match changed {
                    Ok(()) => tick.reset_immediately(),
                    Err(_) => return,
                },
                // Dropped when nobody reads it: there will be another.
                _ = tick.tick() => {
                    for event in events_of(Seen::Tick) {
                        let _ = out.try_send(event);
                    }
                }
                () = out.closed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use packhorse_model::{Component, ErrorKind, Subject};

    use super::*;

    fn failure(item: &str) -> ItemFailure {
        let problem = Problem::new(ErrorKind::Corrupt, Subject::Repository, "read");
        ItemFailure { component: Component::Repositories, storage: None, item: item.into(), problem }
    }

    async fn told(follower: Follower<u8>) -> Vec<String> {
        let (out, mut events) = mpsc::channel(64);
        let passing = follower.pass_on(&out, |seen| match seen {
            Seen::Tick => None::<String>,
            Seen::Failure(failure) => Some(failure.item),
            Seen::End(end) => Some(format!("{end:?}")),
        });
        passing.await;
        drop(out);
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event);
        }
        told
    }

    #[tokio::test]
    async fn early_and_late_followers_are_told_the_same() {
        let course = Course::new();
        let early = course.follow();
        course.failed(failure("a"));
        let middle = course.follow();
        let telling = async {
            course.failed(failure("b"));
            course.end(Ok(7));
        };
        let (early, middle, ()) = tokio::join!(told(early), told(middle), telling);
        assert_eq!(early, ["a", "b", "Ok(7)"]);
        assert_eq!(middle, early);
        assert_eq!(told(course.follow()).await, early);
        assert!(!course.is_followed());
        assert_eq!((course.wait().await, course.failures_total()), (Ok(7), 2));
    }
}
