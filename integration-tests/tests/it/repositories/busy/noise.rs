//! Noise: somebody who changes a repository in a loop, and a log of every value that a ref has had.
//!
//! Does not own: what the noise is. A value is noted before the ref gets it, so a reader never sees one that is unknown.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use packhorse_testkit::{GitRepo, wait_until};

/// Every value that each ref has had.
#[derive(Default)]
pub struct Log(Mutex<HashSet<(Vec<u8>, String)>>);

impl Log {
    /// Notes that a ref is about to have a value.
    pub fn note(&self, name: &str, oid: &str) {
        self.0.lock().expect("no holder panics").insert((name.as_bytes().to_vec(), oid.to_owned()));
    }

    /// Commits to a branch, noting it first.
    pub fn commit(&self, repo: &GitRepo, name: &str) {
        let parent = repo.tip(name);
        let text = format!("after {parent:?} in {name}");
        let oid = repo.commit_on(parent.as_deref(), &[("file", text)]);
        self.note(name, &oid);
        repo.update_ref(name, &oid);
    }

    /// Whether the ref ever had the value.
    pub fn had(&self, name: &[u8], oid: &str) -> bool {
        self.0.lock().expect("no holder panics").contains(&(name.to_vec(), oid.to_owned()))
    }
}

/// How often the noise went round.
pub struct Rounds<'a> {
    done: &'a AtomicU64,
    ended: &'a AtomicBool,
}

impl Rounds<'_> {
    /// Waits until the noise has gone round once more.
    pub fn wait_for_more(&self) {
        let before = self.done.load(Ordering::SeqCst);
        wait_until("the noise to go round", Duration::from_secs(60), || {
            assert!(!self.ended.load(Ordering::SeqCst), "the noise has ended early");
            let now = self.done.load(Ordering::SeqCst);
            if now > before { Ok(()) } else { Err(format!("still at round {now}")) }
        });
    }
}

/// Sets a flag when it goes, also by a panic, so that nobody waits for ever.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `noise` again and again beside `work`, until that is done.
pub fn during(mut noise: impl FnMut(u64) + Send, work: impl FnOnce(&Rounds<'_>)) {
    let (stop, ended, done) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ended = SetOnDrop(&ended);
            while !stop.load(Ordering::SeqCst) {
                noise(done.load(Ordering::SeqCst));
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _stop = SetOnDrop(&stop);
        work(&Rounds { done: &done, ended: &ended });
    });
}
