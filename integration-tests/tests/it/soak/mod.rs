//! A soak: one backup after another while agents, coordinator, callers, git and the store are hit at random moments, and
//! nobody does anything about it but restart what died, as systemd would.
//!
//! Does not own: single crashes at exact points (`crashes`, `system::daemons`). What is hit, how, and after how many more
//! requests to the store follows from `PACKHORSE_SEED`, which is printed; what that meets follows from the machine's
//! timing. `PACKHORSE_SOAK` sets how many runs there are: 6, or 200 with `PACKHORSE_LONG`.

mod books;
mod estate;
mod memory;
mod trouble;
mod weather;

use std::env;

use self::{books::Books, estate::Estate, memory::Memory};
use crate::histories::{number, random::Random};

/// Runs that are enough to say something of memory.
const MANY: u64 = 40;

#[test]
fn runs_survive_random_kills_and_lose_nothing() {
    let seed = number("PACKHORSE_SEED").unwrap_or(20);
    let usual = if env::var_os("PACKHORSE_LONG").is_some() { 200 } else { 6 };
    let runs = number("PACKHORSE_SOAK").unwrap_or(usual);
    eprintln!("soak of {runs} runs, PACKHORSE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut estate = Estate::start();
    let (mut books, mut memory) = (Books::default(), Memory::default());
    for run in 1..=runs {
        estate.live(&mut random);
        let before = books.record(&estate);
        // In the second half nobody hits the coordinator and the second agent, so that they grow old.
        let spared = run > runs / 2;
        let told = weather::run_in(&mut estate, &mut random, run, spared);
        eprintln!("{told}");
        let listed = estate.listed();
        books.settle(&told, before, &listed);
        if run == 1 || random.percent(if runs < MANY { 50 } else { 15 }) {
            books.check_newest(&estate);
        }
        memory.note(&estate);
    }

    let before = books.record(&estate);
    let last = weather::run_undisturbed(&mut estate, runs + 1);
    eprintln!("{last}");
    assert_eq!(last.code, Some(0), "the last run, which nobody disturbed: {last}");
    books.settle(&last, before, &estate.listed());
    books.check_newest(&estate);
    books.check_some(&estate, &mut random, if runs < MANY { 2 } else { 10 });

    let left = estate.store.open_uploads();
    let before_rule = left.len();
    // What a bucket's rule for incomplete uploads does; there is no prune yet.
    estate.store.abort_open_uploads();
    assert_eq!(estate.store.open_uploads(), [""; 0]);
    eprintln!("{} uploads were open, and now none", before_rule);
    estate.stop();
    eprintln!("{}", books.totals());
    if runs >= MANY {
        memory.assert_flat();
    }
}
