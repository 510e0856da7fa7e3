//! The books: what every repository was at every run, which backups there are, and whether they bring that back.
//!
//! Does not own: making runs. A backup that was listed once has to be listed for ever. A complete one brings back every
//! repository as it was at its run; one that names what is missing may bring back an earlier state of that.

use std::collections::BTreeMap;

use packhorse_testkit::{GitRepo, RepoState};

use super::{
    estate::{Estate, STORAGES},
    weather::Told,
};
use crate::histories::random::Random;

/// Codes with which a run may end here: complete, incomplete, refused for now, store or peer lost.
const HONEST: [i32; 4] = [0, 3, 13, 14];

/// The state of each repository at one run, as an index into its states.
type Before = BTreeMap<String, usize>;

#[derive(Default)]
pub struct Books {
    states: BTreeMap<String, Vec<RepoState>>,
    /// Every committed backup: what there was, and whether the run said that it has all of it.
    backups: BTreeMap<String, (Before, Option<bool>)>,
    codes: BTreeMap<Option<i32>, u64>,
    checks: u64,
}

impl Books {
    /// Writes down what there is to back up.
    pub fn record(&mut self, estate: &Estate) -> Before {
        let mut before = Before::new();
        for path in estate.repositories() {
            let state = GitRepo::open(estate.site.path(&path)).state();
            let states = self.states.entry(path.clone()).or_default();
            if states.last().is_none_or(|last| !last.differences(&state).is_empty()) {
                states.push(state);
            }
            before.insert(path, states.len() - 1);
        }
        before
    }

    /// Compares what a run said with what is listed, of this run and of all before it.
    pub fn settle(&mut self, told: &Told, before: Before, listed: &[String]) {
        *self.codes.entry(told.code).or_default() += 1;
        assert!(told.code.is_none_or(|code| HONEST.contains(&code)), "{told}");
        let lost: Vec<&String> = self.backups.keys().filter(|id| !listed.contains(id)).collect();
        assert!(lost.is_empty(), "backups are lost: {lost:?}, after {told}");
        let is_listed = listed.contains(&told.id);
        match told.code {
            Some(code @ (0 | 3)) => {
                assert!(is_listed, "said to be committed, and is not listed: {told}");
                self.backups.insert(told.id.clone(), (before, Some(code == 0)));
            }
            // Its caller was not told how it ended, or only that it lost sight of it.
            _ if is_listed => drop(self.backups.insert(told.id.clone(), (before, None))),
            _ => {}
        }
        assert_eq!(listed.len(), self.backups.len(), "{listed:?} has backups that nobody made");
    }

    /// Restores the newest backup and compares it.
    pub fn check_newest(&mut self, estate: &Estate) {
        let newest = self.backups.last_key_value().map(|(id, _)| id.clone());
        newest.into_iter().for_each(|id| self.check(estate, &id));
    }

    /// Restores so many backups of all and compares them.
    pub fn check_some(&mut self, estate: &Estate, random: &mut Random, count: usize) {
        let ids: Vec<String> = self.backups.keys().cloned().collect();
        for _ in 0..count {
            self.check(estate, &ids[random.below(ids.len())]);
        }
    }

    fn check(&mut self, estate: &Estate, id: &str) {
        self.checks += 1;
        let (before, complete) = &self.backups[id];
        let folders = estate.restore(id);
        let mut missing = Vec::new();
        for (path, at) in before {
            let (storage, name) = path.split_once('/').expect("a storage and a name");
            let number = usize::from(storage == STORAGES[1]);
            let folder = folders[number].join(name);
            if !folder.exists() {
                missing.push(path);
                continue;
            }
            let repo = GitRepo::open(&folder);
            let (states, found) = (&self.states[path], repo.state());
            let same = |state: &RepoState| state.differences(&found).is_empty();
            let earlier = *complete != Some(true) && states[..*at].iter().any(same);
            if !earlier {
                RepoState::assert_same(&states[*at], &found);
            }
            repo.fsck();
        }
        assert!(missing.is_empty() || *complete != Some(true), "complete backup {id} has no {missing:?}");
    }

    /// What became of all runs.
    pub fn totals(&self) -> String {
        format!(
            "exit codes {:?}, {} backups, all of them listed, {} restored and compared",
            self.codes,
            self.backups.len(),
            self.checks
        )
    }
}
