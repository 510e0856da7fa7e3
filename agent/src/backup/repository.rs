//! One repository's way through the pipeline: plan, bundle, upload, commit, with a second look when it moved under us.
//!
//! Does not own: which repositories there are. Git is tried again, with a fresh snapshot, when it failed on a
//! repository that was being pushed to, repacked or pruned; the vault is not, because its client retries. A failure
//! ends this repository only.

use std::sync::Arc;

use packhorse_model::{ErrorKind, Outcome, Problem, Subject};
use packhorse_vault::{CatalogueEntry, Head, ObjectWriter, PartSize};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking};

use super::{
    Run,
    bundle::{self, BundleError, BundleWriter, Source},
    commit::{self, Committed, Place},
    discover::Candidate,
    plan::{self, Plan},
    snapshot::{self, Snapshot, SnapshotError},
};

/// Times that git is tried on a repository.
const ATTEMPTS: usize = 3;

/// Backs up one repository that changed, and says what became of it.
pub async fn back_up(
    run: &Arc<Run>,
    candidate: Candidate,
    base: Option<CatalogueEntry>,
    snapshot: Snapshot,
    slot: OwnedSemaphorePermit,
) -> CatalogueEntry {
    match attempt(run, &candidate, base.as_ref(), snapshot, slot).await {
        Ok(entry) => entry,
        Err(SnapshotError::Gone) => missing(&candidate),
        Err(SnapshotError::Failed(problem)) => failed(&candidate, base, problem),
    }
}

/// The entry of a repository that went away.
pub fn missing(candidate: &Candidate) -> CatalogueEntry {
    blank(&candidate.path, Outcome::Missing)
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
        head: None,
        error: None,
    }
}

async fn attempt(
    run: &Arc<Run>,
    candidate: &Candidate,
    base: Option<&CatalogueEntry>,
    mut snapshot: Snapshot,
    slot: OwnedSemaphorePermit,
) -> Result<CatalogueEntry, SnapshotError> {
    let mut tries = 0;
    loop {
        if plan::is_unchanged(&snapshot, base, run.rules)
            && let Some(base) = base
        {
            return Ok(unchanged(base.clone(), snapshot.refs.is_empty()));
        }
        let plan = plan::decide(&run.vault, &snapshot, base, run.rules).await;
        let plan = plan.map_err(SnapshotError::Failed)?;
        if run.dry_run {
            return Ok(entry(candidate, &snapshot, None));
        }
        let place =
            Place { id: run.backup_id.clone(), storage: run.storage.clone(), repo: candidate.path.clone() };
        let (plan, bundle) = bundle_of(run, candidate, &place, plan, &snapshot).await;
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
        let (size, buffered) =
            bundle.as_ref().map_or((0, 0), |bundle| (bundle.bytes_written(), bundle.bytes_buffered()));
        let _room = run.room_to_commit(&snapshot, buffered).await;
        drop(slot);
        let committed = commit::commit(&run.vault, &place, plan, &snapshot, bundle).await;
        let committed = committed.map_err(|error| SnapshotError::Failed(error.into()))?;
        run.progress.sent(committed.bytes_new.saturating_sub(size));
        return Ok(entry(candidate, &snapshot, Some(committed)));
    }
}

async fn bundle_of(
    run: &Arc<Run>,
    candidate: &Candidate,
    place: &Place,
    plan: Plan,
    snapshot: &Snapshot,
) -> (Plan, Result<Option<ObjectWriter>, BundleError>) {
    if matches!(plan, Plan::Empty) {
        return (plan, Ok(None));
    }
    let (run, dir, refs) = (Arc::clone(run), candidate.dir.clone(), snapshot.refs.clone());
    let key = place.step_key(&plan, "bundle");
    let writing = spawn_blocking(move || {
        let source = Source { dir: &dir, refs: &refs };
        let open = |expected| BundleWriter {
            object: run.vault.writer(key.clone(), PartSize::for_expected(expected)),
            progress: Arc::clone(&run.progress),
        };
        let written = match &plan {
            Plan::Increment(base) => bundle::write_increment(&source, base, &run.git, open, &run.cancel),
            Plan::Full | Plan::Empty => bundle::write_full(&source, &run.git, open, &run.cancel),
        };
        (plan, written.map(|writer| Some(writer.object)))
    });
    match writing.await {
        Ok(written) => written,
        Err(panic) => (Plan::Empty, Err(BundleError::Git(format!("packing ended by a defect: {panic}")))),
    }
}

async fn retake(run: &Arc<Run>, candidate: &Candidate) -> Result<Snapshot, SnapshotError> {
    let (run, candidate) = (Arc::clone(run), candidate.clone());
    let taking = spawn_blocking(move || snapshot::take(&candidate, &run.git, &run.cancel));
    taking.await.unwrap_or_else(|panic| {
        let problem = Problem::new(ErrorKind::Internal, Subject::Repository, "read refs").answered(panic);
        Err(SnapshotError::Failed(problem))
    })
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
    entry.refs = snapshot.refs.refs.len() as u64;
    entry.head = Some(match &snapshot.refs.head {
        Head::Symbolic(target) => packhorse_model::encode_ref_name(target),
        Head::Detached(oid) => oid.to_string(),
    });
    if let Some(committed) = committed {
        entry.manifest = Some(committed.manifest.path);
        entry.manifest_sha256 = Some(committed.manifest.sha256);
        entry.steps = committed.steps;
        entry.bytes_new = committed.bytes_new;
        entry.bytes_total = committed.bytes_total;
    }
    entry
}

/// Names an unchanged repository's manifest after this run too.
pub async fn carry_over(run: &Run, entry: CatalogueEntry) -> CatalogueEntry {
    let Some(manifest) = entry.manifest.clone() else { return entry };
    let place = Place { id: run.backup_id.clone(), storage: run.storage.clone(), repo: entry.path.clone() };
    match commit::carry_over(&run.vault, &place, &manifest, entry.manifest_sha256.as_ref()).await {
        Ok(committed) => {
            run.progress.sent(committed.bytes_new);
            CatalogueEntry {
                manifest: Some(committed.manifest.path),
                manifest_sha256: Some(committed.manifest.sha256),
                bytes_new: committed.bytes_new,
                ..entry
            }
        }
        Err(error) => {
            let path = entry.path.clone();
            failed_entry(&path, Some(entry), Problem::from(error).while_doing("carry manifest over"))
        }
    }
}
