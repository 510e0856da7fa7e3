//! What is measured: one file for each, all with the same shape: prepare, then compare.

mod full;
mod ours;
mod restore;
mod small;

use anyhow::Result;

use crate::{
    args::{Args, Topic},
    bench::Bench,
    corpus::{self, Repository},
    measure::Row,
    programs::Git,
};

/// Repositories below this size have no goal: starting programs would be most of what is measured.
const LARGE: u64 = 100_000_000;

/// One measurement to be made.
pub enum Work {
    /// Full backup of one repository.
    Full(Repository),
    /// Full backup of many small ones.
    Small,
    /// Backup of them when nothing has changed.
    Unchanged,
    /// Full backup of many refs, with this git.
    Refs(Git),
    /// Restore of one repository.
    Restore(Repository),
}

/// What the command line asks for. Makes the large repository where it is needed.
pub fn selected(args: &Args, bench: &Bench) -> Result<Vec<Work>> {
    let wanted = |topic| args.only.is_empty() || args.only.contains(&topic);
    let mut single = Vec::new();
    if wanted(Topic::Full) || wanted(Topic::Restore) {
        single.push(corpus::large(bench)?);
        if let Some(dir) = &args.real {
            single.extend(corpus::real(dir)?);
        }
    }
    let mut works = Vec::new();
    if wanted(Topic::Full) {
        works.extend(single.iter().cloned().map(Work::Full));
    }
    if wanted(Topic::Small) {
        works.push(Work::Small);
    }
    if wanted(Topic::Unchanged) {
        works.push(Work::Unchanged);
    }
    if wanted(Topic::Refs) {
        works.push(Work::Refs(bench.programs.git.clone()));
        works.extend(bench.programs.other_git.clone().map(Work::Refs));
    }
    if wanted(Topic::Restore) {
        works.extend(single.into_iter().map(Work::Restore));
    }
    Ok(works)
}

impl Work {
    /// What the table calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Full(repository) => format!("full, {}", repository.title),
            Self::Small => "full, 2,000 small".to_owned(),
            Self::Unchanged => "unchanged, 2,000 small".to_owned(),
            Self::Refs(git) => format!("full, 200,000 refs, git {}", git.version),
            Self::Restore(repository) => format!("restore, {}", repository.title),
        }
    }

    /// Measures it.
    pub fn run(&self, bench: &Bench) -> Result<Row> {
        match self {
            Self::Full(repository) => full::repository(bench, self.name(), repository),
            Self::Small => small::full(bench, self.name()),
            Self::Unchanged => small::unchanged(bench, self.name()),
            Self::Refs(git) => full::refs(bench, self.name(), git),
            Self::Restore(repository) => restore::repository(bench, self.name(), repository),
        }
    }
}
