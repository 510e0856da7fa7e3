//! The course of a piece of work: its failures so far and its end, for any number of followers that may come at any time.
//!
//! Does not own: the work, or how far it is (whoever follows asks for that). A follower that comes late is told
//! everything from the beginning; one that is slow or goes away changes nothing. All failures are kept (`ledger`), in bounded
//! memory.

mod ledger;

use std::time::Duration;

use packhorse_model::{ItemFailure, Problem};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};

use self::ledger::{Ledger, Mark};

/// Time between two looks at how far it is.
const TICK: Duration = Duration::from_millis(250);

/// The course of work that ends with a `T`.
pub struct Course<T> {
    state: watch::Sender<State<T>>,
}

struct State<T> {
    failures: Ledger,
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
    told: Mark,
}

impl<T: Clone> Default for Course<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Course<T> {
    /// The course of work that begins.
    pub fn new() -> Self {
        let state = State { failures: Ledger::default(), end: None };
        Self { state: watch::Sender::new(state) }
    }

    /// Records a failure.
    pub fn failed(&self, failure: ItemFailure) {
        self.state.send_modify(|state| state.failures.push(failure));
    }

    /// Has followers look how far the work is, because something important has happened.
    pub fn touch(&self) {
        self.state.send_modify(|_| {});
    }

    /// Failures so far.
    pub fn failures_total(&self) -> u64 {
        self.state.borrow().failures.total()
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
        Follower { state, told: Mark::default() }
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
                let failures = state.failures.next(&mut self.told);
                // The end comes after all of them.
                let end = if failures.is_empty() { state.end.clone() } else { None };
                (failures, end)
            };
            let has_more = !failures.is_empty();
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
            if has_more {
                continue;
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

    #[tokio::test]
    async fn every_one_of_many_failures_is_told_also_to_who_comes_late() {
        let course = Course::new();
        let names: Vec<String> = (0..5_000).map(|n| format!("{n}{}", "x".repeat(n % 400))).collect();
        let (out, mut events) = mpsc::channel(8);
        let passing = course.follow().pass_on(&out, |seen| match seen {
            Seen::Failure(failure) => Some(failure.item),
            Seen::Tick | Seen::End(_) => None::<String>,
        });
        let telling = async {
            for name in &names {
                course.failed(failure(name));
                tokio::task::yield_now().await;
            }
            course.end(Ok(7_u8));
        };
        let hearing = async {
            let mut heard = Vec::new();
            while heard.len() < names.len() {
                heard.extend(events.recv().await);
            }
            heard
        };
        let ((), (), early) = tokio::join!(passing, telling, hearing);
        assert_eq!((early == names, course.failures_total()), (true, 5_000));
        let (out, mut events) = mpsc::channel(6_000);
        let late = course.follow().pass_on(&out, |seen| match seen {
            Seen::Failure(failure) => Some(failure.item),
            Seen::Tick | Seen::End(_) => None::<String>,
        });
        late.await;
        drop(out);
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event);
        }
        assert!(told == names, "{} of {}", told.len(), names.len());
    }
}
