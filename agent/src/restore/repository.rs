//! One repository, from its catalogue entry to its place: fetch → build → objects → refs → hooks → place.
//!
//! Does not own: the steps. Nothing of the target is touched before the last of them; whatever fails before that
//! leaves only a temporary folder, which is removed.

use std::{
    collections::BTreeSet,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use bytes::Bytes;
use packhorse_model::{ErrorKind, Outcome, Problem, Subject};
use packhorse_vault::{CatalogueEntry, Damage, LastGood, ObjectKey, RefStorage};
use tokio::{runtime::Handle, sync::SemaphorePermit};

use crate::restore::{
    Restore,
    already::spot,
    build, fetch,
    fetch::Wanted,
    hooks,
    objects::{Brought, Objects},
    optimise,
    place::Place,
    refs::Refs,
    remove::remove_tree,
};

/// Bytes of refs from which on they are read and checked beside the objects.
const MANY_REFS: u64 = 1 << 20;

/// What became of one repository.
pub(super) struct Restored {
    /// Whether it was put in place.
    pub placed: bool,
    /// What has to be told, also about a repository that was put in place.
    pub problem: Option<Problem>,
}

/// How one turn of a repository ended.
pub(super) enum Turn {
    /// It is dealt with.
    Done(Restored),
    /// Others borrow objects from the one that is in its place: they have to be replaced first.
    Lends(BTreeSet<PathBuf>),
}

impl Restore {
    /// Restores one repository; `number` tells it from the others of this restore. Blocking.
    pub(super) fn repository(&self, entry: &CatalogueEntry, number: u64) -> Turn {
        let held = Held::of(entry, self.job.last_good);
        if held.is_nothing {
            return Turn::Done(Restored { placed: false, problem: held.missing });
        }
        let ended = match self.look(entry, held.last_good.as_ref()) {
            Ok((_, borrowers)) if !borrowers.is_empty() => return Turn::Lends(borrowers),
            Ok((place, _)) => self.try_repository(entry, held.last_good.as_ref(), (number, place)),
            Err(problem) => Err(problem),
        };
        Turn::Done(match ended {
            Ok(Restored { placed, problem }) => Restored {
                placed,
                problem: both(held.missing, problem.map(|problem| problem.on(&entry.path))),
            },
            Err(problem) => Restored { placed: false, problem: Some(problem) },
        })
    }

    /// Where the repository goes, and who borrows from the one that it replaces.
    fn look(
        &self,
        entry: &CatalogueEntry,
        last_good: Option<&LastGood>,
    ) -> Result<(Option<Place>, BTreeSet<PathBuf>), Problem> {
        let place = spot(&self.job, entry, last_good, &self.cancel)?;
        let replaces = place.as_ref().is_some_and(Place::is_taken);
        let borrowers = if replaces { self.borrowers.of(&entry.path)? } else { BTreeSet::new() };
        Ok((place, borrowers))
    }

    fn try_repository(
        &self,
        entry: &CatalogueEntry,
        last_good: Option<&LastGood>,
        (number, place): (u64, Option<Place>),
    ) -> Result<Restored, Problem> {
        let Some(place) = place else {
            self.progress.already();
            return Ok(Restored { placed: false, problem: None });
        };
        let wanted = fetch::fetch(&self.vault, entry, last_good);
        let Some(wanted) = self.git.unless_stopped("restore repository", wanted)?? else {
            return Ok(Restored { placed: false, problem: None });
        };
        self.progress.add_bytes(wanted.bytes);
        let _large = if self.job.optimise || !wanted.is_small() { self.turn_of_large()? } else { None };
        let done = self.make_and_place(&wanted, entry, (number, &place));
        if done.is_err() {
            let _ = remove_tree(&self.workshop.repository(number));
        }
        done.map(|problem| Restored { placed: true, problem })
    }

    /// Waits until one more may be restored that is not small; a disk that fails gets no more. The semaphore is never
    /// closed.
    fn turn_of_large(&self) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let turn = self.broken.run_until_cancelled(self.large.acquire());
        let turn = self.git.unless_stopped("restore repository", turn)?;
        turn.map(Result::ok).ok_or_else(|| Problem::cancelled("restore repository"))
    }

    /// Also says what the repository that is in place lacks.
    fn make_and_place(
        &self,
        wanted: &Wanted,
        entry: &CatalogueEntry,
        (number, place): (u64, &Place),
    ) -> Result<Option<Problem>, Problem> {
        let repository = &self.workshop.repository(number);
        let remark = |problem| self.remark(&entry.path, problem);
        let make = || self.make(wanted, repository, &remark);
        let (rest, (storage, brought)) = if wanted.size_of_refs().is_some_and(|size| size >= MANY_REFS) {
            beside(|| self.rest(wanted), make)?
        } else {
            (self.rest(wanted)?, make()?)
        };
        rest.refs.write(repository, storage, &brought, &self.git)?;
        if self.job.optimise {
            optimise::optimise(repository, storage, &self.git, &remark)?;
        }
        if let Some(archive) = &rest.hooks {
            hooks::unpack(repository, archive)?;
        }
        self.owner.give_repository(repository)?;
        if self.git.is_stopped() {
            return Err(Problem::cancelled("restore repository"));
        }
        place.put(repository, &entry.path, &self.owner)?;
        Ok(rest.refs.what_is_left_out())
    }
}

/// What a backup has of one repository, and what is missing from that: known before anything of it is fetched.
pub(super) struct Held {
    /// The state to restore instead of the newest one.
    pub last_good: Option<LastGood>,
    /// Whether there is nothing to restore.
    pub is_nothing: bool,
    /// What has to be told of it, also when it is put in place.
    pub missing: Option<Problem>,
}

impl Held {
    /// What the entry's backup has; `as_last_good` asks for the last state of which nothing was left out.
    pub(super) fn of(entry: &CatalogueEntry, as_last_good: bool) -> Self {
        let is_older = matches!(entry.outcome, Outcome::Failed | Outcome::Gone);
        if is_older && entry.manifest.is_none() {
            return Self { last_good: None, is_nothing: true, missing: Some(never_backed_up(entry)) };
        }
        match entry.last_good().filter(|_| as_last_good) {
            // That is what was asked for.
            Some(last_good) => Self { last_good: Some(last_good), is_nothing: false, missing: None },
            None => Self { last_good: None, is_nothing: false, missing: what_is_missing(entry) },
        }
    }
}

/// Refs that are checked, and hooks.
struct Rest {
    refs: Refs,
    hooks: Option<Bytes>,
}

impl Restore {
    /// What there is beside the objects, of which nothing is written before all of it is proven.
    fn rest(&self, wanted: &Wanted) -> Result<Rest, Problem> {
        let rest = wanted.fetch_rest(&self.vault);
        let (refs, hooks, bytes) = self.git.unless_stopped("restore repository", rest)??;
        self.progress.add_bytes(bytes);
        Ok(Rest { refs: Refs::check(refs)?, hooks })
    }

    /// A repository that has all objects and no refs.
    fn make(
        &self,
        wanted: &Wanted,
        repository: &Path,
        remark: &dyn Fn(Problem),
    ) -> Result<(RefStorage, Brought), Problem> {
        let storage = build::build(repository, wanted.format, wanted.ref_storage(), &self.git)?;
        let objects = Objects {
            vault: &self.vault,
            manifest: &wanted.manifest,
            format: wanted.format,
            repository,
            git: &self.git,
            progress: &self.progress,
            remark,
        };
        Ok((storage, objects.restore()?))
    }
}

/// Does `first` on a thread of its own while `second` is done; what is wrong with the first is told first.
fn beside<A: Send, B>(
    first: impl FnOnce() -> Result<A, Problem> + Send,
    second: impl FnOnce() -> Result<B, Problem>,
) -> Result<(A, B), Problem> {
    let runtime = Handle::current();
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            let _runtime = runtime.enter();
            first()
        });
        let second = second();
        let first = first.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok((first, second?))
    })
}

/// All that has to be told of one repository, as one problem.
fn both(first: Option<Problem>, second: Option<Problem>) -> Option<Problem> {
    match (first, second) {
        (Some(first), Some(second)) => {
            let answers = [&first.answer, &second.answer].map(|answer| answer.as_deref().unwrap_or_default());
            let answer = answers.join("; ");
            Some(first.answered(answer))
        }
        (first, second) => first.or(second),
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

/// What a repository that was put in place lacks.
fn what_is_missing(entry: &CatalogueEntry) -> Option<Problem> {
    match (entry.outcome, &entry.damage) {
        (Outcome::Failed | Outcome::Gone, _) => Some(from_older_backup(entry)),
        (_, Some(damage)) => Some(left_out(entry, damage)),
        _ => None,
    }
}

fn left_out_of(damage: &Damage) -> String {
    match damage.left_out.first() {
        Some(first) if damage.total == 1 => format!("{} was", first.name),
        _ => format!("{} refs were", damage.total),
    }
}

fn left_out(entry: &CatalogueEntry, damage: &Damage) -> Problem {
    let why = entry.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    let next = match &damage.last_good {
        Some(_) => "restore it with --as-of-last-good, too, into another storage: that state lacks nothing",
        None => "look whether another backup has what is missing",
    };
    Problem::new(ErrorKind::NotFound, Subject::Repository, "restore repository")
        .on(&entry.path)
        .answered(format!("it was damaged when it was backed up, and {} left out{why}", left_out_of(damage)))
        .leaving("everything else of it was restored")
        .next(next)
}

/// The run that stored what is restored. That it committed a backup is not known here.
fn run_of(entry: &CatalogueEntry) -> String {
    let manifest = entry.manifest.clone().unwrap_or_default();
    ObjectKey::run_of_manifest(&manifest).map_or(manifest, String::from)
}

fn from_older_backup(entry: &CatalogueEntry) -> Problem {
    let why = match (&entry.error, entry.outcome) {
        (_, Outcome::Gone) => "it was not there when this backup was made".to_owned(),
        (Some(error), _) => format!("this backup's run failed on it: {error}"),
        (None, _) => "this backup's run failed on it".to_owned(),
    };
    let lacks = match &entry.damage {
        Some(damage) => format!("; it was damaged then, and {} left out", left_out_of(damage)),
        None => String::new(),
    };
    Problem::new(ErrorKind::NotFound, Subject::Repository, "restore repository")
        .on(&entry.path)
        .answered(format!("restored as of an older backup, because {why}{lacks}"))
        .leaving(format!("restored as of an older backup, as run {} has stored it", run_of(entry)))
        .next("look whether another backup has what is missing")
}
