//! One history: two or three repositories, rounds of changes, backups in between, and the check at the end.
//!
//! Does not own: what a change is (`life::subject`). The repositories' formats, the length of chains and the moments of
//! the backups all come from the seed.

mod stream;
mod subject;

use std::collections::BTreeMap;

use packhorse_testkit::GitRepo;

use self::subject::Subject;
use super::random::Random;
use crate::world::{Point, World};

const FORMATS: [&[&str]; 4] = [
    &[],
    &["--object-format=sha256"],
    &["--ref-format=reftable"],
    &["--ref-format=reftable", "--object-format=sha256"],
];

/// A history in the making.
pub struct History {
    world: World,
    random: Random,
    subjects: Vec<Subject>,
    points: Vec<Point>,
    told: Vec<String>,
}

impl History {
    pub fn new(seed: u64) -> Self {
        let (world, mut random) = (World::new(), Random::new(seed));
        let formats = if GitRepo::can_make_reftables() { &FORMATS[..] } else { &FORMATS[..2] };
        let mut told = Vec::new();
        if random.percent(50) {
            let manifests = ["every-run", "latest", "changed", "changed"][random.below(4)];
            // Small packs, too, with their indices; and what nothing reaches left out or copied.
            let index_from = ["0", "1 MiB"][random.below(2)];
            let max_garbage = ["0.0", "0.05", "0.9"][random.below(3)];
            let settings = format!(
                "max_chain = {}\ngitaly_manifests = '{manifests}'\nindex_from = '{index_from}'\nmax_garbage = {max_garbage}",
                1 + random.below(4)
            );
            told.push(settings.replace('\n', ", "));
            world.configure(&format!("[agent_service]\n{settings}\n"));
        }
        let mut subjects = Vec::new();
        for number in 0..2 + random.below(2) {
            let options = formats[random.below(formats.len())];
            let path = format!("r{number}.git");
            told.push(format!("{path}: init {options:?}"));
            let repo = world.repo_with(&path, options);
            if random.percent(30) {
                told.push(format!("{path}: is left to git"));
                world.leave_to_git(&repo);
            }
            subjects.push(Subject::new(repo, path));
        }
        Self { world, random, subjects, points: Vec::new(), told }
    }

    /// What was done so far, a line for each thing.
    pub fn told(&self) -> String {
        self.told.join("\n")
    }

    /// Lives through all rounds, then asks for every backup point back.
    pub fn run(&mut self) {
        let rounds = 3 + self.random.below(4);
        for round in 1..=rounds {
            for subject in &mut self.subjects {
                if self.random.percent(85) {
                    subject.change(&mut self.random, &mut self.told);
                }
            }
            if round == rounds || self.random.percent(70) {
                let mut extra = Vec::new();
                if self.random.percent(8) {
                    extra.push("--full");
                }
                if self.random.percent(25) {
                    extra.extend(["--prove", "later"]);
                }
                let point = self.world.backup(&extra);
                self.told.push(format!("backup {} {extra:?}", point.id));
                self.points.push(point);
            }
        }
        for point in &self.points {
            self.told.push(format!("restore {}", point.id));
            self.world.assert_restores(&point.id, &point.states);
        }
        self.replay_chains();
    }

    /// Replays the last state of every chain of every repository.
    fn replay_chains(&mut self) {
        for subject in &self.subjects {
            let mut last_of_chain = BTreeMap::new();
            for point in &self.points {
                let first = self.world.manifest(&point.id, &subject.path).bundle(1).to_owned();
                last_of_chain.insert(first, point);
            }
            for point in last_of_chain.values() {
                self.told.push(format!("{}: replay {}", subject.path, point.id));
                self.world.replay(&point.id, &subject.path, &point.states[&subject.path]);
            }
        }
    }
}
