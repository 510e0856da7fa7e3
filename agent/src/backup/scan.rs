//! Walks a storage beside its base catalogue and hands out repositories in batches.
//!
//! Does not own: reading repositories. Walk and catalogue have the same order, so the catalogue is streamed (`bases`) and
//! each repository meets its own base line; memory does not grow with the number of repositories.

use std::{collections::BTreeSet, sync::Arc};

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{
    Run,
    bases::{Base, Bases},
    discover::{Candidate, Found, Walk},
    watch::Watch,
};

/// Repositories handed over at once.
const BATCH: usize = 32;
/// How far the walk may run ahead of the catalogue.
pub const WINDOW: usize = 65_536;

/// One thing the walk found, with its base and its place in the order.
pub struct Item {
    /// Number in the order of the walk.
    pub number: u64,
    /// The repository, or what is wrong with its path.
    pub found: Result<Candidate, (RepoPath, Problem)>,
    /// What the vault has of it.
    pub base: Option<Base>,
    /// Room in the window.
    pub permit: OwnedSemaphorePermit,
}

/// What the walk came to in the end.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Items handed out.
    pub items: u64,
    /// Names that cannot be stored, with why.
    pub unnamable: Vec<(String, Problem)>,
    /// Included patterns that matched nothing.
    pub unmatched: Vec<String>,
}

/// Walks the storage to its end. Blocking.
pub fn run(
    run: &Arc<Run>,
    bases: Bases,
    watch: &Watch,
    batches: &mpsc::WeakSender<Vec<Item>>,
) -> Result<Scanned, Problem> {
    let mut scan = Scan {
        bases,
        matched: BTreeSet::new(),
        number: 0,
        batch: Vec::with_capacity(BATCH),
        window: Arc::new(Semaphore::new(WINDOW)),
        remarks: Scanned::default(),
    };
    watch.this_thread();
    for found in Walk::new(&run.root, &run.filter)?.flatten() {
        watch.moved(1);
        if run.begins_nothing() {
            return Err(Problem::cancelled("walk storage").on(&run.storage));
        }
        let found = match found {
            Found::Repository(candidate) => Ok(candidate),
            Found::Unusable(path, problem) => Err((path, problem)),
            Found::Unnamable(name, problem) => {
                scan.remarks.unnamable.push((name, problem));
                continue;
            }
        };
        // The base comes from the vault, and room from those who work.
        watch.waiting(|| scan.add(run, found))?;
        if scan.batch.len() == BATCH {
            watch.waiting(|| scan.hand_over(run, batches))?;
        }
    }
    watch.waiting(|| scan.hand_over(run, batches))?;
    scan.check_emptied(run);
    run.progress.found_all();
    let included = run.filter.included().iter().enumerate();
    let unmatched = included.filter(|(at, _)| !scan.matched.contains(at));
    scan.remarks.unmatched = unmatched.map(|(_, pattern)| pattern.to_string()).collect();
    scan.remarks.items = scan.number;
    Ok(scan.remarks)
}

struct Scan {
    bases: Bases,
    matched: BTreeSet<usize>,
    number: u64,
    batch: Vec<Item>,
    window: Arc<Semaphore>,
    remarks: Scanned,
}

impl Scan {
    fn add(&mut self, run: &Run, found: Result<Candidate, (RepoPath, Problem)>) -> Result<(), Problem> {
        let path = match &found {
            Ok(candidate) => &candidate.path,
            Err((path, _)) => path,
        };
        for (at, pattern) in run.filter.included().iter().enumerate() {
            if pattern.matches(path) {
                self.matched.insert(at);
            }
        }
        let base = self.bases.of(path, &run.attempt.id, &run.storage)?;
        let permit = Handle::current().block_on(Arc::clone(&self.window).acquire_owned());
        let permit =
            permit.map_err(|e| Problem::new(ErrorKind::Internal, Subject::Agent, "walk").answered(e))?;
        self.batch.push(Item { number: self.number, found, base, permit });
        self.number += 1;
        Ok(())
    }

    fn hand_over(&mut self, run: &Run, batches: &mpsc::WeakSender<Vec<Item>>) -> Result<(), Problem> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if batch.is_empty() {
            return Ok(());
        }
        let sent = batches.upgrade().and_then(|batches| batches.blocking_send(batch).ok());
        sent.ok_or_else(|| match run.begins_nothing() {
            true => Problem::cancelled("walk storage"),
            false => Problem::new(ErrorKind::Internal, Subject::Agent, "walk storage")
                .answered("nobody reads what was found")
                .next("report this defect with the agent's log"),
        })
    }

    /// A storage that held repositories and holds none now is more likely not mounted than empty.
    fn check_emptied(&mut self, run: &Run) {
        let had_some = self.number == 0 && self.bases.has_more_committed();
        if had_some && run.filter.is_all() {
            let problem = Problem::new(ErrorKind::NotFound, Subject::Host, "find repositories")
                .on(run.root.display())
                .answered("it holds none, and did when the last backup was made")
                .next("check that the file system is mounted; if it is empty for good, the next run is complete");
            self.remarks.unnamable.push(("(whole storage)".into(), problem));
        }
    }
}
