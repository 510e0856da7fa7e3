//! One repository's way through the pipeline: plan, bundle, upload, commit, with a second look when it moved under us.
//!
//! Does not own: which repositories there are. A repository that moved while git failed on it is tried again, with a fresh
//! snapshot; of one that stood still, what is whole is packed (`damage`), and one that was damaged in the last backup is
//! not tried as it is. The vault is not tried again, because its client retries. What hangs is given up (`watch`). A
//! failure ends this repository only.

use std::{path::Path, sync::Arc, time::Duration};

use packhorse_model::{ErrorKind, Outcome, Problem, Subject};
use packhorse_vault::{CatalogueEntry, Head, LastGood, PartSize, RefSnapshot, VaultError};
use tokio::task::spawn_blocking;

use super::{
    Run,
    absent::LET_READ,
    adopt,
    bases::{Base, Origin},
    bundle::{self, Bundle, BundleError, BundleWriter, Source, Stream},
    commit::{self, Committed, Place},
    copy::Trust,
    damage::{self, Salvaged, salvage},
    discover::{Candidate, examine_failed},
    plan::Plan,
    planner::{Next, Planner},
    queue::{Seen, Slot},
    snapshot::{self, Snapshot, SnapshotError},
    watch::Watch,
};

/// What failed when objects were read, as the line of a repository says it.
pub const PACK: &str = "pack repository";
/// Times that git is tried on a repository.
const ATTEMPTS: usize = 3;
/// Time for work that hangs to stop when it is told to, before it is left behind.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// Backs up one repository that is not settled yet, and says what became of it. Where it was not seen lately it is read
/// again, and planned again if it has moved since.
pub async fn back_up(
    run: &Arc<Run>,
    candidate: Candidate,
    (mut planner, plan): (Planner, Option<Plan>),
    seen: Option<Seen>,
    slot: Slot,
) -> CatalogueEntry {
    if let Err(error) = planner.look(run).await {
        return without(&candidate, planner.known(), error);
    }
    let known = planner.known();
    match attempt(run, &candidate, (planner, plan), seen, slot).await {
        Ok(entry) => entry,
        Err(error) => without(&candidate, known, error),
    }
}

/// The line of a repository that was not backed up.
pub fn without(candidate: &Candidate, known: Option<CatalogueEntry>, error: SnapshotError) -> CatalogueEntry {
    match error {
        SnapshotError::Gone => gone(&candidate.path, known),
        SnapshotError::Failed(problem) => failed(candidate, known, problem),
    }
}

/// The line of a repository for which nothing has to be written: it is as the vault has it, or this run has it already.
pub fn settled(
    run: &Run,
    (snapshot, dir): (&Snapshot, &Path),
    base: Option<&Base>,
) -> Option<CatalogueEntry> {
    let Base { entry, origin, .. } = base?;
    entry.manifest.as_ref()?;
    if *origin != Origin::OwnRun && entry.found_damaged {
        return None;
    }
    let outcome = match origin {
        // Its manifest has the name that another try would need: the state of a moment ago is this run's result.
        Origin::OwnRun => return Some(entry.clone()),
        Origin::Committed if run.rules.full => return None,
        // A new chain was asked for, and a first step is one.
        Origin::Unfinished if run.rules.full && entry.steps > 1 => return None,
        Origin::Committed => Outcome::Unchanged,
        Origin::Unfinished => Outcome::BackedUp,
    };
    let outcome = if snapshot.refs.is_empty() { Outcome::Empty } else { outcome };
    snapshot.is_as(entry, dir).then(|| carried(entry.clone(), dir, outcome))
}

/// The entry of a repository that is not there any more: what the base has of it stays named. One that came and went
/// between two backups was never in any.
pub fn gone(path: &packhorse_model::RepoPath, base: Option<CatalogueEntry>) -> CatalogueEntry {
    match base {
        Some(base) => CatalogueEntry { outcome: Outcome::Gone, bytes_new: 0, error: None, ..base },
        None => blank(path, Outcome::Missing),
    }
}

/// The entry of a repository that failed: the last good manifest stays.
pub fn failed(candidate: &Candidate, base: Option<CatalogueEntry>, problem: Problem) -> CatalogueEntry {
    failed_entry(&candidate.path, base, problem)
}

/// The same for a path that is no repository.
pub fn failed_entry(
    path: &packhorse_model::RepoPath,
    base: Option<CatalogueEntry>,
    problem: Problem,
) -> CatalogueEntry {
    let base = base.unwrap_or_else(|| blank(path, Outcome::Failed));
    // What fails for another reason now is as damaged as it was found.
    let found_damaged = base.found_damaged || problem.kind == ErrorKind::Corrupt && problem.what == PACK;
    CatalogueEntry { outcome: Outcome::Failed, bytes_new: 0, error: Some(problem), found_damaged, ..base }
}

/// The entry of a repository that is as the vault has it: one that is damaged stays so, and is told again.
fn carried(base: CatalogueEntry, dir: &Path, outcome: Outcome) -> CatalogueEntry {
    let error = base.damage.as_ref().map(|damage| damage::problem(&base.path, dir, damage));
    let outcome = if error.is_some() { Outcome::Damaged } else { outcome };
    CatalogueEntry { outcome, bytes_new: 0, error, ..base }
}

fn blank(path: &packhorse_model::RepoPath, outcome: Outcome) -> CatalogueEntry {
    CatalogueEntry {
        path: path.clone(),
        outcome,
        manifest: None,
        manifest_sha256: None,
        fingerprint: None,
        steps: 0,
        refs: 0,
        bytes_new: 0,
        bytes_total: 0,
        unproven: false,
        head: None,
        found_damaged: false,
        damage: None,
        error: None,
    }
}

async fn attempt(
    run: &Arc<Run>,
    candidate: &Candidate,
    (mut planner, mut planned): (Planner, Option<Plan>),
    seen: Option<Seen>,
    slot: Slot,
) -> Result<CatalogueEntry, SnapshotError> {
    let snapshot = match seen {
        // What cannot be read is read twice: somebody may have been writing it.
        Some(seen) if seen.is_fresh() && seen.snapshot.left_out.is_empty() => seen.snapshot,
        seen => {
            let fresh = retake(run, candidate).await?;
            if seen.is_none_or(|seen| seen.snapshot.seen != fresh.seen) {
                planned = None;
            }
            fresh
        }
    };
    let said = planner.has_damaged_objects().then(String::new);
    let mut course = Course { snapshot, planned, said, tries: 0 };
    loop {
        if course.snapshot.is_nothing_whole() {
            return Err(SnapshotError::Failed(damage::nothing_whole(candidate, &course.snapshot, "")));
        }
        let plan = match course.planned.take() {
            Some(plan) => plan,
            None => match planner.next(run, candidate, &course.snapshot).await? {
                Next::Settled(entry) => return Ok(*entry),
                Next::Pack(plan) => plan,
            },
        };
        if run.dry_run {
            // What became of its damage is seen only by examining it.
            let damaged = planner.known().filter(|_| planner.has_damaged_objects());
            let entry = || entry(candidate, &course.snapshot, planner.last_good(), None);
            return Ok(damaged.map_or_else(entry, |known| carried(known, &candidate.dir, Outcome::BackedUp)));
        }
        if let Some(packed) = course.pack(run, candidate, plan).await? {
            return commit_step(run, candidate, (&course.snapshot, planner.last_good()), packed, slot).await;
        }
    }
}

/// Commits a packed step, and gives the repository's line.
async fn commit_step(
    run: &Run,
    candidate: &Candidate,
    (snapshot, last_good): (&Snapshot, Option<LastGood>),
    (plan, bundle): Packed,
    slot: Slot,
) -> Result<CatalogueEntry, SnapshotError> {
    // Git is done: another repository may have it while the vault is waited for.
    let buffered = bundle.as_ref().map_or(0, Bundle::bytes_buffered);
    // A bundle tells by itself what arrives of it, and of what is stored beside it; not the manifest.
    let is_told = bundle.is_some();
    let _room = run.room_to_commit(snapshot, buffered).await;
    drop(slot);
    let (place, damage) = (run.place(&candidate.path), damage::damage_of(snapshot, last_good.clone()));
    let committed = match commit::commit(&run.vault, &place, plan, (snapshot, damage), bundle).await {
        Ok(committed) => committed,
        Err(error) => return lost_race(run, candidate, snapshot, error).await,
    };
    run.progress.arrived(if is_told { committed.manifest.size } else { committed.bytes_new });
    run.progress.stored(committed.bytes_new);
    Ok(entry(candidate, snapshot, last_good, Some(committed)))
}

/// A step that is to be committed; an empty repository has no bundle.
type Packed = (Plan, Option<Bundle>);

/// What is known of a repository from one try to the next.
struct Course {
    snapshot: Snapshot,
    planned: Option<Plan>,
    /// What was said when it was packed as it is, once only what is whole of it may be packed.
    said: Option<String>,
    tries: usize,
}

impl Course {
    /// Packs the repository; none when it has to be tried again.
    async fn pack(
        &mut self,
        run: &Arc<Run>,
        candidate: &Candidate,
        plan: Plan,
    ) -> Result<Option<Packed>, SnapshotError> {
        self.tries += 1;
        match self.said.clone().filter(|_| !matches!(plan, Plan::Empty)) {
            Some(answer) => self.pack_what_is_whole(run, candidate, plan, &answer).await,
            None => self.pack_as_it_is(run, candidate, plan).await,
        }
    }

    async fn pack_as_it_is(
        &mut self,
        run: &Arc<Run>,
        candidate: &Candidate,
        plan: Plan,
    ) -> Result<Option<Packed>, SnapshotError> {
        let failed = SnapshotError::Failed;
        let place = run.place(&candidate.path);
        let bundled = bundle_of(run, candidate, &place, plan, &self.snapshot).await;
        let (plan, bundle) = bundled.map_err(|hang| failed(hang_problem(candidate, &hang)))?;
        let answer = match bundle {
            Ok(bundle) => return Ok(Some((plan, bundle))),
            Err(BundleError::Vault(error)) => return Err(failed(error.into())),
            Err(BundleError::Cancelled) => return Err(failed(Problem::cancelled("back up repository"))),
            Err(BundleError::Git(answer)) => answer,
        };
        tracing::debug!(repository = %candidate.path, %answer, "packing failed and is tried again");
        let fresh = retake(run, candidate).await?;
        let stays = fresh.seen == self.snapshot.seen;
        if stays || self.tries + 1 >= ATTEMPTS {
            self.said = Some(answer);
        }
        // After a defect there is no plan.
        self.planned = (stays && !matches!(plan, Plan::Empty)).then_some(plan);
        self.snapshot = fresh;
        Ok(None)
    }

    async fn pack_what_is_whole(
        &mut self,
        run: &Arc<Run>,
        candidate: &Candidate,
        plan: Plan,
        answer: &str,
    ) -> Result<Option<Packed>, SnapshotError> {
        match salvage(run, candidate, plan, &self.snapshot, answer).await? {
            Salvaged::Step(plan, step) => {
                let (rest, bundle) = *step;
                self.snapshot = rest;
                return Ok(Some((plan, Some(bundle))));
            }
            Salvaged::Healed(plan) => (self.planned, self.said) = (Some(plan), None),
            Salvaged::Moved(fresh) if self.tries < ATTEMPTS => self.snapshot = *fresh,
            Salvaged::Moved(_) => {
                let answer = format!("it is damaged, and moves too fast to be examined: {answer}");
                return Err(SnapshotError::Failed(git_problem(candidate, answer)));
            }
        }
        Ok(None)
    }
}

/// When another writer of this same run has committed the repository in the meantime, its state is the run's.
async fn lost_race(
    run: &Run,
    candidate: &Candidate,
    snapshot: &Snapshot,
    error: VaultError,
) -> Result<CatalogueEntry, SnapshotError> {
    if error.kind() != ErrorKind::AlreadyExists {
        return Err(SnapshotError::Failed(error.into()));
    }
    match adopt::own(run, &candidate.path, snapshot).await {
        // At the first attempt it may be what an earlier run of this ID left, whose journal is gone.
        Ok(Some(entry))
            if !run.attempt.attempt.is_first()
                || entry.fingerprint.as_ref() == Some(&snapshot.fingerprint) =>
        {
            Ok(entry)
        }
        Err(found) if matches!(found.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
            Err(SnapshotError::Failed(adopt::not_whole(found)))
        }
        _ => Err(SnapshotError::Failed(error.into())),
    }
}

type Bundled = (Plan, Result<Option<Bundle>, BundleError>);

async fn bundle_of(
    run: &Arc<Run>,
    candidate: &Candidate,
    place: &Place,
    plan: Plan,
    snapshot: &Snapshot,
) -> Result<Bundled, Hang> {
    if matches!(plan, Plan::Empty) {
        return Ok((plan, Ok(None)));
    }
    let (shared, dir, refs) = (Arc::clone(run), candidate.dir.clone(), snapshot.refs.clone());
    let place = place.clone();
    let trust = match &plan {
        Plan::Full(known) => {
            let (later, max_garbage) = (run.rules.prove_later, run.rules.max_garbage);
            Trust { known: known.clone(), later, max_garbage }
        }
        _ => Trust::default(),
    };
    let written = watched(run, move |watch| {
        let source = Source { dir: &dir, refs: &refs, watch };
        let open = open_stream(&shared, &place, &plan, watch);
        let written = match &plan {
            Plan::Increment(base) => bundle::write_increment(&source, base, &shared.git, open),
            Plan::Full(_) | Plan::Empty => {
                bundle::write_full(&source, (&trust, shared.rules.index_from), &shared.git, open)
            }
        };
        (plan, written.map(Some))
    });
    Ok(written.await?.unwrap_or_else(|panic| {
        (Plan::Empty, Err(BundleError::Git(format!("packing ended by a defect: {panic}"))))
    }))
}

/// Opens the objects of the step that a plan writes.
pub(super) fn open_stream(
    run: &Run,
    place: &Place,
    plan: &Plan,
    watch: &Arc<Watch>,
) -> impl Fn(Stream, u64) -> BundleWriter {
    let key = [Stream::Bundle, Stream::Index].map(|stream| place.step_key(plan, stream.suffix()));
    let (vault, progress, watch) = (run.vault.clone(), Arc::clone(&run.progress), Arc::clone(watch));
    move |stream, expected| {
        let key = key[stream as usize].clone();
        let object = vault.writer(key, PartSize::for_expected(expected));
        let progress = Arc::clone(&progress);
        let object = object.until(watch.cancel.clone()).telling(move |bytes| progress.arrived(bytes));
        watch.holds(object.hold());
        BundleWriter { object, watch: Arc::clone(&watch) }
    }
}

/// Reads the repository once more.
pub(super) async fn retake(run: &Arc<Run>, candidate: &Candidate) -> Result<Snapshot, SnapshotError> {
    let (shared, wanted) = (Arc::clone(run), candidate.clone());
    let taking = watched(run, move |watch| snapshot::take(&wanted, &shared.git, &watch.cancel));
    match taking.await {
        Ok(Ok(taken)) => taken,
        Ok(Err(panic)) => {
            let problem = Problem::new(ErrorKind::Internal, Subject::Repository, "read refs").answered(panic);
            Err(SnapshotError::Failed(problem))
        }
        Err(hang) => Err(SnapshotError::Failed(hang_problem(candidate, &hang))),
    }
}

/// Work that was given up, with what it did not do.
pub(super) struct Hang(String);

/// Does blocking work on a repository, and gives it up when it hangs.
pub(super) async fn watched<T: Send + 'static>(
    run: &Arc<Run>,
    work: impl FnOnce(&Arc<Watch>) -> T + Send + 'static,
) -> Result<Result<T, tokio::task::JoinError>, Hang> {
    let watch = Watch::new(&run.cancel);
    let mut working = spawn_blocking({
        let (run, watch) = (Arc::clone(run), Arc::clone(&watch));
        move || {
            watch.this_thread();
            let done = work(&watch);
            run.came_back(&watch);
            done
        }
    });
    let said = tokio::select! {
        done = &mut working => return Ok(done),
        said = watch.hangs(run.patience) => said,
    };
    watch.cancel.cancel();
    if tokio::time::timeout(LAST_CHANCE, working).await.is_err() {
        run.leave_behind(&watch);
    }
    Err(Hang(said))
}

/// The problem of a repository that was given up because it hangs.
pub(super) fn hang_problem(candidate: &Candidate, Hang(said): &Hang) -> Problem {
    hangs(&candidate.path, &candidate.dir, said)
}

/// The problem of a repository that a defect of ours was met by.
pub fn defect(path: &packhorse_model::RepoPath, panic: &str) -> Problem {
    Problem::new(ErrorKind::Internal, Subject::Repository, "read repository")
        .on(path)
        .answered(panic)
        .leaving("the last good backup of this repository stays in the vault")
        .next("report this defect with the agent's log")
}

/// The same for one that was being looked at.
pub fn hangs(path: &packhorse_model::RepoPath, dir: &std::path::Path, said: &str) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Repository, "read repository")
        .on(path)
        .answered(format!("it {said}: it was given up, and its git killed"))
        .leaving("the last good backup of this repository stays in the vault")
        .next(format!("check the disk under {}, and git --git-dir={0} fsck", dir.display()))
}

/// The problem of a repository that could not be packed.
pub(super) fn git_problem(candidate: &Candidate, answer: String) -> Problem {
    // Where the agent may not read, git calls damaged what may be whole.
    let next = match answer.contains("Permission denied") {
        true => LET_READ.to_owned(),
        false => examine_failed(candidate.path.as_str(), &candidate.dir),
    };
    Problem::new(ErrorKind::Corrupt, Subject::Repository, PACK)
        .on(&candidate.path)
        .answered(answer)
        .leaving("the last good backup of this repository stays in the vault")
        .next(next)
}

fn entry(
    candidate: &Candidate,
    snapshot: &Snapshot,
    last_good: Option<LastGood>,
    committed: Option<Committed>,
) -> CatalogueEntry {
    let damage = damage::damage_of(snapshot, last_good);
    let outcome = match damage {
        Some(_) => Outcome::Damaged,
        None if snapshot.refs.is_empty() => Outcome::Empty,
        None => Outcome::BackedUp,
    };
    let mut entry = blank(&candidate.path, outcome);
    entry.fingerprint = Some(snapshot.fingerprint.clone());
    entry.error = damage.as_ref().map(|damage| damage::problem(&candidate.path, &candidate.dir, damage));
    entry.damage = damage;
    (entry.refs, entry.head) = facts_of(&snapshot.refs);
    if let Some(committed) = committed {
        entry.manifest = Some(committed.manifest.path);
        entry.manifest_sha256 = Some(committed.manifest.sha256);
        entry.steps = committed.steps;
        entry.bytes_new = committed.bytes_new;
        entry.bytes_total = committed.bytes_total;
        entry.unproven = committed.unproven;
    }
    entry
}

/// Number of refs, and HEAD, as a line has them.
pub fn facts_of(refs: &RefSnapshot) -> (u64, Option<String>) {
    let head = match &refs.head {
        Head::Symbolic(target) => packhorse_model::encode_ref_name(target),
        Head::Detached(oid) => oid.to_string(),
    };
    (refs.refs.len() as u64, Some(head))
}

/// Names an unchanged repository's manifest after this run too.
pub async fn carry_over(run: &Run, entry: CatalogueEntry) -> CatalogueEntry {
    let Some(manifest) = entry.manifest.clone() else { return entry };
    let place = run.place(&entry.path);
    if manifest == place.manifest_key().as_str() {
        return entry;
    }
    match commit::carry_over(&run.vault, &place, &manifest, entry.manifest_sha256.as_ref()).await {
        Ok(committed) => {
            run.progress.arrived(committed.bytes_new);
            CatalogueEntry {
                manifest: Some(committed.manifest.path),
                manifest_sha256: Some(committed.manifest.sha256),
                bytes_new: committed.bytes_new,
                ..entry
            }
        }
        // An earlier attempt at this run has a newer state under that name, which is this run's.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && !run.attempt.attempt.is_first() => {
            match adopt::own_line(run, &entry.path).await {
                Ok(Some(own)) => own,
                _ => carry_failed(entry, error),
            }
        }
        Err(error) => carry_failed(entry, error),
    }
}

fn carry_failed(entry: CatalogueEntry, error: VaultError) -> CatalogueEntry {
    let path = entry.path.clone();
    failed_entry(&path, Some(entry), Problem::from(error).while_doing("carry manifest over"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_not_called_damaged() {
        let path = "x.git".parse().expect("a path");
        let candidate = Candidate { path, dir: "/srv/x.git".into(), has_hooks: false, is_shallow: false };
        let next = |answer: &str| git_problem(&candidate, answer.into()).next.unwrap_or_default();
        assert!(next("error: objects/pack: Permission denied").contains("chown"));
        assert!(next("bad object").contains("fsck"));
    }
}
