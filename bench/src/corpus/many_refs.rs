//! One repository of 200,000 refs, as old projects on GitLab have them: merge requests, pipelines, commits kept around.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{
    Storage, cached,
    history::{Change, History},
    random::Random,
    source_text::Author,
};
use crate::bench::Bench;

const COMMITS: usize = 40_000;
const REFS: usize = 200_000;
const TAGS: usize = 1_000;

/// Makes it, or finds it.
pub fn many_refs(bench: &Bench) -> Result<Storage> {
    let storage = cached(bench, "refs-1", |dir| {
        let git = &bench.programs.git;
        let repository = dir.join("refs.git");
        let commits = write_history(History::create(git, &repository)?)?;
        git.run(&repository, &["pack-refs", "--all"])?;
        add_refs(&repository, &commits)?;
        // Sorts the file that was only appended to.
        git.run(&repository, &["pack-refs", "--all"])?;
        git.run(&repository, &["repack", "-a", "-d", "-f", "-b", "-q"])?;
        git.run(&repository, &["commit-graph", "write", "--reachable"])
    })?;
    Ok(Storage::of(storage, ["refs.git"]))
}

fn write_history(mut history: History) -> Result<Vec<String>> {
    let mut random = Random::new(200);
    let author = Author::new(&mut random, 1_000);
    let mut files: Vec<_> = (0..64).map(|_| author.file(&mut random, 30)).collect();
    let mut tip = None;
    for number in 0..COMMITS {
        let at = random.below(files.len());
        author.edit(&mut random, &mut files[at]);
        files[at].truncate(60);
        let change =
            Change { path: format!("src/{}/{at}.go", at % 8), content: files[at].concat().into_bytes() };
        let parents: Vec<_> = tip.into_iter().collect();
        let commit = history.commit("main", &parents, &[change])?;
        if number.is_multiple_of(COMMITS / TAGS) {
            history.tag(&format!("v{number}"), commit)?;
        }
        tip = Some(commit);
    }
    history.finish()
}

/// Writes refs straight to the file, which is minutes faster than any command of git.
fn add_refs(repository: &Path, commits: &[String]) -> Result<()> {
    let mut random = Random::new(7);
    let path = repository.join("packed-refs");
    let old = std::fs::read_to_string(&path).context("read packed-refs")?;
    let mut file = BufWriter::new(File::create(&path).context("write packed-refs")?);
    // Without the first line, git neither relies on the order nor on what tags point to.
    for line in old.lines().filter(|line| !line.starts_with('#')) {
        writeln!(file, "{line}")?;
    }
    for commit in commits {
        writeln!(file, "{commit} refs/keep-around/{commit}")?;
    }
    // One for main.
    for number in 0..REFS - TAGS - 1 - commits.len() {
        let kind = if number.is_multiple_of(2) { "merge-requests" } else { "pipelines" };
        let suffix = if number.is_multiple_of(2) { "/head" } else { "" };
        writeln!(file, "{} refs/{kind}/{number}{suffix}", commits[random.below(commits.len())])?;
    }
    file.flush().context("write packed-refs")
}
