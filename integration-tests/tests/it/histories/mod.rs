//! Random histories: repositories of every format live through commits, rewrites, tags, moves of HEAD, maintenance and
//! renames, are backed up at random moments, and every backup has to come back exactly, for us and for plain git.
//!
//! Does not own: single situations (`repositories`). A history follows from its seed alone; a failing seed is printed
//! with what was done, and `PACKHORSE_SEED` runs just that one. `PACKHORSE_HISTORIES` sets how many there are.

mod life;
mod names;
pub mod random;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use self::life::History;

/// Test functions that share the seeds, so that a runner can spread them.
const PARTS: u64 = 4;
/// Histories of one part that run beside each other.
const THREADS: usize = 2;

/// The number in a variable of the environment.
pub fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn run_part(part: u64) {
    if let Some(seed) = number("PACKHORSE_SEED") {
        if seed % PARTS == part {
            eprintln!("{}", run_seed(seed));
        } else {
            eprintln!("PACKHORSE_SEED belongs to another part");
        }
        return;
    }
    let count = number("PACKHORSE_HISTORIES").unwrap_or(200);
    let next = AtomicU64::new(part);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(PARTS, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    run_seed(seed);
                }
            });
        }
    });
}

/// Runs one history and tells what was done.
fn run_seed(seed: u64) -> String {
    let mut history = History::new(seed);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| history.run())) {
        eprintln!("history {seed} failed (PACKHORSE_SEED={seed}); what was done:\n{}", history.told());
        resume_unwind(panic);
    }
    history.told()
}

#[test]
fn part_1_comes_back_at_every_point() {
    run_part(0);
}

#[test]
fn part_2_comes_back_at_every_point() {
    run_part(1);
}

#[test]
fn part_3_comes_back_at_every_point() {
    run_part(2);
}

#[test]
fn part_4_comes_back_at_every_point() {
    run_part(3);
}
