//! The books: what there was at every run, which backups there are, and whether they bring that back.
//!
//! Does not own: making runs. A backup that was listed once has to be listed for ever. A complete one brings back every
//! repository and the database as they were at its run; one that names what is missing may bring back an earlier state
//! of a repository, and no database.

use std::collections::BTreeMap;

use packhorse_testkit::{GitRepo, RepoState};

use super::{
    estate::{Estate, STORAGES},
    forge::Tables,
    restores::{Cut, Restored},
    weather::Told,
};
use crate::histories::random::Random;

/// Codes with which a run may end here: complete, incomplete, refused for now, store or peer lost.
const HONEST: [i32; 4] = [0, 3, 13, 14];

/// What there was at one run.
pub struct Before {
    /// The state of each repository, as an index into its states.
    repositories: BTreeMap<String, usize>,
    tables: Tables,
}

#[derive(Default)]
pub struct Books {
    states: BTreeMap<String, Vec<RepoState>>,
    /// Every committed backup: what there was, and whether it says that it has all of it.
    backups: BTreeMap<String, (Before, bool)>,
    codes: BTreeMap<Option<i32>, u64>,
    checks: u64,
}

impl Books {
    /// Writes down what there is to back up.
    pub fn record(&mut self, estate: &Estate) -> Before {
        let mut repositories = BTreeMap::new();
        for path in estate.repositories() {
            let state = GitRepo::open(estate.site.path(&path)).state();
            let states = self.states.entry(path.clone()).or_default();
            if states.last().is_none_or(|last| !last.differences(&state).is_empty()) {
                states.push(state);
            }
            repositories.insert(path, states.len() - 1);
        }
        Before { repositories, tables: estate.forge.tables() }
    }

    /// Compares what a run said with what is listed, of this run and of all before it.
    pub fn settle(&mut self, told: &Told, before: Before, estate: &Estate) {
        let listed = estate.listed();
        *self.codes.entry(told.code).or_default() += 1;
        assert!(told.code.is_none_or(|code| HONEST.contains(&code)), "{told}");
        assert!(told.code == Some(0) || !told.troubles.is_empty(), "nothing was in the way of {told}");
        let lost: Vec<&String> = self.backups.keys().filter(|id| !listed.contains(id)).collect();
        assert!(lost.is_empty(), "backups are lost: {lost:?}, after {told}");
        let is_listed = listed.contains(&told.id);
        let said = told.code.filter(|code| matches!(code, 0 | 3)).map(|code| code == 0);
        assert!(said.is_none() || is_listed, "said to be committed, and is not listed: {told}");
        if is_listed {
            // Its caller may not have been told how it ended, or only that it lost sight of it.
            let is_whole = estate.is_complete(&told.id);
            assert_eq!(said.unwrap_or(is_whole), is_whole, "the caller was told something else: {told}");
            self.backups.insert(told.id.clone(), (before, is_whole));
        }
        assert_eq!(listed.len(), self.backups.len(), "{listed:?} has backups that nobody made");
    }

    /// Restores the newest backup and compares it.
    pub fn check_newest(&mut self, estate: &mut Estate, random: &mut Random) {
        let newest = self.backups.last_key_value().map(|(id, _)| id.clone());
        newest.into_iter().for_each(|id| self.check(estate, random, &id));
    }

    /// Restores so many backups of all and compares them.
    pub fn check_some(&mut self, estate: &mut Estate, random: &mut Random, count: usize) {
        let ids: Vec<String> = self.backups.keys().cloned().collect();
        for _ in 0..count {
            let at = random.below(ids.len());
            self.check(estate, random, &ids[at]);
        }
    }

    /// Restores every backup that there is and compares it.
    pub fn check_all(&mut self, estate: &mut Estate, random: &mut Random) {
        let ids: Vec<String> = self.backups.keys().cloned().collect();
        ids.iter().for_each(|id| self.check(estate, random, id));
    }

    /// Restores a backup, half of the times after a restore that is killed, and compares it.
    fn check(&mut self, estate: &mut Estate, random: &mut Random, id: &str) {
        self.checks += 1;
        let (before, is_whole) = &self.backups[id];
        let is_whole = *is_whole;
        let cut = random.percent(50).then(|| Cut(1 + random.below(40) as u64));
        let Restored { folders, tables } = estate.restore(id, is_whole, cut.as_ref());
        let mut missing = Vec::new();
        for (path, at) in &before.repositories {
            let (storage, name) = path.split_once('/').expect("a storage and a name");
            let folder = folders[usize::from(storage == STORAGES[1])].join(name);
            if folder.exists() {
                self.compare(path, *at, is_whole, &GitRepo::open(&folder));
            } else {
                missing.push(path);
            }
        }
        assert!(missing.is_empty() || !is_whole, "complete backup {id} has no {missing:?}");
        assert!(tables == before.tables || (!is_whole && tables.is_empty()), "{id}: the database");
    }

    fn compare(&self, path: &str, at: usize, is_whole: bool, repo: &GitRepo) {
        let (states, found) = (&self.states[path], repo.state());
        let same = |state: &RepoState| state.differences(&found).is_empty();
        if is_whole || !states[..at].iter().any(same) {
            RepoState::assert_same(&states[at], &found);
        }
        repo.fsck();
    }

    /// Panics unless most runs made a backup, and many of them said that it has all.
    pub fn assert_most_commit(&self) {
        let runs: u64 = self.codes.values().sum();
        let (all, complete) = (self.backups.len() as u64, self.codes.get(&Some(0)).copied().unwrap_or(0));
        assert!(all * 10 >= runs * 6, "only {all} of {runs} runs made a backup");
        assert!(complete * 10 >= runs * 3, "only {complete} of {runs} runs said that they have all");
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
