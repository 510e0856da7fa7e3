//! The step of a repository that could not be packed as it is: what is whole of it.
//!
//! Does not own: finding that out (`examine`), or writing the pack (`bundle`). The repository is examined once, and git is
//! then given the very objects that were found, so nothing is walked again. What moved meanwhile is looked at anew by
//! whoever called this.

use std::sync::Arc;

use packhorse_model::Problem;

use super::{
    LeftOut,
    examine::{Examined, examine},
    nothing_whole, state_of_files,
};
use crate::{
    backup::{
        Run,
        bundle::{self, Bundle, BundleError, Source},
        discover::Candidate,
        plan::Plan,
        repository::{defect, git_problem, hang_problem, open_stream, retake, watched},
        snapshot::{Snapshot, SnapshotError},
    },
    git::ObjectsOnly,
};

/// What became of a damaged repository.
pub enum Salvaged {
    /// A step of what is whole, and the snapshot that it is of.
    Step(Plan, Box<(Snapshot, Bundle)>),
    /// It has moved: this is what it looks like now.
    Moved(Box<Snapshot>),
    /// It is damaged no longer, and can be packed like any other.
    Healed(Plan),
}

/// Packs what is whole of a repository; `answer` is what was said when it was packed as it is, or nothing if that was not
/// tried because it was damaged before.
pub async fn salvage(
    run: &Arc<Run>,
    candidate: &Candidate,
    mut plan: Plan,
    snapshot: &Snapshot,
    answer: &str,
) -> Result<Salvaged, SnapshotError> {
    let failed = |answer: String| SnapshotError::Failed(git_problem(candidate, answer));
    let (objects, examined, rest) = loop {
        let files = state_of_files(&candidate.dir);
        let (objects, examined) = match examined(run, candidate, &plan, snapshot).await? {
            Ok(found) => found,
            Err(why) if answer.is_empty() => return Err(failed(why)),
            Err(why) => return Err(failed(format!("{answer}; what is whole of it is not known: {why}"))),
        };
        let broken = |oid| {
            let finding = examined.broken.get(&oid)?;
            let (finding, object) = (finding.said.clone(), Some(finding.object));
            Some(LeftOut { name: Vec::new(), finding, object })
        };
        let rest = snapshot.clone().without(broken, files);
        plan = match plan {
            Plan::Increment(base) => match base.leading_to(&rest.refs) {
                Some(base) => Plan::Increment(Box::new(base)),
                // What the chain holds does not count any more.
                None => {
                    plan = Plan::Full(Vec::new());
                    continue;
                }
            },
            plan => plan,
        };
        break (objects, examined, rest);
    };
    if !examined.broken.is_empty() {
        let now = retake(run, candidate).await?;
        if now.seen != snapshot.seen {
            return Ok(Salvaged::Moved(Box::new(now)));
        }
    }
    if answer.is_empty() && examined.broken.is_empty() {
        return Ok(Salvaged::Healed(plan));
    }
    if rest.is_nothing_whole() {
        return Err(SnapshotError::Failed(nothing_whole(candidate, &rest, answer)));
    }
    let (plan, bundle) = packed(run, candidate, plan, &rest, (objects, examined)).await?;
    match bundle {
        Ok(bundle) => Ok(Salvaged::Step(plan, Box::new((rest, bundle)))),
        Err(BundleError::Git(answer)) => Err(failed(answer)),
        Err(BundleError::Vault(error)) => Err(SnapshotError::Failed(error.into())),
        Err(BundleError::Cancelled) => Err(SnapshotError::Failed(Problem::cancelled("back up repository"))),
    }
}

type Found = (ObjectsOnly, Examined);

async fn examined(
    run: &Arc<Run>,
    candidate: &Candidate,
    plan: &Plan,
    snapshot: &Snapshot,
) -> Result<Result<Found, String>, SnapshotError> {
    let (shared, dir, refs) = (Arc::clone(run), candidate.dir.clone(), snapshot.refs.clone());
    let base = match plan {
        Plan::Increment(base) => Some(base.refs.clone()),
        Plan::Full(_) | Plan::Empty => None,
    };
    tracing::debug!(repository = %candidate.path, "examined for what is whole of it");
    let work = watched(run, move |watch| {
        let objects =
            ObjectsOnly::of(&dir, refs.object_format).map_err(|e| format!("make a git folder: {e}"))?;
        let examined = examine(&dir, &refs, base.as_ref(), (&shared.git, &objects), watch)?;
        Ok((objects, examined))
    });
    match work.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(panic)) => Err(SnapshotError::Failed(defect(&candidate.path, &panic.to_string()))),
        Err(hang) => Err(SnapshotError::Failed(hang_problem(candidate, &hang))),
    }
}

async fn packed(
    run: &Arc<Run>,
    candidate: &Candidate,
    plan: Plan,
    snapshot: &Snapshot,
    (objects, examined): Found,
) -> Result<(Plan, Result<Bundle, BundleError>), SnapshotError> {
    let (shared, dir, refs) = (Arc::clone(run), candidate.dir.clone(), snapshot.refs.clone());
    let place = run.place(&candidate.path);
    let work = watched(run, move |watch| {
        let source = Source { dir: &dir, refs: &refs, watch };
        let base = match &plan {
            Plan::Increment(base) => Some(&base.refs),
            Plan::Full(_) | Plan::Empty => None,
        };
        let open = open_stream(&shared, &place, &plan, watch);
        let Examined { objects: listed, prerequisites, .. } = examined;
        let wanted =
            bundle::Listed { base, objects: &listed, prerequisites: prerequisites.into_iter().collect() };
        let bundle = bundle::write_listed(&source, wanted, (&shared.git, &objects), open);
        (plan, bundle)
    });
    match work.await {
        Ok(Ok(packed)) => Ok(packed),
        Ok(Err(panic)) => Err(SnapshotError::Failed(defect(&candidate.path, &panic.to_string()))),
        Err(hang) => Err(SnapshotError::Failed(hang_problem(candidate, &hang))),
    }
}
