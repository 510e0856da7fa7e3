//! Goes on with the runs that this coordinator's last life did not finish.
//!
//! Does not own: the rest of a run (`run::resume`). A coordinator knows its own runs by its identity; it listens at its
//! address before it looks, so no other process with that identity is alive. Runs that are too old are left: the next run
//! uses what they made durable.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use packhorse_model::Problem;
use packhorse_proto::v1::TaskKind;
use packhorse_vault::{RunJournal, committed, unfinished};

use super::{Shared, json};
use crate::run::{self, RunContext};

/// Pauses between two looks into a vault that cannot be read.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Looks for runs to resume, and starts them as tasks.
pub async fn resume_all(shared: Arc<Shared>) {
    let shutdown = shared.tasks.shutdown().clone();
    let journals = loop {
        match own_runs(&shared).await {
            Ok(journals) => break journals,
            Err(problem) => tracing::warn!(%problem, "cannot look for runs to resume, trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = shutdown.cancelled() => return,
        }
    };
    // A run that was asked for since we listen is in the vault, too, but is under way already.
    let known = shared.tasks.all();
    let fresh = |journal: &RunJournal| known.iter().any(|task| task.name == journal.attempt);
    for journal in journals.into_iter().filter(|journal| !fresh(journal)) {
        tracing::info!(backup = %journal.backup_id, started_at = %journal.started_at, "resuming run");
        let context = Arc::clone(&shared);
        // What the journal calls the attempt is the name that its caller knows.
        let name = journal.attempt.clone();
        shared.tasks.start_named(name, TaskKind::Create, true, |task| async move {
            let options = context.options();
            let context =
                RunContext { vault: &context.vault, options: &options, board: &task.board, stop: &task.stop };
            json(&run::resume(&context, &journal, task.name.clone()).await?)
        });
    }
    shared.tasks.set_looking(false);
}

async fn own_runs(shared: &Shared) -> Result<Vec<RunJournal>, Problem> {
    let options = shared.options();
    let Some(identity) = &options.identity else { return Ok(Vec::new()) };
    let (backups, _) = committed(&shared.vault).await?;
    let runs = unfinished(&shared.vault, &backups).await?.into_iter();
    let own = runs.filter(|run| run.end.is_none() && run.journal.coordinator.as_ref() == Some(identity));
    let oldest = SignedDuration::try_from(options.resume_within)
        .ok()
        .and_then(|age| Timestamp::now().checked_sub(age).ok())
        .unwrap_or(Timestamp::MIN);
    let own = own.map(|run| run.journal).filter(|journal| journal.order.is_some());
    Ok(own.filter(|journal| journal.started_at >= oldest).collect())
}
