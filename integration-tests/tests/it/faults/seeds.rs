//! Seeded storms: two runs and a restore in bad weather, then everything that was promised is looked at in good weather.
//!
//! Does not own: the storms (`storm`). What can be ridden out has to end with 0; what cannot has to end honestly. A
//! failing seed is printed with the requests of its store, and `PACKHORSE_SEED` runs just that one. `PACKHORSE_FAULTS`
//! sets how many there are: 50, or 1,000 with `PACKHORSE_LONG`.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{
    place::{Place, States, compare, make_storage},
    storm::{self, Storm},
};
use crate::histories::{number, random::Random};

/// Test functions that share the seeds.
const PARTS: u64 = 5;
/// How many seeds there usually are.
const USUAL: u64 = 50;
/// Seeds of one part that run beside each other, and when there are many: half of their time is spent waiting.
const THREADS: [usize; 2] = [3, 6];
/// Codes with which a run may end here: complete, refused, unusable.
const HONEST: [i32; 3] = [0, 12, 13];

/// One seed's site, and what its runs left.
struct Seed {
    place: Place,
    /// Each run's ID, its exit code, and what there was to back up.
    runs: Vec<(&'static str, i32, States)>,
    told: Vec<String>,
}

impl Seed {
    fn run(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let [first, second, last] = storm::of_seed(&mut random);
        for (id, storm) in [("0001", first), ("0002", second)] {
            self.set_weather(&storm);
            let code = self.create(id);
            assert!(
                code == 0 || !storm.survivable,
                "run {id} could have been complete, and ended with {code}"
            );
            self.place.change(random.percent(50).then_some(seed));
        }
        self.restore_in(&last);
        self.place.server.clear_faults();
        let listed = self.place.listed();
        for (id, code, states) in &self.runs {
            let is_listed = listed.iter().any(|listed| listed == id);
            assert!(is_listed || *code != 0, "run {id} ended with 0 and is not listed: {listed:?}");
            if is_listed {
                self.place.assert_comes_back(id, states, &self.place.site.path(id));
            }
        }
        assert_eq!(self.create("0003"), 0, "the store works again");
        let (id, _, states) = self.runs.last().expect("there were runs");
        self.place.assert_restores(id, states);
    }

    fn set_weather(&self, storm: &Storm) {
        self.place.configure(storm.budget());
        self.place.server.set_faults(storm.plan.clone());
    }

    fn create(&mut self, id: &'static str) -> i32 {
        let states = self.place.states();
        let output = self.place.create(id).run();
        self.told.push(format!("create {id}: {}\n{}{}", output.code, output.stdout, output.stderr));
        assert!(HONEST.contains(&output.code), "{output:#?}");
        let committed = output.stdout.contains(&format!("Backup {id}"));
        assert_eq!(committed, output.code == 0, "{output:#?}");
        self.runs.push((id, output.code, states));
        output.code
    }

    /// Restores the first backup in bad weather: all of it, or nothing that is not whole.
    fn restore_in(&mut self, storm: &Storm) {
        let Some((id, _, states)) = self.runs.iter().find(|(_, code, _)| *code == 0) else { return };
        self.set_weather(storm);
        let folder = self.place.site.path("stormy");
        let output = self.place.restore(id, &folder).run();
        self.told.push(format!("restore {id}: {}\n{}{}", output.code, output.stdout, output.stderr));
        let found = compare(&folder, states);
        assert!(output.code == 0 || !storm.survivable, "it could have been complete: {output:#?}");
        assert!(output.code != 0 || found == states.len(), "{output:#?}");
        assert!([0, 3, 12, 13].contains(&output.code), "{output:#?}");
        fs::remove_dir_all(&folder).expect("remove what was restored");
    }

    fn print(&self) {
        let told = self.told.join("\n");
        let log: Vec<String> = self.place.server.log().iter().map(ToString::to_string).collect();
        eprintln!(
            "{told}\nrequests:\n{}\nopen uploads: {:?}",
            log.join("\n"),
            self.place.server.open_uploads()
        );
    }
}

fn run_seed(seed: u64, storage: &Path) {
    let mut subject = Seed { place: Place::with_copy_of(storage, "5s"), runs: Vec::new(), told: Vec::new() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| subject.run(seed))) {
        subject.print();
        eprintln!("fault seed {seed} failed (PACKHORSE_SEED={seed})");
        resume_unwind(panic);
    }
    if number("PACKHORSE_SEED").is_some() {
        subject.print();
    }
    let codes: Vec<i32> = subject.runs.iter().map(|(_, code, _)| *code).collect();
    eprintln!("seed {seed}: runs ended with {codes:?}, {} requests", subject.place.server.requests());
}

fn run_part(part: u64) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let storage = folder.path().join("storage");
    make_storage(&storage);
    if let Some(seed) = number("PACKHORSE_SEED") {
        if seed % PARTS == part {
            run_seed(seed, &storage);
        } else {
            eprintln!("PACKHORSE_SEED belongs to another part");
        }
        return;
    }
    let usual = if env::var_os("PACKHORSE_LONG").is_some() { 1_000 } else { USUAL };
    let count = number("PACKHORSE_FAULTS").unwrap_or(usual);
    let (next, threads) = (AtomicU64::new(part), THREADS[usize::from(count > USUAL)]);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(PARTS, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    run_seed(seed, &storage);
                }
            });
        }
    });
}

#[test]
fn part_1_keeps_what_it_promises() {
    run_part(0);
}

#[test]
fn part_2_keeps_what_it_promises() {
    run_part(1);
}

#[test]
fn part_3_keeps_what_it_promises() {
    run_part(2);
}

#[test]
fn part_4_keeps_what_it_promises() {
    run_part(3);
}

#[test]
fn part_5_keeps_what_it_promises() {
    run_part(4);
}
