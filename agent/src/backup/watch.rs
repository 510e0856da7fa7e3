//! Notices work on a repository that hangs: a dead disk, a stuck git.
//!
//! Does not own: what is done about it. Work is alive as long as it moves bytes or uses a CPU, itself or through the git
//! that it started; time spent waiting for the vault does not count, because the vault's client has a time budget of its
//! own. What uses a CPU for ever is ended by a limit of time as a whole. A thread that waits for a dead disk cannot be
//! stopped, so it is left behind: nothing of the storage waits for it.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use packhorse_vault::Hold;
use tokio_util::sync::CancellationToken;

/// How long work on a repository may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Without a sign of life.
    pub stall: Duration,
    /// As a whole, waiting for the vault not counted.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_secs(600), whole: Duration::from_secs(12 * 3600) }
    }
}

/// Watches one piece of work.
#[derive(Debug)]
pub struct Watch {
    /// Stops the work and kills its git.
    pub cancel: CancellationToken,
    moved: AtomicU64,
    waits: AtomicBool,
    threads: Mutex<Vec<i32>>,
    left_behind: AtomicBool,
    holds: Mutex<Vec<Hold>>,
}

impl Watch {
    /// A watch whose work stops with `parent`, too.
    pub fn new(parent: &CancellationToken) -> Arc<Self> {
        let cancel = parent.child_token();
        let (moved, waits, left_behind) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let (threads, holds) = (Mutex::default(), Mutex::default());
        Arc::new(Self { cancel, moved, waits, threads, left_behind, holds })
    }

    /// Says that this thread does the work, or a part of it.
    pub fn this_thread(&self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// Says that the work holds something that others want, too.
    pub fn holds(&self, hold: Hold) {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
    }

    /// Says that nobody waits for the work any more, and gives back what it holds.
    pub fn leave_behind(&self) {
        self.left_behind.store(true, Relaxed);
        self.cancel.cancel();
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Hold::release);
    }

    /// Whether nobody waits for the work any more.
    pub fn is_left_behind(&self) -> bool {
        self.left_behind.load(Relaxed)
    }

    /// Says that bytes were moved.
    pub fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Relaxed);
    }

    /// Does something that may have to wait, for the vault or for other work.
    pub fn waiting<T>(&self, work: impl FnOnce() -> T) -> T {
        self.waits.store(true, Relaxed);
        let done = work();
        self.waits.store(false, Relaxed);
        done
    }

    fn sign_of_life(&self) -> (u64, u64) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        (self.moved.load(Relaxed), threads.iter().map(|thread| cpu_of_thread(*thread)).sum())
    }

    /// Returns, with what is wrong, when the work hangs.
    pub async fn hangs(&self, patience: Patience) -> String {
        let pause = (patience.stall / 8).clamp(Duration::from_millis(20), Duration::from_secs(5));
        let (mut last, mut idle, mut whole) = (self.sign_of_life(), Duration::ZERO, Duration::ZERO);
        let mut before = Instant::now();
        loop {
            tokio::time::sleep(pause).await;
            let passed = before.elapsed();
            before = Instant::now();
            if self.waits.load(Relaxed) {
                idle = Duration::ZERO;
                continue;
            }
            whole += passed;
            let now = self.sign_of_life();
            idle = if now == last { idle + passed } else { Duration::ZERO };
            last = now;
            if idle >= patience.stall {
                return format!("gave no sign of life for {:?}", patience.stall);
            }
            if whole >= patience.whole {
                return format!("was not done after {:?}", patience.whole);
            }
        }
    }
}

/// Ticks of CPU time that a thread of this process and the children that it started have used.
fn cpu_of_thread(thread: i32) -> u64 {
    let own = cpu_time(&format!("/proc/self/task/{thread}/stat"));
    let children = fs::read_to_string(format!("/proc/self/task/{thread}/children")).unwrap_or_default();
    own + children.split_whitespace().map(|pid| cpu_time(&format!("/proc/{pid}/stat"))).sum::<u64>()
}

/// User and system time of a `stat` file: fields 14 and 15, counted from the end of the name in parentheses.
fn cpu_time(file: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let Some((_, fields)) = text.rsplit_once(')') else { return 0 };
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Patience = Patience { stall: Duration::from_millis(300), whole: Duration::from_secs(3600) };

    /// Whether the watch calls, within a few times its patience.
    async fn called(watch: &Watch, patience: Patience) -> Option<String> {
        tokio::time::timeout(Duration::from_secs(3), watch.hangs(patience)).await.ok()
    }

    /// Runs work on a thread of its own until its watch is cancelled.
    fn at_work(work: impl Fn(&Watch) + Send + 'static) -> Arc<Watch> {
        let watch = Watch::new(&CancellationToken::new());
        let worker = Arc::clone(&watch);
        let (started, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            worker.this_thread();
            let _ = started.send(());
            while !worker.cancel.is_cancelled() {
                work(&worker);
            }
        });
        wait.recv().expect("the thread runs");
        watch
    }

    fn pause() {
        std::thread::park_timeout(Duration::from_millis(10));
    }

    #[tokio::test]
    async fn silence_hangs() {
        let watch = at_work(|_| pause());
        let said = called(&watch, SHORT).await.expect("nothing moves");
        assert!(said.contains("sign of life"), "{said}");
        watch.cancel.cancel();
    }

    #[tokio::test]
    async fn bytes_and_cpu_time_are_signs_of_life_and_the_vault_is_waited_for() {
        let moving = at_work(|watch| {
            watch.moved(1);
            pause();
        });
        let burning = at_work(|_| {
            std::hint::black_box((0..1000_u64).sum::<u64>());
        });
        let waiting = at_work(|watch| {
            watch.waiting(|| {
                while !watch.cancel.is_cancelled() {
                    pause()
                }
            })
        });
        let limit = Patience { whole: Duration::from_millis(500), ..SHORT };
        let (a, b, c, d) = tokio::join!(
            called(&moving, SHORT),
            called(&burning, SHORT),
            called(&waiting, limit),
            called(&moving, limit)
        );
        assert_eq!([a, b, c], [None, None, None]);
        assert!(d.expect("takes too long as a whole").contains("not done"));
        for watch in [moving, burning, waiting] {
            watch.cancel.cancel();
        }
    }
}
