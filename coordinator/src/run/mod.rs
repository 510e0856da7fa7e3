//! A run of `create`: validate → plan → dispatch → databases → directories → collect → publish.
//!
//! Order: `request` checks what was asked, `plan` finds agents and bases and claims the ID, then repositories
//! (`dispatch`), databases and directories are backed up beside each other, `collect` makes the summary, `publish`
//! commits. The coordinator never sees repository bytes.
//!
//! Retries: none here; the vault's client and the agents have theirs.
//!
//! Cancellation: one token; every part stops, nothing is committed.
//!
//! A crash leaves: an ID that is taken and objects that no commit record names. The next run builds on the last
//! committed backup and does not need them.

mod collect;
mod dispatch;
mod plan;
mod publish;
mod request;

use futures_util::future::join_all;
use jiff::Timestamp;
use packhorse_model::{
    Component, DatabaseSummary, DirectorySummary, ErrorKind, ItemFailure, Problem, RunSummary, Subject,
};
use packhorse_proto::v1::RunAccepted;
use packhorse_vault::Vault;
use tokio_util::sync::CancellationToken;

use self::collect::Parts;
pub use self::{
    dispatch::{ended_early, filter_parts, matched_nothing},
    request::{RunRequest, components},
};
use crate::{CoordinatorOptions, board::Board, database, directory};

/// Does a run to its end.
pub async fn create(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: RunRequest,
    run: String,
    board: &Board,
    cancel: &CancellationToken,
) -> Result<RunSummary, Problem> {
    let started_at = Timestamp::now();
    let plan = tokio::select! {
        plan = plan::plan(vault, options, &request, started_at, run.clone()) => plan.map_err(without_vault)?,
        () = cancel.cancelled() => return Err(Problem::cancelled("plan backup")),
    };
    board
        .accepted(RunAccepted {
            run,
            backup_id: plan.backup_id.to_string(),
            base_backup_id: plan.base_backup_id(&request).map(String::from),
            storages: plan.storages.iter().map(|plan| plan.storage.to_string()).collect(),
        })
        .await;
    for failure in &plan.failures {
        board.failed(failure.clone()).await;
    }
    let (storages, databases, directories) = tokio::join!(
        dispatch::dispatch(&plan, &request, board, cancel),
        back_up_databases(vault, options, &request, &plan, board, cancel),
        back_up_directories(vault, options, &request, &plan, board, cancel),
    );
    if cancel.is_cancelled() {
        return Err(Problem::cancelled("create backup")
            .on(&plan.backup_id)
            .leaving("nothing was committed; earlier backups are as they were")
            .next("run again"));
    }
    let parts = Parts { storages, databases, directories };
    let nothing = parts.is_empty(&request);
    let times = (started_at, Timestamp::now());
    let summary = collect::collect(&plan, &request, times, parts, board);
    if nothing {
        return Err(nothing_to_commit(&summary));
    }
    if !request.dry_run {
        publish::publish(vault, &summary, &options.instance_version).await?;
    }
    Ok(summary)
}

fn nothing_to_commit(summary: &RunSummary) -> Problem {
    let problem = match summary.failures.first() {
        Some(failure) => failure.problem.clone().while_doing("create backup"),
        None => Problem::new(ErrorKind::Invalid, Subject::Configuration, "create backup")
            .answered("nothing is selected: there is no storage, database or directory to back up")
            .next("configure [[storage]], [[database]] or [[directory]], or change --only and --skip"),
    };
    problem.leaving("nothing was committed; earlier backups are as they were")
}

/// A run that the vault did not let begin.
fn without_vault(problem: Problem) -> Problem {
    let lost = matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::Denied);
    if !lost || problem.subject != Subject::Vault || problem.state.is_some() {
        return problem;
    }
    problem.leaving("nothing was committed; earlier backups are as they were")
}

async fn back_up_databases(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: &RunRequest,
    plan: &plan::RunPlan,
    board: &Board,
    cancel: &CancellationToken,
) -> Vec<DatabaseSummary> {
    if request.dry_run || options.databases.is_empty() || !request.components.selects(&Component::Databases) {
        return Vec::new();
    }
    let shown = board.clone();
    let progress = move |name: &str, bytes| shown.part(&Component::Databases, name, bytes, false);
    let (done, failures) =
        database::back_up_all(vault, &plan.backup_id, &options.databases, cancel, progress).await;
    for summary in &done {
        board.part(&Component::Databases, &summary.name, summary.bytes_plain, true);
    }
    for failure in failures {
        board.failed(failure).await;
    }
    done
}

async fn back_up_directories(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: &RunRequest,
    plan: &plan::RunPlan,
    board: &Board,
    cancel: &CancellationToken,
) -> Vec<DirectorySummary> {
    let mut jobs = Vec::new();
    for directory in &options.directories {
        let component = Component::Directory(directory.name().to_owned());
        if request.dry_run || !request.components.selects(&component) {
            continue;
        }
        jobs.push(async move {
            let shown = (board.clone(), component.clone());
            let progress = move |name: &str, bytes| shown.0.part(&shown.1, name, bytes, false);
            let done = directory::back_up(vault, &plan.backup_id, directory, cancel, progress).await;
            (component, done)
        });
    }
    let mut summaries = Vec::new();
    for (component, done) in join_all(jobs).await {
        match done {
            Ok((summary, failures)) => {
                board.part(&component, &summary.name, summary.bytes_plain, true);
                for failure in failures {
                    board.failed(failure).await;
                }
                summaries.push(summary);
            }
            Err(problem) => {
                let item = component.to_string();
                board.failed(ItemFailure { component, storage: None, item, problem }).await;
            }
        }
    }
    summaries
}
