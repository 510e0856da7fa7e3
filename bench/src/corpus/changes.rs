//! Pushes to a copy of a storage: a few commits on `main` of some repositories, left as loose objects.
//!
//! Does not own: what the next increment leaves out, but writes it down while it is still known (`peers::git`).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};

use super::{Storage, random::Random, source_text::Author};
use crate::{
    bench::Bench,
    loops::{JOBS, in_parallel},
    peers,
    programs::Git,
};

/// A storage that changes from night to night.
pub struct Changes<'a> {
    /// The copy that is changed.
    pub storage: Storage,
    /// A folder with what each repository had before the newest changes.
    pub known: PathBuf,
    /// Numbers of the repositories that changed last.
    pub changed: Vec<usize>,
    git: &'a Git,
    random: Random,
    many: usize,
    most_commits: usize,
    time: u64,
}

impl<'a> Changes<'a> {
    /// Copies a storage; each night so many repositories get one commit to so many.
    pub fn open(bench: &'a Bench, storage: &Storage, many: usize, most_commits: usize) -> Result<Self> {
        let git = &bench.programs.git;
        let storage = storage.copied_to(&bench.fresh("changing")?)?;
        let known = bench.fresh("known")?;
        let all: Vec<usize> = (0..storage.repositories.len()).collect();
        peers::git::write_known(git, &storage.repositories, &all, &known)?;
        let (random, time) = (Random::new(5), 1_700_000_000);
        Ok(Self { storage, known, changed: Vec::new(), git, random, many, most_commits, time })
    }

    /// One night.
    pub fn next(&mut self) -> Result<()> {
        peers::git::write_known(self.git, &self.storage.repositories, &self.changed, &self.known)?;
        self.changed.clear();
        while self.changed.len() < self.many {
            let number = self.random.below(self.storage.repositories.len());
            if !self.changed.contains(&number) {
                self.changed.push(number);
            }
        }
        self.time += 86_400;
        let seed = self.random.next();
        in_parallel(JOBS, &self.changed, |_, number| {
            let mut random = Random::new(seed ^ *number as u64);
            let commits = random.between(1, self.most_commits);
            push(self.git, &self.storage.repositories[*number], &mut random, commits, self.time)
        })
    }
}

/// Edits one file of a repository, in so many commits.
fn push(git: &Git, repository: &Path, random: &mut Random, commits: usize, time: u64) -> Result<()> {
    let tree = git.output(repository, &["ls-tree", "-r", "-z", "--name-only", "main"])?;
    let paths: Vec<&[u8]> = tree.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    ensure!(!paths.is_empty(), "{} has no files", repository.display());
    let path = std::str::from_utf8(paths[random.below(paths.len())]).context("a path is UTF-8")?;
    let text = git.output(repository, &["cat-file", "blob", &format!("main:{path}")])?;
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&text).split_inclusive('\n').map(str::to_owned).collect();
    let author = Author::new(random, 300);
    let mut stream = Vec::new();
    for number in 0..commits {
        author.edit(random, &mut lines);
        let content = lines.concat();
        let date = time + number as u64 * 60;
        writeln!(stream, "commit refs/heads/main\ncommitter Bench <bench@example.com> {date} +0000")?;
        writeln!(stream, "data 5\nNight")?;
        if number == 0 {
            writeln!(stream, "from refs/heads/main^0")?;
        }
        write!(stream, "M 100644 inline {path}\ndata {}\n{content}\n", content.len())?;
    }
    import(git, repository, &stream)
}

fn import(git: &Git, repository: &Path, stream: &[u8]) -> Result<()> {
    let mut command = git.command(repository);
    let mut child = command.args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("git fast-import has a stdin")?.write_all(stream)?;
    let status = child.wait().context("wait for git fast-import")?;
    ensure!(status.success(), "git fast-import in {}: {status}", repository.display());
    Ok(())
}
