//! How fast a vault is written to: uploads at once, and bytes a second, for one job and for all of a process.
//!
//! Does not own: retries, which are paced with the upload that they belong to. Both can be changed while uploads are under
//! way. An upload waits for its turn before it is sent and holds nothing else of the pace meanwhile, so two cannot block
//! each other. One that gives up while it waits leaves its time to others.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{Limit, LimitGuard};

/// A pace; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pace {
    uploads: Limit,
    bandwidth: Arc<Bandwidth>,
    /// Of the whole, of which this is a part.
    whole: Option<Arc<Pace>>,
}

#[derive(Debug)]
struct Bandwidth {
    /// 0 for as many as there are.
    bytes_per_second: AtomicU64,
    passed: Mutex<Passed>,
    changed: Notify,
}

#[derive(Debug)]
struct Passed {
    /// When the bytes so far will have passed.
    at: Instant,
    /// Times that the rate was changed.
    changes: u64,
}

/// The time that some bytes take, from their turn on; it is given back when they are not sent.
#[derive(Debug)]
struct Taken<'a> {
    bandwidth: &'a Bandwidth,
    time: Duration,
    changes: u64,
}

/// The right to send one object or part.
#[derive(Debug)]
pub struct Upload {
    _turns: (LimitGuard, Option<LimitGuard>),
}

/// A limit that no process reaches.
const UNLIMITED: usize = usize::MAX >> 4;

fn uploads_of(limit: usize) -> usize {
    if limit == 0 { UNLIMITED } else { limit }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Pace {
    /// At most this many uploads at once and bytes a second; 0 for no limit.
    pub fn new(uploads: usize, bytes_per_second: u64) -> Self {
        let bandwidth = Bandwidth {
            bytes_per_second: AtomicU64::new(bytes_per_second),
            passed: Mutex::new(Passed { at: Instant::now(), changes: 0 }),
            changed: Notify::new(),
        };
        Self { uploads: Limit::new(uploads_of(uploads)), bandwidth: Arc::new(bandwidth), whole: None }
    }

    /// The pace of a part of this.
    pub fn part(&self, uploads: usize, bytes_per_second: u64) -> Self {
        Self { whole: Some(Arc::new(self.clone())), ..Self::new(uploads, bytes_per_second) }
    }

    /// Changes it; what is being sent goes on.
    pub fn set(&self, uploads: usize, bytes_per_second: u64) {
        self.uploads.set(uploads_of(uploads));
        self.bandwidth.set(bytes_per_second);
    }

    /// Waits until this many bytes may be sent. Turns come last, so that nobody has one while it waits for anything else.
    pub async fn upload(&self, bytes: usize) -> Upload {
        let mut taken = vec![self.bandwidth.pass(bytes).await];
        if let Some(whole) = &self.whole {
            taken.push(whole.bandwidth.pass(bytes).await);
        }
        let own = self.uploads.take().await;
        let whole = match &self.whole {
            Some(whole) => Some(whole.uploads.take().await),
            None => None,
        };
        taken.into_iter().flatten().for_each(Taken::keep);
        Upload { _turns: (own, whole) }
    }
}

impl Bandwidth {
    /// Waits until the bytes before these have passed; none when there is no limit.
    async fn pass(&self, bytes: usize) -> Option<Taken<'_>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let rate = self.bytes_per_second.load(Relaxed);
            if rate == 0 {
                return None;
            }
            let (turn, taken) = self.take(Duration::from_secs_f64(bytes as f64 / rate as f64));
            tokio::select! {
                () = tokio::time::sleep_until(turn) => return Some(taken),
                // By another rate the turn is another one.
                () = changed => {}
            }
        }
    }

    fn take(&self, time: Duration) -> (Instant, Taken<'_>) {
        let mut passed = self.passed();
        let turn = passed.at.max(Instant::now());
        passed.at = turn + time;
        (turn, Taken { bandwidth: self, time, changes: passed.changes })
    }

    fn set(&self, bytes_per_second: u64) {
        if self.bytes_per_second.swap(bytes_per_second, Relaxed) != bytes_per_second {
            {
                let mut passed = self.passed();
                *passed = Passed { at: Instant::now(), changes: passed.changes + 1 };
            }
            self.changed.notify_waiters();
        }
    }

    fn passed(&self) -> std::sync::MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// The bytes are sent.
    fn keep(mut self) {
        self.time = Duration::ZERO;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut passed = self.bandwidth.passed();
        // What was taken by another rate was forgotten with it.
        if passed.changes == self.changes {
            passed.at = passed.at.checked_sub(self.time).unwrap_or(passed.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_pass_at_the_rate_of_the_slower_of_part_and_whole() {
        for (whole, part) in [(1000, 0), (0, 1000), (1000, 9000), (9000, 1000)] {
            let part = Pace::new(0, whole).part(0, part);
            let begun = Instant::now();
            for _ in 0..5 {
                drop(part.upload(50).await);
            }
            assert!(begun.elapsed() >= Duration::from_millis(200), "200 bytes before the last, {whole}");
        }
    }

    #[tokio::test]
    async fn uploads_of_all_parts_are_counted_together() {
        let whole = Pace::new(2, 0);
        let (a, b) = (whole.part(0, 0), whole.part(1, 0));
        let first = b.upload(1).await;
        let waits = |pace: Pace| async move {
            tokio::time::timeout(Duration::from_millis(50), pace.upload(1)).await.is_err()
        };
        assert!(waits(b.clone()).await, "the part has one");
        let _second = a.upload(1).await;
        assert!(waits(a.clone()).await, "the whole has two");
        drop(first);
        assert!(!waits(a.clone()).await);
        a.set(0, 0);
        whole.set(0, 0);
        assert!(!waits(a).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_its_time_to_others() {
        let pace = Pace::new(0, 1).part(0, 1);
        drop(pace.upload(10).await);
        let begun = Instant::now();
        for _ in 0..3 {
            let gave_up = tokio::time::timeout(Duration::from_secs(1), pace.upload(3600)).await;
            assert!(gave_up.is_err(), "ten seconds are taken");
        }
        drop(pace.upload(1).await);
        assert_eq!(begun.elapsed(), Duration::from_secs(10), "only for what was sent");
    }

    #[tokio::test]
    async fn who_waits_for_an_old_rate_goes_by_the_new_one() {
        let pace = Pace::new(0, 1);
        drop(pace.upload(3600).await);
        let waiting = pace.upload(1);
        let raising = async {
            tokio::task::yield_now().await;
            pace.set(0, 0);
        };
        // An hour by the old rate.
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(waiting, raising) })
            .await
            .expect("the new rate counts");
    }
}
