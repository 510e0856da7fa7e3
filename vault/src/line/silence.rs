//! Notices that a store does not answer, and says it once, with how long it will be tried.
//!
//! Does not own: trying again, or giving up. All requests of a vault share one: as long as any of them is answered, the
//! store is there. It is said as a warning, which daemons log and `backupctl` shows.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// How long a store may be silent before it is said.
pub const SILENT: Duration = Duration::from_secs(5);
/// The longest pause between two tries of one request: after more, a try is the first of something new.
const PAUSE: Duration = Duration::from_secs(30);

/// Whether a store answers.
#[derive(Clone, Debug)]
pub struct Silence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: String,
    budget: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first try that was not answered.
    since: Option<Instant>,
    /// The end of the last try.
    tried: Option<Instant>,
    told: bool,
}

impl Silence {
    /// Of a store whose requests are tried again for so long.
    pub fn new(store: String, budget: Duration) -> Self {
        Self(Arc::new(Shared { store, budget, state: Mutex::default() }))
    }

    /// A request is about to be sent.
    pub fn asked(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.tried.is_some_and(|tried| now - tried > PAUSE) && !state.told {
            state.since = None;
        }
        state.since.get_or_insert(now);
        state.tried = Some(now);
    }

    /// The store answered, whatever it was.
    pub fn answered(&self) {
        let mut state = self.state();
        state.since = None;
        if std::mem::take(&mut state.told) {
            tracing::warn!("the store at {} answers again", self.0.store);
        }
    }

    /// A try failed; another one comes after a pause, in which it is to be said, too.
    pub fn failed(&self, why: &str) {
        let since = {
            let mut state = self.state();
            state.tried = Some(Instant::now());
            state.since
        };
        let (silence, why) = (self.clone(), why.to_owned());
        if let Some(since) = since.filter(|_| !self.state().told) {
            #[expect(clippy::disallowed_methods, reason = "ends by itself after seconds, and holds nothing")]
            tokio::spawn(async move {
                sleep_until(since + SILENT).await;
                silence.tell(since, &why);
            });
        }
    }

    /// Says that nothing has moved in a request for long enough.
    pub fn waits(&self) {
        let since = self.state().since;
        if let Some(since) = since {
            self.tell(since, "nothing comes");
        }
    }

    fn tell(&self, since: Instant, why: &str) {
        let mut state = self.state();
        if state.since != Some(since) || since.elapsed() < SILENT || std::mem::replace(&mut state.told, true)
        {
            return;
        }
        let Shared { store, budget, .. } = &*self.0;
        tracing::warn!(
            "the store at {store} has not answered for {} seconds, and is tried for {}: {why}",
            since.elapsed().as_secs(),
            span(*budget)
        );
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 120 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Silence {
        Silence::new("s3.internal".to_owned(), Duration::from_secs(720))
    }

    fn is_told(silence: &Silence) -> bool {
        silence.state().told
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_store_that_answers_nothing_for_a_while_is_told() {
        let silence = silence();
        silence.asked();
        silence.failed("refused");
        tokio::time::sleep(SILENT - Duration::from_secs(1)).await;
        assert!(!is_told(&silence));
        // Between two tries, when nothing is under way.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(is_told(&silence));
        silence.answered();
        assert!(!is_told(&silence));

        silence.asked();
        silence.failed("refused");
        silence.asked();
        silence.answered();
        tokio::time::sleep(SILENT * 2).await;
        assert!(!is_told(&silence), "another request was answered");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_any_more_is_no_silence() {
        let silence = silence();
        silence.asked();
        silence.failed("refused");
        silence.answered();
        silence.asked();
        tokio::time::sleep(SILENT).await;
        silence.waits();
        assert!(is_told(&silence), "a request that hangs");

        let silence = self::silence();
        silence.asked();
        tokio::time::sleep(PAUSE * 2).await;
        silence.asked();
        silence.waits();
        assert!(!is_told(&silence), "the first request was given up long ago");
    }

    #[test]
    fn times_are_told_in_what_people_count_them_in() {
        for (seconds, told) in [(7, "7 seconds"), (60, "60 seconds"), (720, "12 minutes")] {
            assert_eq!(span(Duration::from_secs(seconds)), told);
        }
    }
}
