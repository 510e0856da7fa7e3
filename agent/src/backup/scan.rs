//! Walks a storage beside its base catalogue and hands out repositories in batches.
//!
//! Does not own: reading repositories. Walk and catalogue have the same order, so the catalogue is streamed (`bases`) and
//! each repository meets its own base line; memory grows by eight bytes with each repository (`moved`). A base line that meets
//! none is handed out as well (`absent`), so every path that the base has is in the new catalogue.

use std::{collections::BTreeSet, sync::Arc};

use packhorse_model::{ErrorKind, Outcome, PassedOver, Problem, RepoFilter, RepoPath, Subject, nearest};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{
    Run, absent,
    bases::{Base, Bases, InBase, Known},
    discover::{Candidate, Found, Walk},
    moved::Met,
    watch::Watch,
};

/// Repositories handed over at once.
const BATCH: usize = 32;
/// How far the walk may run ahead of the catalogue.
pub const WINDOW: usize = 65_536;

/// What there is at a path.
pub enum Sight {
    /// A repository.
    Repository(Candidate),
    /// Something that cannot be backed up.
    Unusable(RepoPath, Problem),
    /// Nothing any more: the base has it, and it was deleted.
    Gone(RepoPath),
}

impl Sight {
    fn path(&self) -> &RepoPath {
        match self {
            Self::Repository(candidate) => &candidate.path,
            Self::Unusable(path, _) | Self::Gone(path) => path,
        }
    }
}

/// One path, with its base and its place in the order.
pub struct Item {
    /// Number in the order of paths.
    pub number: u64,
    /// What is there.
    pub found: Sight,
    /// What the vault has of it.
    pub base: Option<Base>,
    /// Whether it had refs in the committed backup.
    pub had_refs: bool,
    /// Room in the window.
    pub permit: OwnedSemaphorePermit,
}

/// What the walk came to in the end.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Items handed out.
    pub items: u64,
    /// Names that cannot be stored and folders that cannot be read, with why.
    pub unnamable: Vec<(String, Problem)>,
    /// What is odd about the storage as a whole.
    pub remarks: Vec<Problem>,
    /// What was seen and not entered.
    pub passed_over: PassedOver,
    /// Repositories of the base that were looked for.
    pub base_repositories: u64,
    /// Those of them that were gone at the last backup, too, and of which nobody said that they were deleted on purpose.
    pub still_gone: u64,
    /// Included patterns that matched nothing.
    pub unmatched: Vec<String>,
    /// Paths that are near to one of these.
    pub near: Vec<String>,
    /// The paths that were handed out.
    pub met: Option<Met>,
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
        there: 0,
        scanned: Scanned::default(),
        met: Met::now(),
    };
    watch.this_thread();
    for found in Walk::new(&run.root, &run.filter)?.flatten() {
        watch.moved(1);
        if run.begins_nothing() {
            return Err(Problem::cancelled("walk storage").on(&run.storage));
        }
        scan.take(run, found, watch, batches)?;
    }
    scan.absent_before(run, None, watch, batches)?;
    watch.waiting(|| scan.hand_over(run, batches))?;
    if scan.bases.lost {
        scan.scanned.remarks.push(base_is_lost(run));
    }
    scan.check_empty(run)?;
    run.progress.found_all();
    let included = run.filter.included().iter().enumerate();
    let unmatched = included.filter(|(at, _)| !scan.matched.contains(at));
    scan.scanned.unmatched = unmatched.map(|(_, pattern)| pattern.to_string()).collect();
    scan.scanned.near = near(run, &scan.scanned.unmatched, watch)?;
    scan.scanned.items = scan.number;
    scan.scanned.met = Some(scan.met);
    Ok(scan.scanned)
}

/// The path that comes nearest to each of these patterns. The storage is walked once more for it, only when there is
/// something to find.
fn near(run: &Run, unmatched: &[String], watch: &Watch) -> Result<Vec<String>, Problem> {
    let mut near: Vec<Option<String>> = vec![None; unmatched.len()];
    if near.is_empty() {
        return Ok(Vec::new());
    }
    for found in Walk::new(&run.root, &RepoFilter::default())?.flatten() {
        watch.moved(1);
        if run.begins_nothing() {
            return Err(Problem::cancelled("walk storage").on(&run.storage));
        }
        let (Found::Repository(Candidate { path, .. }) | Found::Unusable(path, _)) = found else { continue };
        for (pattern, best) in unmatched.iter().zip(&mut near) {
            let known = best.take();
            let names = known.as_deref().into_iter().chain([path.as_str()]);
            *best = nearest(pattern, names).map(str::to_owned);
        }
    }
    Ok(near.into_iter().flatten().collect())
}

type Batches = mpsc::WeakSender<Vec<Item>>;

/// Without it, nobody can tell what was deleted since.
fn base_is_lost(run: &Run) -> Problem {
    Problem::new(ErrorKind::Corrupt, Subject::Backup, "read base catalogue")
        .on(&run.storage)
        .answered(
            "it is damaged or gone: repositories start new chains, and which were deleted since is not known",
        )
        .next("compare with an earlier backup: backupctl show ID --storage NAME")
}

struct Scan {
    bases: Bases,
    matched: BTreeSet<usize>,
    number: u64,
    batch: Vec<Item>,
    window: Arc<Semaphore>,
    /// Paths at which there is something.
    there: u64,
    scanned: Scanned,
    met: Met,
}

impl Scan {
    /// Takes one thing that the walk came upon.
    fn take(&mut self, run: &Run, found: Found, watch: &Watch, batches: &Batches) -> Result<(), Problem> {
        let sight = match found {
            Found::Repository(candidate) => Sight::Repository(candidate),
            Found::Unusable(path, problem) => Sight::Unusable(path, problem),
            Found::Unnamable(name, problem) => {
                self.scanned.unnamable.push((name, problem));
                return Ok(());
            }
            Found::Link(name) => {
                self.scanned.passed_over.link(name);
                return Ok(());
            }
            Found::Inner(name) => {
                self.scanned.passed_over.inner(name);
                return Ok(());
            }
            Found::Unreadable(name, problem) => return self.unreadable(run, name, problem, watch, batches),
        };
        self.absent_before(run, Some(sight.path()), watch, batches)?;
        self.there += 1;
        let known = watch.waiting(|| self.bases.of(sight.path(), &run.attempt.id, &run.storage));
        self.add(run, sight, known, watch, batches)
    }

    /// A folder that cannot be listed is a repository where its name or the base says so. Else it is a failure of its
    /// own, and so is each repository below it that the base has.
    fn unreadable(
        &mut self,
        run: &Run,
        name: String,
        problem: Problem,
        watch: &Watch,
        batches: &Batches,
    ) -> Result<(), Problem> {
        let Ok(path) = name.parse::<RepoPath>() else {
            self.scanned.unnamable.push((name, problem));
            return Ok(());
        };
        self.absent_before(run, Some(&path), watch, batches)?;
        self.there += 1;
        let known = watch.waiting(|| self.bases.of(&path, &run.attempt.id, &run.storage));
        if known.base.is_none() && !name.ends_with(".git") {
            self.scanned.unnamable.push((name, problem));
            return Ok(());
        }
        if run.filter.selects(&path) {
            return self.add(run, Sight::Unusable(path, problem), known, watch, batches);
        }
        Ok(())
    }

    /// Hands out what the base has before this path and the walk did not meet.
    fn absent_before(
        &mut self,
        run: &Run,
        path: Option<&RepoPath>,
        watch: &Watch,
        batches: &Batches,
    ) -> Result<(), Problem> {
        while let Some(entry) = watch.waiting(|| self.bases.unmet(path)) {
            if run.begins_nothing() {
                return Err(Problem::cancelled("walk storage").on(&run.storage));
            }
            if !run.filter.selects(&entry.path) || !is_looked_for(run, entry.outcome) {
                continue;
            }
            watch.moved(1);
            let path = entry.path.clone();
            let sight = match absent::look_for(&run.root, &path) {
                Some(problem) => Sight::Unusable(path, problem),
                None => Sight::Gone(path),
            };
            self.there += u64::from(matches!(sight, Sight::Unusable(..)));
            let in_base = Some(InBase::of(&entry));
            if matches!((&sight, entry.outcome), (Sight::Gone(_), Outcome::Gone)) {
                self.scanned.still_gone += 1;
            }
            let known = Known { base: Some(Base::committed(entry)), in_base };
            self.add(run, sight, known, watch, batches)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        run: &Run,
        found: Sight,
        Known { base, in_base }: Known,
        watch: &Watch,
        batches: &Batches,
    ) -> Result<(), Problem> {
        for (at, pattern) in run.filter.included().iter().enumerate() {
            if pattern.matches(found.path()) {
                self.matched.insert(at);
            }
        }
        self.met.add(found.path());
        // One that was gone and is back may go away again before it is read.
        let is_back = |outcome| outcome == Outcome::Gone && matches!(found, Sight::Repository(_));
        let counts = in_base.is_some_and(|known| is_looked_for(run, known.outcome) || is_back(known.outcome));
        self.scanned.base_repositories += u64::from(counts);
        // Room comes from those who work.
        let had_refs = in_base.is_some_and(|known| known.has_refs);
        watch.waiting(|| self.put(found, base, had_refs))?;
        if self.batch.len() == BATCH {
            watch.waiting(|| self.hand_over(run, batches))?;
        }
        Ok(())
    }

    fn put(&mut self, found: Sight, base: Option<Base>, had_refs: bool) -> Result<(), Problem> {
        let permit = Handle::current().block_on(Arc::clone(&self.window).acquire_owned());
        let permit =
            permit.map_err(|e| Problem::new(ErrorKind::Internal, Subject::Agent, "walk").answered(e))?;
        self.batch.push(Item { number: self.number, found, base, had_refs, permit });
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

    /// Says of a storage without repositories that it has none, and refuses one that lies elsewhere.
    fn check_empty(&mut self, run: &Run) -> Result<(), Problem> {
        if self.there > 0 || !self.scanned.unnamable.is_empty() || !run.filter.is_all() {
            return Ok(());
        }
        let problem = |kind| {
            Problem::new(kind, Subject::Configuration, "find repositories")
                .on(run.root.display())
                .answered("it holds no repositories")
        };
        if self.scanned.base_repositories == 0
            && let Some(link) = self.scanned.passed_over.names.first()
        {
            let target = std::fs::canonicalize(run.root.join(link)).unwrap_or_else(|_| run.root.join(link));
            return Err(problem(ErrorKind::Invalid)
                .answered(format!("it holds no repositories, only symbolic links such as {link}"))
                .next(format!("name the folder that holds them, such as {}", target.display())));
        }
        if self.scanned.base_repositories == 0 {
            let answer = "it holds no repositories; if it should, mount its file system or correct its path";
            self.scanned.remarks.push(problem(ErrorKind::NotFound).answered(answer));
        }
        Ok(())
    }
}

/// Whether a repository that the base has must be in the storage, or be named: one whose end was said before need not.
fn is_looked_for(run: &Run, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Missing => false,
        Outcome::Gone => run.gone_unconfirmed,
        _ => true,
    }
}
