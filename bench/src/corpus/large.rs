//! One packed repository above 100 MB: several thousand commits to some hundreds of files that look like source code,
//! with topic branches that are merged, tags, imports of other people's code, and some binary files.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    Storage, cached,
    history::{Change, History},
    random::Random,
    source_text::{Author, Lines},
};
use crate::{bench::Bench, programs::Git};

const COMMITS: usize = 6_000;
const FILES_AT_START: usize = 300;

/// Makes it, or finds it.
pub fn large(bench: &Bench) -> Result<Storage> {
    let storage = cached(bench, "large-2", |dir| {
        let repository = dir.join("large.git");
        write_history(History::create(&bench.programs.git, &repository)?)?;
        pack(&bench.programs.git, &repository)
    })?;
    Ok(Storage::of(storage, ["large.git"]))
}

/// Deltas are searched once, in a small window to save time, and stay as they are when git packs again.
fn pack(git: &Git, repository: &std::path::Path) -> Result<()> {
    git.run(repository, &["repack", "-a", "-d", "-f", "-b", "-q", "--window=6", "--depth=40"])?;
    git.run(repository, &["pack-refs", "--all"])?;
    git.run(repository, &["commit-graph", "write", "--reachable"])
}

/// The tree as it grows.
struct Tree {
    random: Random,
    author: Author,
    files: BTreeMap<String, Lines>,
    paths: Vec<String>,
}

impl Tree {
    fn new_file(&mut self, folder: &str, lines: usize) -> Change {
        let path = format!("{folder}/part{}/file{}.rs", self.paths.len() / 20 % 16, self.paths.len());
        let text = self.author.file(&mut self.random, lines);
        let change = Change { path: path.clone(), content: text.concat().into_bytes() };
        self.files.insert(path.clone(), text);
        self.paths.push(path);
        change
    }

    /// Edits of one to four files, most of them among those that were last added.
    fn edits(&mut self) -> Vec<Change> {
        let mut changes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for _ in 0..self.random.between(1, 4) {
            let path = &self.paths[self.paths.len() - 1 - self.random.skewed(self.paths.len())];
            if let Some(text) = self.files.get_mut(path) {
                self.author.edit(&mut self.random, text);
                changes.insert(path.clone(), text.concat().into_bytes());
            }
        }
        changes.into_iter().map(|(path, content)| Change { path, content }).collect()
    }

    /// What a commit changes beside its edits.
    fn additions(&mut self, number: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        if number.is_multiple_of(5) {
            changes.push(self.new_file("src", 220));
        }
        if number.is_multiple_of(45) {
            let size = self.random.between(100_000, 1_100_000);
            let path = format!("assets/image{}.png", number / 45 % 40);
            changes.push(Change { path, content: self.random.bytes(size) });
        }
        if number.is_multiple_of(150) {
            let folder = format!("vendor/lib{}", number / 150 % 8);
            for file in 0..40 {
                let text = self.author.file(&mut self.random, 900);
                changes
                    .push(Change { path: format!("{folder}/{file}.c"), content: text.concat().into_bytes() });
            }
        }
        changes
    }
}

fn write_history(mut history: History) -> Result<()> {
    let mut random = Random::new(2026);
    let author = Author::new(&mut random, 6_000);
    let mut tree = Tree { random, author, files: BTreeMap::new(), paths: Vec::new() };
    let first: Vec<Change> = (0..FILES_AT_START).map(|_| tree.new_file("src", 160)).collect();
    let mut tip = history.commit("main", &[], &first)?;
    for number in 1..COMMITS {
        let mut changes = tree.edits();
        changes.extend(tree.additions(number));
        if number.is_multiple_of(12) {
            let topic = history.commit(&format!("topic-{}", number % 600), &[tip], &changes)?;
            history.point(&format!("refs/merge-requests/{}/head", number / 12), topic)?;
            tip = history.commit("main", &[tip, topic], &changes)?;
        } else {
            tip = history.commit("main", &[tip], &changes)?;
        }
        if number.is_multiple_of(100) {
            history.tag(&format!("v1.{}", number / 100), tip)?;
        }
    }
    history.finish()?;
    Ok(())
}
