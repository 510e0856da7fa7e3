//! One repository, from its catalogue entry to its place: fetch → build → objects → refs → hooks → place.
//!
//! Does not own: the steps. Nothing of the target is touched before the last of them; whatever fails before that
//! leaves only a temporary folder, which is removed.

use std::fs;

use packhorse_model::{ErrorKind, Outcome, Problem, Subject};
use packhorse_vault::CatalogueEntry;

use crate::restore::{
    Restore, build, fetch, fetch::Wanted, hooks, objects::Objects, optimise, place::Place, ref_check, refs,
};

/// What became of one repository.
pub(super) struct Restored {
    /// Whether it was put in place.
    pub placed: bool,
    /// What has to be told, also about a repository that was put in place.
    pub problem: Option<Problem>,
}

impl Restore {
    /// Restores one repository; `number` tells it from the others of this restore. Blocking.
    pub(super) fn repository(&self, entry: &CatalogueEntry, number: u64) -> Restored {
        if entry.outcome == Outcome::Failed && entry.manifest.is_none() {
            return Restored { placed: false, problem: Some(never_backed_up(entry)) };
        }
        match self.try_repository(entry, number) {
            Ok(placed) if entry.outcome == Outcome::Failed => {
                Restored { placed, problem: Some(from_older_backup(entry)) }
            }
            Ok(placed) => Restored { placed, problem: None },
            Err(problem) => Restored { placed: false, problem: Some(problem) },
        }
    }

    fn try_repository(&self, entry: &CatalogueEntry, number: u64) -> Result<bool, Problem> {
        Place::find(&self.job.root, &entry.path, self.job.force)?;
        let wanted = fetch::fetch(&self.vault, entry);
        let Some(wanted) = self.git.unless_stopped("restore repository", wanted)?? else { return Ok(false) };
        self.progress.add_bytes(wanted.bytes);
        let done = self.make_and_place(&wanted, entry, number);
        if done.is_err() {
            let _ = fs::remove_dir_all(self.workshop.repository(number));
        }
        done.map(|()| true)
    }

    fn make_and_place(&self, wanted: &Wanted, entry: &CatalogueEntry, number: u64) -> Result<(), Problem> {
        let repository = &self.workshop.repository(number);
        ref_check::check(&wanted.refs)?;
        let storage = build::build(repository, &wanted.refs, &self.git)?;
        let remark = |problem| self.remark(&entry.path, problem);
        let objects = Objects {
            vault: &self.vault,
            manifest: &wanted.manifest,
            format: wanted.refs.object_format,
            repository,
            git: &self.git,
            progress: &self.progress,
            remark: &remark,
        };
        let brought = objects.restore()?;
        refs::write(repository, &wanted.refs, storage, &brought, &self.git)?;
        if self.job.optimise {
            optimise::optimise(repository, storage, &self.git, &remark)?;
        }
        if let Some(archive) = &wanted.hooks {
            hooks::unpack(repository, archive)?;
        }
        self.owner.give_repository(repository)?;
        if self.git.is_stopped() {
            return Err(Problem::cancelled("restore repository"));
        }
        let place = Place::find(&self.job.root, &entry.path, self.job.force)?;
        place.put(repository, &entry.path, &self.owner)
    }
}

fn never_backed_up(entry: &CatalogueEntry) -> Problem {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Repository, "restore repository")
        .on(&entry.path)
        .leaving("nothing was restored");
    match &entry.error {
        Some(error) => {
            problem.answered(format!("it has never been backed up; this backup's run said: {error}"))
        }
        None => problem.answered("it has never been backed up"),
    }
}

fn from_older_backup(entry: &CatalogueEntry) -> Problem {
    let why = entry.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    Problem::new(ErrorKind::NotFound, Subject::Repository, "restore repository")
        .on(&entry.path)
        .answered(format!("restored as of an older backup, because this backup's run failed on it{why}"))
        .leaving(format!(
            "restored as of an older backup, from {}",
            entry.manifest.as_deref().unwrap_or("its last good manifest")
        ))
        .next("look whether another backup has what is missing")
}
