//! A soak: one backup after another while agents, coordinator, callers, restores, git, PostgreSQL and the store are hit
//! at random moments, and nobody does anything about it but restart what died, as systemd would.
//!
//! Does not own: single crashes at exact points (`crashes`, `system::daemons`). What is hit, how, and after how many more
//! requests to the store follows from `PACKHORSE_SEED`, which is printed; what that meets follows from the machine's
//! timing. `PACKHORSE_SOAK` sets how many runs there are: 6, or 200 with `PACKHORSE_LONG`. All of them may hit anything.
//! In a long soak more runs follow that spare the daemons, because nobody can tell from a short life that memory grows.

mod books;
mod estate;
mod forge;
mod leftovers;
mod life;
mod memory;
mod restores;
mod trouble;
mod weather;

use std::env;

use self::{books::Books, estate::Estate, leftovers::Leftovers, memory::Memory, trouble::Season};
use crate::histories::{number, random::Random};

/// Runs that are enough to say something of memory.
const MANY: u64 = 40;

/// Everything that one soak keeps.
struct Soak {
    random: Random,
    estate: Estate,
    books: Books,
    leftovers: Leftovers,
    memory: Memory,
    /// How many of a hundred runs are restored at once.
    checks: usize,
}

impl Soak {
    fn run(&mut self, number: u64, season: Season) {
        let Self { random, estate, books, leftovers, memory, checks } = self;
        estate.live(random);
        let before = books.record(estate);
        let told = weather::run_in(estate, random, number, season);
        eprintln!("{told}");
        books.settle(&told, before, estate);
        leftovers.settle(&told, estate);
        if number == 1 || random.percent(*checks) {
            books.check_newest(estate, random);
        }
        memory.note(estate, season);
    }

    /// A run that nobody disturbs, after which everything has to be right.
    fn end(mut self, number: u64, is_long: bool) {
        let Self { random, estate, books, leftovers, memory, .. } = &mut self;
        estate.renew(estate::STORAGES[0], number);
        let before = books.record(estate);
        let last = weather::run_undisturbed(estate, number);
        eprintln!("{last}");
        books.settle(&last, before, estate);
        leftovers.settle(&last, estate);
        books.check_newest(estate, random);
        if is_long {
            books.check_all(estate, random);
            // What becomes of a few runs says nothing: it depends on what hits them.
            books.assert_most_commit();
        } else {
            books.check_some(estate, random, 2);
        }
        eprintln!("{}", leftovers.remove(estate));
        eprintln!("{}, {} restores killed half way", books.totals(), estate.cut_restores);
        if is_long {
            assert!(estate.cut_restores > 0, "no restore was killed");
            memory.assert_flat();
        }
        self.estate.stop();
    }
}

#[test]
fn runs_survive_random_kills_and_lose_nothing_beside_postgres() {
    let seed = number("PACKHORSE_SEED").unwrap_or(20);
    let usual = if env::var_os("PACKHORSE_LONG").is_some() { 200 } else { 6 };
    let runs = number("PACKHORSE_SOAK").unwrap_or(usual);
    let is_long = runs >= MANY;
    let old = if is_long { MANY } else { 0 };
    eprintln!("soak of {runs} runs, and {old} that spare daemons, PACKHORSE_SEED={seed}");
    let (books, leftovers, memory) = (Books::default(), Leftovers::default(), Memory::default());
    let checks = if is_long { 15 } else { 50 };
    let mut soak =
        Soak { random: Random::new(seed), estate: Estate::start(), books, leftovers, memory, checks };
    for number in 1..=runs {
        soak.run(number, Season::Storms);
    }
    for number in runs + 1..=runs + old {
        soak.run(number, Season::Age);
    }
    soak.end(runs + old + 1, is_long);
}
