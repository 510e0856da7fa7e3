//! One repository's way through the pipeline: plan, bundle, upload, commit, with a second look when it moved under us.
//!
//! Does not own: which repositories there are. Git is tried again, with a fresh snapshot, when it failed on a
//! repository that was being pushed to, repacked or pruned; the vault is not, because its client retries. What hangs is
//! given up (`watch`). A failure ends this repository only.

use std::{sync::Arc, time::Duration};

use packhorse_model::{ErrorKind, Outcome, Problem, Subject};
use packhorse_vault::{CatalogueEntry, Head, PartSize, RefSnapshot, VaultError};
use tokio::task::spawn_blocking;

use super::{
    Run, adopt,
    bases::{Base, Origin},
    bundle::{self, Bundle, BundleError, BundleWriter, Source, Stream},
    commit::{self, Committed, Place},
    copy::Trust,
    discover::Candidate,
    plan::Plan,
    planner::{Next, Planner},
    queue::{Seen, Slot},
    snapshot::{self, Snapshot, SnapshotError},
    watch::Watch,
};

/// Times that git is tried on a repository.
const ATTEMPTS: usize = 3;
/// Time for work that hangs to stop when it is told to, before it is left behind.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// Backs up one repository that is not settled yet, and says what became of it. Where it was not seen lately it is read
/// again, and planned again if it has moved since.
pub async fn back_up(
    run: &Arc<Run>,
    candidate: Candidate,
    (planner, plan): (Planner, Option<Plan>),
    seen: Option<Seen>,
    slot: Slot,
) -> CatalogueEntry {
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
pub fn settled(run: &Run, snapshot: &Snapshot, base: Option<&Base>) -> Option<CatalogueEntry> {
    let Base { entry, origin } = base?;
    entry.manifest.as_ref()?;
    let same = entry.fingerprint.as_ref() == Some(&snapshot.fingerprint);
    let is_empty = snapshot.refs.is_empty();
    match origin {
        // Its manifest has the name that another try would need: the state of a moment ago is this run's result.
        Origin::OwnRun => Some(entry.clone()),
        Origin::Committed if same && !run.rules.full => Some(unchanged(entry.clone(), is_empty)),
        // A new chain was asked for, and a first step is one.
        Origin::Unfinished if same && (!run.rules.full || entry.steps == 1) => {
            let outcome = if is_empty { Outcome::Empty } else { Outcome::BackedUp };
            Some(CatalogueEntry { outcome, bytes_new: 0, error: None, ..entry.clone() })
        }
        Origin::Committed | Origin::Unfinished => None,
    }
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
    CatalogueEntry { outcome: Outcome::Failed, bytes_new: 0, error: Some(problem), ..base }
}

/// The entry of a repository that is as the base has it.
pub fn unchanged(base: CatalogueEntry, empty: bool) -> CatalogueEntry {
    let outcome = if empty { Outcome::Empty } else { Outcome::Unchanged };
    CatalogueEntry { outcome, bytes_new: 0, error: None, ..base }
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
        error: None,
    }
}

async fn attempt(
    run: &Arc<Run>,
    candidate: &Candidate,
    (mut planner, mut plan): (Planner, Option<Plan>),
    seen: Option<Seen>,
    slot: Slot,
) -> Result<CatalogueEntry, SnapshotError> {
    let mut snapshot = match seen {
        Some(seen) if seen.is_fresh() => seen.snapshot,
        seen => {
            let fresh = retake(run, candidate).await?;
            if seen.is_none_or(|seen| seen.snapshot.fingerprint != fresh.fingerprint) {
                plan = None;
            }
            fresh
        }
    };
    let mut tries = 0;
    loop {
        let plan = match plan.take() {
            Some(plan) => plan,
            None => match planner.next(run, candidate, &snapshot).await? {
                Next::Settled(entry) => return Ok(*entry),
                Next::Pack(plan) => plan,
            },
        };
        if run.dry_run {
            return Ok(entry(candidate, &snapshot, None));
        }
        let place = run.place(&candidate.path);
        let (plan, bundle) = match bundle_of(run, candidate, &place, plan, &snapshot).await {
            Ok(bundled) => bundled,
            Err(hang) => return Err(SnapshotError::Failed(hang_problem(candidate, &hang))),
        };
        tries += 1;
        let bundle = match bundle {
            Ok(bundle) => bundle,
            Err(BundleError::Vault(error)) => return Err(SnapshotError::Failed(error.into())),
            Err(BundleError::Cancelled) => {
                return Err(SnapshotError::Failed(Problem::cancelled("back up repository")));
            }
            Err(BundleError::Git(answer)) => {
                let fresh = retake(run, candidate).await?;
                if tries < ATTEMPTS && (fresh.fingerprint != snapshot.fingerprint || tries == 1) {
                    tracing::debug!(repository = %candidate.path, %answer, "git failed, trying again");
                    snapshot = fresh;
                    continue;
                }
                return Err(SnapshotError::Failed(git_problem(candidate, answer)));
            }
        };
        // Git is done: another repository may have it while the vault is waited for.
        let buffered = bundle.as_ref().map_or(0, Bundle::bytes_buffered);
        // A bundle tells by itself what arrives with it.
        let is_told = bundle.is_some();
        let _room = run.room_to_commit(&snapshot, buffered).await;
        drop(slot);
        let committed = match commit::commit(&run.vault, &place, plan, &snapshot, bundle).await {
            Ok(committed) => committed,
            Err(error) => return lost_race(run, candidate, &snapshot, error).await,
        };
        run.progress.arrived(if is_told { 0 } else { committed.bytes_new });
        run.progress.stored(committed.bytes_new);
        return Ok(entry(candidate, &snapshot, Some(committed)));
    }
}

/// When another writer of this same run has committed the repository in the meantime, its state is the run's.
async fn lost_race(
    run: &Run,
    candidate: &Candidate,
    snapshot: &Snapshot,
    error: VaultError,
) -> Result<CatalogueEntry, SnapshotError> {
    if error.kind() == ErrorKind::AlreadyExists
        && let Ok(Some(base)) = adopt::own(run, &candidate.path, snapshot).await
        // At the first attempt it may be what an earlier run of this ID left, whose journal is gone.
        && (!run.attempt.attempt.is_first() || base.entry.fingerprint.as_ref() == Some(&snapshot.fingerprint))
    {
        return Ok(base.entry);
    }
    Err(SnapshotError::Failed(error.into()))
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
    let key = [Stream::Bundle, Stream::Index].map(|stream| place.step_key(&plan, stream.suffix()));
    let trust = match &plan {
        Plan::Full(known) => {
            let (later, max_garbage) = (run.rules.prove_later, run.rules.max_garbage);
            Trust { known: known.clone(), later, max_garbage }
        }
        _ => Trust::default(),
    };
    let written = watched(run, move |watch| {
        let source = Source { dir: &dir, refs: &refs, watch };
        let open = |stream, expected| {
            let key = key[stream as usize].clone();
            let object = shared.vault.writer(key, PartSize::for_expected(expected));
            let progress = Arc::clone(&shared.progress);
            let object = object.until(watch.cancel.clone()).telling(move |bytes| progress.arrived(bytes));
            watch.holds(object.hold());
            BundleWriter { object, watch: Arc::clone(watch) }
        };
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

async fn retake(run: &Arc<Run>, candidate: &Candidate) -> Result<Snapshot, SnapshotError> {
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
struct Hang(String);

/// Does blocking work on a repository, and gives it up when it hangs.
async fn watched<T: Send + 'static>(
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
fn hang_problem(candidate: &Candidate, Hang(said): &Hang) -> Problem {
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

fn git_problem(candidate: &Candidate, answer: String) -> Problem {
    Problem::new(ErrorKind::Corrupt, Subject::Repository, "pack repository")
        .on(&candidate.path)
        .answered(answer)
        .leaving("the last good backup of this repository stays in the vault")
        .next(format!("git --git-dir={} fsck --full", candidate.dir.display()))
}

fn entry(candidate: &Candidate, snapshot: &Snapshot, committed: Option<Committed>) -> CatalogueEntry {
    let outcome = if snapshot.refs.is_empty() { Outcome::Empty } else { Outcome::BackedUp };
    let mut entry = blank(&candidate.path, outcome);
    entry.fingerprint = Some(snapshot.fingerprint.clone());
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
