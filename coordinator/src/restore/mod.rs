//! A restore: request → repositories, databases and directories beside each other → summary.
//!
//! Order: the backup's commit record and report are read and checked, everything named is looked up, then every part is
//! restored. Each part checks digests before its target is touched and replaces it only when the new one is complete.
//!
//! Cancellation: one token; what is in place stays, what was being built is removed.
//!
//! A crash leaves: parts that were in place, and temporary folders that the next restore removes.

mod dispatch;
mod lacks;
mod request;

use futures_util::future::join_all;
use jiff::Timestamp;
use packhorse_model::{
    Component, ErrorKind, ItemFailure, Problem, RestoreSummary, RestoredItem, RunSummary, Subject,
};
use packhorse_proto::v1::RunAccepted;
use packhorse_vault::{FormatMarker, Vault, load_summary, resolve};
use tokio_util::sync::CancellationToken;

pub use self::request::RestoreRequest;
use self::{
    dispatch::Restore,
    request::{RestorePlan, check_targets},
};
use crate::{
    CoordinatorOptions, board::Board, database, directory, fleet::Fleet, run::WHOLE_STORAGE, stop::Stop,
};

/// Does a restore to its end.
pub async fn restore(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: RestoreRequest,
    run: String,
    board: &Board,
    stop: &Stop,
) -> Result<RestoreSummary, Problem> {
    let started_at = Timestamp::now();
    let vault_id = FormatMarker::of(&vault.briefly()).await?.vault_id;
    let backup = resolve(&vault.briefly(), &request.backup, request.latest).await?;
    let summary = load_summary(vault, &backup).await?;
    let mut plan = request.plan(&summary, options)?;
    plan.failures.extend(lacks::missing_items(&summary, &plan));
    let fleet = if plan.storages.is_empty() && plan.directories.is_empty() {
        Fleet::muster(&[], None).await?
    } else {
        Fleet::muster(&options.agents, options.tls.as_ref()).await?
    };
    fleet.check_places(&[&options.places[..], &request.folders(options)].concat()).await?;
    check_targets(&plan, &fleet)?;
    board.accepted(RunAccepted {
        run: run.clone(),
        backup_id: summary.backup_id.to_string(),
        base_backup_id: None,
        storages: plan.storages.iter().map(|storage| storage.target.to_string()).collect(),
    });
    for failure in &plan.failures {
        board.failed(failure.clone());
    }
    for remark in lacks::remarks(&summary, &plan, options, &fleet) {
        board.remark(remark);
    }
    let shared = Restore {
        run: &run,
        backup_id: &summary.backup_id,
        vault_id: &vault_id,
        request: &request,
        fleet: &fleet,
        patience: options.agent_patience,
        board,
        stop,
    };
    let cancel = &stop.token;
    let ((storages, mut remarks), databases, (directories, left)) = tokio::join!(
        dispatch::dispatch(&shared, &plan),
        restore_databases(vault, options, &summary, &plan, &request, board, cancel),
        restore_directories(vault, &summary, &plan, board, cancel),
    );
    if cancel.is_cancelled() {
        return Err(Problem::cancelled("restore backup")
            .on(&summary.backup_id)
            .leaving("what was already in place stays; nothing half-restored is left"));
    }
    remarks.extend(left);
    finish(summary, started_at, ((storages, remarks), databases, directories), board)
}

type Told = (Vec<RestoredItem>, Vec<ItemFailure>);
type Restored = (Told, Told, Vec<RestoredItem>);

fn finish(
    summary: RunSummary,
    started_at: Timestamp,
    ((storages, mut remarks), (databases, of_databases), directories): Restored,
    board: &Board,
) -> Result<RestoreSummary, Problem> {
    remarks.extend(of_databases);
    let (failures, failures_total) = board.failures();
    let nothing =
        storages.iter().chain(&databases).chain(&directories).all(|item| item.items + item.already == 0);
    if nothing && let Some(failure) = failures.first() {
        let problem = failure.problem.clone().while_doing(&format!("restore {}", failure.item));
        let state = state_of_nothing(&failures);
        return Err(match failures_total - 1 {
            0 => problem.leaving(state),
            1 => problem.leaving(format!("{state}; 1 more item failed")),
            more => problem.leaving(format!("{state}; {more} more items failed")),
        });
    }
    if nothing && storages.is_empty() && databases.is_empty() && directories.is_empty() {
        return Err(Problem::new(ErrorKind::NotFound, Subject::Backup, "restore backup")
            .on(&summary.backup_id)
            .answered("it holds nothing of what was selected"));
    }
    let of_backup = board.remarks();
    remarks.truncate(RunSummary::MAX_FAILURES.saturating_sub(of_backup.len()));
    remarks.splice(..0, of_backup);
    Ok(RestoreSummary {
        vault: None,
        vault_id: None,
        backup_id: summary.backup_id,
        state: RunSummary::state_of(failures_total, 0),
        backup_state: summary.state,
        backup_partial: summary.partial,
        started_at,
        finished_at: Timestamp::now(),
        storages,
        databases,
        directories,
        failures,
        failures_total,
        remarks,
    })
}

/// What is said of a restore that brought nothing back: a storage whose agent was lost may hold more than was told.
fn state_of_nothing(failures: &[ItemFailure]) -> String {
    let mut whole = failures.iter().filter(|failure| failure.item == WHOLE_STORAGE);
    let told = whole.find_map(|failure| failure.problem.state.clone());
    told.unwrap_or_else(|| "nothing was restored; the target is as it was".into())
}

async fn restore_databases(
    vault: &Vault,
    options: &CoordinatorOptions,
    summary: &RunSummary,
    plan: &RestorePlan,
    request: &RestoreRequest,
    board: &Board,
    cancel: &CancellationToken,
) -> Told {
    let RestoreRequest { force, keep_old, continue_on_error, .. } = *request;
    let how = database::RestoreOptions { force, keep_old, continue_on_error };
    let (mut items, mut remarks) = (Vec::new(), Vec::new());
    for wanted in &plan.databases {
        let Some(database) = options.databases.iter().find(|database| database.name() == wanted.name) else {
            continue;
        };
        let shown = board.clone();
        let progress = move |name: &str, bytes| shown.part(&Component::Databases, name, bytes, false);
        let restored =
            database::restore_one(vault, &summary.backup_id, database, wanted, how, cancel, progress).await;
        let restored = restored.map(|restored| {
            restored.failures.into_iter().for_each(|failure| board.failed(failure));
            remarks.extend(restored.remarks);
            restored.item
        });
        note(restored, Component::Databases, &wanted.name, board, &mut items);
    }
    (items, remarks)
}

async fn restore_directories(
    vault: &Vault,
    summary: &RunSummary,
    plan: &RestorePlan,
    board: &Board,
    cancel: &CancellationToken,
) -> (Vec<RestoredItem>, Vec<ItemFailure>) {
    let mut jobs = Vec::new();
    for (wanted, target) in &plan.directories {
        let component = Component::Directory(wanted.name.clone());
        jobs.push(async move {
            let shown = (board.clone(), component.clone());
            let progress = move |name: &str, bytes| shown.0.part(&shown.1, name, bytes, false);
            let (id, target) = (&summary.backup_id, target.clone());
            let restored = directory::restore_one(vault, id, target, wanted, cancel, progress).await;
            (component, &wanted.name, restored)
        });
    }
    let (mut items, mut remarks) = (Vec::new(), Vec::new());
    for (component, name, restored) in join_all(jobs).await {
        let restored = restored.map(|restored| {
            let remark = |problem| ItemFailure {
                component: component.clone(),
                storage: None,
                item: name.to_owned(),
                problem,
            };
            remarks.extend(restored.leftovers.map(remark));
            restored.missing.into_iter().for_each(|missing| board.failed(missing));
            restored.item
        });
        note(restored, component, name, board, &mut items);
    }
    (items, remarks)
}

fn note(
    restored: Result<RestoredItem, Problem>,
    component: Component,
    name: &str,
    board: &Board,
    items: &mut Vec<RestoredItem>,
) {
    match restored {
        Ok(item) => {
            board.part(&component, name, item.bytes, true);
            items.push(item);
        }
        Err(problem) => {
            board.failed(ItemFailure { component, storage: None, item: name.to_owned(), problem });
        }
    }
}
