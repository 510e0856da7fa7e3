//! 2,000 repositories of 20 to 200 commits, laid out and packed as a GitLab storage after housekeeping.

use std::path::Path;

use anyhow::Result;

use super::{
    Storage, cached,
    history::{Change, History},
    random::Random,
    source_text::Author,
};
use crate::{
    bench::Bench,
    loops::{JOBS, in_parallel},
    programs::Git,
};

const REPOSITORIES: u64 = 2_000;

/// Makes them, or finds them.
pub fn small(bench: &Bench) -> Result<Storage> {
    let storage = cached(bench, "small-2", |dir| {
        let git = &bench.programs.git;
        let paths: Vec<_> = names().map(|name| dir.join(name)).collect();
        in_parallel(JOBS, &paths, |number, path| make(git, path, number as u64))
    })?;
    Ok(Storage::of(storage, names()))
}

/// Like GitLab's hashed storage.
fn names() -> impl Iterator<Item = String> {
    (0..REPOSITORIES).map(|number| {
        let mut random = Random::new(number);
        let hash: String = (0..4).map(|_| format!("{:016x}", random.next())).collect();
        format!("@hashed/{}/{}/{hash}.git", &hash[..2], &hash[2..4])
    })
}

fn make(git: &Git, path: &Path, seed: u64) -> Result<()> {
    write_history(History::create(git, path)?, seed)?;
    git.run(path, &["repack", "-a", "-d", "-f", "-b", "-q"])?;
    git.run(path, &["pack-refs", "--all"])
}

fn write_history(mut history: History, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let author = Author::new(&mut random, 300);
    let mut files: Vec<_> = (0..random.between(3, 25)).map(|_| author.file(&mut random, 60)).collect();
    let change = |number: usize, text: &[String]| Change {
        path: format!("lib/{}/file{number}.rb", number % 3),
        content: text.concat().into_bytes(),
    };
    let first: Vec<Change> = files.iter().enumerate().map(|(number, text)| change(number, text)).collect();
    let mut tip = history.commit("main", &[], &first)?;
    for number in 1..random.between(20, 200) {
        let at = random.below(files.len());
        author.edit(&mut random, &mut files[at]);
        tip = history.commit("main", &[tip], &[change(at, &files[at])])?;
        if number.is_multiple_of(20) {
            history.point(&format!("refs/heads/topic-{number}"), tip)?;
            history.point(&format!("refs/merge-requests/{number}/head"), tip)?;
        }
        if number.is_multiple_of(30) {
            history.tag(&format!("v{number}"), tip)?;
        }
    }
    history.finish()?;
    Ok(())
}
