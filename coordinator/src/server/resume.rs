//! Goes on with the runs that this coordinator's last life did not finish.
//!
//! Does not own: the rest of a run (`run::resume`). A coordinator knows its own runs by its identity; it listens at its
//! address before it looks, so no other process with that identity is alive. Runs that are too old are left: the next run
//! uses what they made durable.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::v1::{RunAccepted, TaskKind};
use packhorse_vault::{CommittedBackup, FormatMarker, RunEnd, RunJournal, base_for, committed, unfinished};

use super::{Shared, json, named, schedules::Last, tasks::Asked};
use crate::{
    run,
    schedule::{Begun, schedule_in},
};

/// Pauses between two looks into a vault that cannot be read.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Looks for runs to resume, and starts them as tasks. Says when those began that schedules had asked for.
pub async fn resume_all(shared: Arc<Shared>) -> Begun {
    let journals = loop {
        let looked = tokio::select! {
            looked = own_runs(&shared) => looked,
            () = shared.stopping.cancelled() => return Begun::new(),
        };
        match looked {
            Ok(journals) => break journals,
            Err(problem) => {
                tracing::warn!(%problem, "the vault does not say which runs to resume; it is asked again")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = shared.stopping.cancelled() => return Begun::new(),
        }
    };
    let found = journals.len();
    let mut begun = Begun::new();
    for journal in journals {
        tracing::info!(backup = %journal.backup_id, started_at = %journal.started_at, "the coordinator is resuming run");
        let context = Arc::clone(&shared);
        // What the journal calls the attempt is the name that its caller knows.
        let name = journal.attempt.clone();
        let by = journal.requested_by.clone().unwrap_or_default();
        let (schedule, started_at) = (schedule_in(&by).map(str::to_owned), journal.started_at);
        let asked = Asked {
            kind: TaskKind::Create,
            resumable: true,
            dry_run: false,
            by,
            backup_id: Some(journal.backup_id.to_string()),
        };
        let task = shared.tasks.start_named(name, asked, |task| {
            // From the first moment on it is found by its backup ID, by which callers look for it.
            let (run, backup_id) = (task.name.clone(), journal.backup_id.to_string());
            task.board.accepted(RunAccepted { run, backup_id, ..RunAccepted::default() });
            async move {
                let options = context.options();
                let vault = &context.vault;
                let context = context.context(&options, &task);
                json(&named(vault, run::resume(&context, &journal, task.name.clone()).await?))
            }
        });
        // The newest come first.
        if let Some(schedule) = schedule {
            begun.entry(schedule.clone()).or_insert(started_at);
            shared.lasts().entry(schedule).or_insert(Last::Started(task));
        }
    }
    shared.knows_its_runs.cancel();
    tracing::info!(found, "the coordinator looked for runs to resume");
    begun
}

/// The runs to resume: our own that are not too old, and whose storages neither a newer backup holds nor a newer of these
/// runs is about. The journals of the others say from now on that they are over; what they stored is used.
async fn own_runs(shared: &Shared) -> Result<Vec<RunJournal>, Problem> {
    let options = shared.options();
    let Some(identity) = &options.identity else { return Ok(Vec::new()) };
    FormatMarker::of(&shared.vault).await?;
    let (backups, _) = committed(&shared.vault).await?;
    let runs = unfinished(&shared.vault, &backups).await?.into_iter();
    let own = runs.filter(|run| run.end.is_none() && run.journal.coordinator.as_ref() == Some(identity));
    // A run that was asked for since we listen is in the vault, too, but is under way already.
    let known = shared.tasks.all();
    let own = own.filter(|run| !known.iter().any(|task| task.name == run.journal.attempt));
    let oldest = SignedDuration::try_from(options.resume_within)
        .ok()
        .and_then(|age| Timestamp::now().checked_sub(age).ok())
        .unwrap_or(Timestamp::MIN);
    let (mut resumed, mut taken) = (Vec::new(), BTreeSet::new());
    // The newest come first.
    for journal in own.map(|run| run.journal).filter(|journal| journal.order.is_some()) {
        let storages = match run::storages_of(&journal) {
            Ok(storages) => storages,
            Err(problem) => {
                tracing::warn!(backup = %journal.backup_id, %problem, "a run is not resumed");
                continue;
            }
        };
        let is_free = resumed.is_empty() || !storages.is_empty() && storages.is_disjoint(&taken);
        if journal.started_at >= oldest
            && is_free
            && !is_outdated(shared, &journal, &storages, &backups).await?
        {
            taken.extend(storages);
            resumed.push(journal);
        } else {
            give_up(shared, &journal).await?;
        }
    }
    Ok(resumed)
}

/// Whether newer backups hold all that the run is about.
async fn is_outdated(
    shared: &Shared,
    journal: &RunJournal,
    storages: &BTreeSet<StorageName>,
    backups: &[CommittedBackup],
) -> Result<bool, Problem> {
    let is_newer = |started_at: Timestamp| started_at > journal.started_at;
    if !backups.iter().any(|backup| is_newer(backup.started_at)) {
        return Ok(false);
    }
    let storages: Vec<StorageName> = storages.iter().cloned().collect();
    let bases = base_for(&shared.vault, backups, &storages).await?;
    Ok(bases.iter().all(|base| base.as_ref().is_some_and(|base| is_newer(base.started_at))))
}

async fn give_up(shared: &Shared, journal: &RunJournal) -> Result<(), Problem> {
    let problem = Problem::new(ErrorKind::Cancelled, Subject::Backup, "resume run")
        .on(&journal.backup_id)
        .answered("it is too old, or a newer run takes its place")
        .leaving("what it stored is used by the next run");
    let end = RunEnd { ended_at: Timestamp::now(), problem };
    Ok(end.record(&shared.vault, &journal.backup_id).await?)
}
