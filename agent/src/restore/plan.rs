//! What a restore of one storage would do, and what stands in its way: looked at before anything is written.
//!
//! Does not own: the restore (`run`), or whether it is begun; the coordinator decides, for all that is restored together.
//! Entries are selected, and their places looked at, by the code that the restore itself uses, so a plan says what the
//! restore will find unless somebody changes it meanwhile. Nothing is written or removed. Memory does not grow with the
//! number of repositories: failures are counted, and the first of them named.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use packhorse_model::{Component, ErrorKind, ItemFailure, Problem, RunSummary};
use packhorse_service::places::{Room, room};
use packhorse_vault::{CatalogueEntry, Vault};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use crate::restore::{
    RestoreJob, Unmatched,
    already::spot,
    borrowers::{Borrowers, lends},
    io_problem::{io_problem, task_problem},
    place::Place,
    repository::Held,
    run::{Entries, blocking, check_root, next},
    select::Selection,
};

/// What a restore of a storage would do.
#[derive(Clone, Debug, Default)]
pub struct StoragePlan {
    /// Repositories that come to a free place.
    pub added: u64,
    /// Repositories that take the place of others.
    pub replaced: u64,
    /// Repositories that are there already, and stay.
    pub already: u64,
    /// Repositories whose place may not be taken.
    pub refused: u64,
    /// Bytes in the vault of those that come.
    pub bytes: u64,
    /// Bytes that there has to be room for, at least.
    pub needed: u64,
    /// Where the storage lies.
    pub room: Option<Room>,
    /// What would be missing, as the restore will tell; capped.
    pub failures: Vec<ItemFailure>,
    /// How many of these there are.
    pub failures_total: u64,
    /// What keeps the storage from being restored into.
    pub problems: Vec<Problem>,
    /// Included patterns that cover nothing.
    pub unmatched: Vec<Unmatched>,
    /// Excluded patterns that cover nothing.
    pub unmatched_excluded: Vec<Unmatched>,
}

/// Plans the restore of the selected repositories of one storage.
pub async fn plan_storage(
    vault: &Vault,
    job: RestoreJob,
    cancel: CancellationToken,
) -> Result<StoragePlan, Problem> {
    let selection = Arc::new(Selection::open(vault, &job).await?);
    let surveyed = Arc::clone(&selection);
    let survey = blocking(move || surveyed.survey()).await?;
    let (unmatched, unmatched_excluded) = (survey.unmatched, survey.unmatched_excluded);
    if let Err(problem) = check_root(&job) {
        let problems = vec![problem];
        return Ok(StoragePlan { problems, unmatched, unmatched_excluded, ..StoragePlan::default() });
    }
    let root = job.root.clone();
    let (problems, room) = blocking(move || Ok((unwritable(&root), room(&root).ok()))).await?;
    let borrowers = Borrowers::new(&job.root);
    let look = Arc::new(Look { job, cancel, borrowers, tally: Mutex::default() });
    look_at_all(&look, selection).await?;
    look.refuse_lenders();
    if look.cancel.is_cancelled() {
        return Err(Problem::cancelled("plan restore").on(&look.job.target));
    }
    let tally = std::mem::take(&mut *look.tally());
    let needed = tally.needed();
    Ok(StoragePlan { needed, room, problems, unmatched, unmatched_excluded, ..tally.plan })
}

/// What keeps this process from writing into the storage, as far as that shows without writing.
fn unwritable(root: &Path) -> Vec<Problem> {
    let folders = [root.to_owned(), root.join("+packhorse")];
    let closed = folders.iter().filter(|folder| folder.is_dir()).filter_map(|folder| {
        let error = accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).err()?;
        Some(io_problem("write to storage", folder.display(), &error.into()))
    });
    closed.collect()
}

async fn look_at_all(look: &Arc<Look>, selection: Arc<Selection>) -> Result<(), Problem> {
    let (sender, entries) = mpsc::channel::<CatalogueEntry>(16);
    let reading = spawn_blocking(move || selection.send(&sender));
    let entries: Arc<Entries> = Arc::new(Mutex::new((0, entries)));
    let mut workers = JoinSet::new();
    for _ in 0..look.job.jobs.max(1) {
        let (look, entries) = (Arc::clone(look), Arc::clone(&entries));
        workers.spawn_blocking(move || {
            while !look.cancel.is_cancelled()
                && let Some((_, entry)) = next(&entries)
            {
                look.at(&entry);
            }
        });
    }
    drop(entries);
    let mut all = Ok(());
    while let Some(ended) = workers.join_next().await {
        all = all.and(ended.map_err(|e| task_problem("plan restore", &e)));
    }
    all.and(reading.await.map_err(|e| task_problem("read catalogue", &e))?)
}

/// One look at all selected entries.
struct Look {
    job: RestoreJob,
    cancel: CancellationToken,
    borrowers: Borrowers,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    plan: StoragePlan,
    added_bytes: u64,
    largest_replaced: u64,
    /// Those that lend objects, and who borrows them.
    lenders: Vec<(CatalogueEntry, BTreeSet<PathBuf>)>,
    /// Which of the borrowers are replaced, too.
    replaced: HashSet<PathBuf>,
}

impl Tally {
    /// The old repository is there until the new one is whole, and is removed then: so the largest that is replaced needs
    /// room, and all that have no place yet.
    fn needed(&self) -> u64 {
        self.added_bytes.saturating_add(self.largest_replaced)
    }
}

impl Look {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks where one repository would go. Blocking.
    fn at(&self, entry: &CatalogueEntry) {
        let held = Held::of(entry, self.job.last_good);
        let found = match held.is_nothing {
            true => None,
            false => Some(spot(&self.job, entry, held.last_good.as_ref(), &self.cancel)),
        };
        let is_refused = matches!(found, Some(Err(_)));
        if let Some(missing) = held.missing.filter(|_| !is_refused) {
            self.fail(entry, missing);
        }
        if let Some(found) = found {
            self.count(entry, found);
        }
    }

    fn count(&self, entry: &CatalogueEntry, found: Result<Option<Place>, Problem>) {
        let bytes = entry.bytes_total;
        match found {
            Ok(None) => self.tally().plan.already += 1,
            Ok(Some(place)) if place.is_taken() => match self.borrowers.of(&entry.path) {
                Ok(borrowers) => self.count_replaced(entry, borrowers),
                Err(problem) => self.count(entry, Err(problem)),
            },
            Ok(Some(_)) => {
                let mut tally = self.tally();
                tally.plan.added += 1;
                tally.plan.bytes += bytes;
                tally.added_bytes += bytes;
            }
            Err(problem) if problem.kind == ErrorKind::Cancelled => {}
            Err(problem) => {
                self.tally().plan.refused += 1;
                self.fail(entry, problem);
            }
        }
    }

    fn count_replaced(&self, entry: &CatalogueEntry, borrowers: BTreeSet<PathBuf>) {
        let mut tally = self.tally();
        tally.plan.replaced += 1;
        tally.plan.bytes += entry.bytes_total;
        tally.largest_replaced = tally.largest_replaced.max(entry.bytes_total);
        if self.borrowers.borrows(&entry.path) {
            tally.replaced.insert(PathBuf::from(entry.path.as_str()));
        }
        if !borrowers.is_empty() {
            tally.lenders.push((entry.clone(), borrowers));
        }
    }

    /// Refuses to replace those from which somebody borrows who is not replaced, too. Whoever borrows from a borrower is
    /// among the borrowers, so each is looked at once.
    fn refuse_lenders(&self) {
        let (lenders, replaced) = {
            let mut tally = self.tally();
            (std::mem::take(&mut tally.lenders), std::mem::take(&mut tally.replaced))
        };
        for (entry, mut borrowers) in lenders {
            borrowers.retain(|borrower| !replaced.contains(borrower));
            if borrowers.is_empty() {
                continue;
            }
            {
                let plan = &mut self.tally().plan;
                plan.replaced -= 1;
                plan.refused += 1;
                plan.bytes -= entry.bytes_total;
            }
            self.fail(&entry, lends(&entry.path, &borrowers));
        }
    }

    fn fail(&self, entry: &CatalogueEntry, problem: Problem) {
        let plan = &mut self.tally().plan;
        plan.failures_total += 1;
        if plan.failures.len() < RunSummary::MAX_FAILURES {
            let (storage, item) = (Some(self.job.target.to_string()), entry.path.to_string());
            plan.failures.push(ItemFailure { component: Component::Repositories, storage, item, problem });
        }
    }
}
