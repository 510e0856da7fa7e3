//! A restore: request → plan → preflight → repositories, databases and directories beside each other → summary.
//!
//! Order: the backup's commit record and report are read and checked, everything named is looked up (`plan`), every target
//! is looked at (`preflight`), and only when nothing stands in the way of any part is the first one touched. Each part
//! checks digests before its target is touched and replaces it only when the new one is complete. A dry run ends after the
//! preflight.
//!
//! Cancellation: one token; what is in place stays, what was being built is removed.
//!
//! A crash leaves: parts that were in place, and temporary folders that the next restore removes.

mod dispatch;
mod lacks;
mod plan;
mod preflight;
mod request;
mod room;
mod storages;

use std::sync::OnceLock;

use futures_util::future::join_all;
use jiff::Timestamp;
use packhorse_model::{
    Component, ErrorKind, ItemFailure, PlannedRestore, Problem, RestoreOrder, RestoreSummary, RestoredItem,
    RunSummary, Subject,
};
use packhorse_proto::v1::RunAccepted;
use packhorse_vault::{FormatMarker, Vault, load_summary, resolve};
use tokio_util::sync::CancellationToken;

pub use self::request::RestoreRequest;
use self::{dispatch::Restore, plan::RestorePlan, preflight::Outlook};
use crate::{
    CoordinatorOptions, board::Board, database, directory, fleet::Fleet, run::WHOLE_STORAGE, stop::Stop,
};

/// What a restore works with.
pub struct RestoreContext<'a> {
    /// Where the backup is.
    pub vault: &'a Vault,
    /// What there is to restore into.
    pub options: &'a CoordinatorOptions,
    /// What was asked.
    pub request: &'a RestoreRequest,
    /// Its name.
    pub run: &'a str,
    /// Where it tells how far it is.
    pub board: &'a Board,
    /// What stops it.
    pub stop: &'a Stop,
    /// What is asked for, with where each part goes: set once that is known, before anything is touched.
    pub order: &'a OnceLock<RestoreOrder>,
}

impl RestoreContext<'_> {
    /// What is asked for, with where each part goes, as far as that is known.
    pub fn order(&self) -> RestoreOrder {
        self.order.get().cloned().unwrap_or_else(|| self.request.order(Vec::new()))
    }
}

/// A restore that has not begun.
struct Prepared {
    started_at: Timestamp,
    vault_id: String,
    summary: RunSummary,
    /// Newer backups that `latest` does not mean.
    passed_over: Option<String>,
    plan: RestorePlan,
    fleet: Fleet,
}

/// Does a restore to its end; `begun` is done when nothing stands in its way, before anything is touched.
pub async fn restore<F: Future<Output = ()>>(
    context: &RestoreContext<'_>,
    begun: impl FnOnce() -> F,
) -> Result<RestoreSummary, Problem> {
    let prepared = prepare(context).await?;
    let shared = prepared.shared(context);
    let outlook = preflight::look(&shared, context.vault, &prepared.plan).await;
    if context.stop.is_stopping() {
        return Err(Problem::cancelled("restore backup").on(shared.backup_id).leaving("nothing was touched"));
    }
    if !outlook.problems.is_empty() {
        return Err(refused(&outlook.problems, context.board));
    }
    if prepared.selects_nothing(context, &outlook) {
        return Err(holds_nothing(&prepared.summary));
    }
    begun().await;
    for failure in prepared.plan.failures.iter().chain(&outlook.unmatched) {
        context.board.failed(failure.clone());
    }
    for remark in prepared.remarks(context).into_iter().chain(outlook.remarks) {
        context.board.remark(remark);
    }
    carry_out(context, &shared, &prepared).await
}

/// Says what a restore would do, and what stands in its way; touches nothing.
pub async fn dry_run(context: &RestoreContext<'_>) -> Result<PlannedRestore, Problem> {
    let prepared = prepare(context).await?;
    let shared = prepared.shared(context);
    let outlook = preflight::look(&shared, context.vault, &prepared.plan).await;
    if context.stop.is_stopping() {
        return Err(Problem::cancelled("plan restore").on(shared.backup_id).leaving("nothing was touched"));
    }
    if prepared.selects_nothing(context, &outlook) {
        return Err(holds_nothing(&prepared.summary));
    }
    Ok(planned(&prepared, prepared.remarks(context), outlook))
}

async fn prepare(context: &RestoreContext<'_>) -> Result<Prepared, Problem> {
    let RestoreContext { vault, options, request, run, board, .. } = *context;
    let started_at = Timestamp::now();
    let vault_id = FormatMarker::of(&vault.briefly()).await?.vault_id;
    let found = resolve(&vault.briefly(), &request.backup, request.latest).await?;
    let passed_over = found.remark();
    let summary = load_summary(vault, &found.backup).await?;
    let mut plan = request.plan(&summary, options)?;
    plan.failures.extend(lacks::missing_items(&summary, &plan));
    let fleet = if plan.storages.is_empty() && plan.directories.is_empty() {
        Fleet::muster(&[], None).await?
    } else {
        Fleet::of(options).await?
    };
    fleet.check_places(&[&options.places[..], &request.folders(options)].concat()).await?;
    let _ = context.order.set(request.order(plan.targets(&fleet)));
    board.accepted(RunAccepted {
        run: run.to_owned(),
        backup_id: summary.backup_id.to_string(),
        base_backup_id: None,
        storages: plan.storages.iter().map(|storage| storage.target.to_string()).collect(),
    });
    Ok(Prepared { started_at, vault_id, summary, passed_over, plan, fleet })
}

impl Prepared {
    fn shared<'a>(&'a self, context: &RestoreContext<'a>) -> Restore<'a> {
        Restore {
            run: context.run,
            backup_id: &self.summary.backup_id,
            vault_id: &self.vault_id,
            request: context.request,
            fleet: &self.fleet,
            patience: context.options.agent_patience,
            board: context.board,
            stop: context.stop,
        }
    }

    /// Whether nothing comes of what was selected. A storage that is empty as a whole is restored by leaving it so.
    fn selects_nothing(&self, context: &RestoreContext<'_>, outlook: &Outlook) -> bool {
        let is_empty = self.plan.storages.is_empty() || !context.request.filter.is_all();
        is_empty && self.plan.failures.is_empty() && outlook.is_of_nothing()
    }

    fn remarks(&self, context: &RestoreContext<'_>) -> Vec<ItemFailure> {
        let passed_over = self.passed_over.clone();
        let mut remarks: Vec<ItemFailure> =
            passed_over.into_iter().map(|said| lacks::of_backup(&self.summary, said)).collect();
        remarks.extend(self.plan.remarks.iter().cloned());
        remarks.extend(lacks::remarks(&self.summary, &self.plan, context.options, &self.fleet));
        remarks
    }
}

/// Tells all that stands in the way, and ends with the first of it.
fn refused(problems: &[ItemFailure], board: &Board) -> Problem {
    for problem in problems {
        board.failed(problem.clone());
    }
    let first = problems.first().map(|first| (named(first), first.problem.clone()));
    let (item, problem) = first.unwrap_or_else(|| {
        ("backup".to_owned(), Problem::new(ErrorKind::Internal, Subject::Coordinator, "refuse restore"))
    });
    let state = match problems.len().saturating_sub(1) {
        0 => "nothing was touched".to_owned(),
        1 => "nothing was touched; 1 more thing stands in the way".to_owned(),
        more => format!("nothing was touched; {more} more things stand in the way"),
    };
    problem.while_doing(&format!("restore {item}")).leaving(state)
}

/// The name of an item by itself: that of the storage, where all of it is meant.
fn named(failure: &ItemFailure) -> String {
    match &failure.storage {
        Some(storage) if failure.item == WHOLE_STORAGE => storage.clone(),
        _ => failure.item.clone(),
    }
}

fn planned(prepared: &Prepared, mut remarks: Vec<ItemFailure>, outlook: Outlook) -> PlannedRestore {
    let summary = &prepared.summary;
    remarks.extend(outlook.remarks);
    remarks.extend(outlook.unseen);
    let mut failures: Vec<ItemFailure> = prepared.plan.failures.clone();
    failures.extend(outlook.unmatched);
    let failures_total = outlook.missing_total.saturating_add(failures.len() as u64);
    failures.extend(outlook.missing);
    failures.truncate(RunSummary::MAX_FAILURES);
    let standing = outlook.problems.len() as u64;
    PlannedRestore {
        vault: None,
        vault_id: None,
        dry_run: true,
        backup_id: summary.backup_id.clone(),
        order: None,
        state: RunSummary::state_of(failures_total.saturating_add(standing), 0),
        backup_state: summary.state,
        backup_partial: summary.partial,
        storages: outlook.storages,
        databases: outlook.databases,
        directories: outlook.directories,
        problems: outlook.problems,
        failures,
        failures_total,
        remarks,
    }
}

async fn carry_out(
    context: &RestoreContext<'_>,
    shared: &Restore<'_>,
    prepared: &Prepared,
) -> Result<RestoreSummary, Problem> {
    let Prepared { started_at, summary, plan, .. } = prepared;
    let RestoreContext { vault, board, stop, .. } = *context;
    let cancel = &stop.token;
    let ((storages, mut remarks), databases, (directories, left)) = tokio::join!(
        dispatch::dispatch(shared, plan),
        restore_databases(context, summary, plan),
        restore_directories(vault, summary, plan, board, cancel),
    );
    if cancel.is_cancelled() {
        return Err(Problem::cancelled("restore backup")
            .on(&summary.backup_id)
            .leaving("what was already in place stays; nothing half-restored is left")
            .next(context.order().to_go_on()));
    }
    remarks.extend(left);
    finish(summary.clone(), *started_at, ((storages, remarks), databases, directories), board)
}

fn holds_nothing(summary: &RunSummary) -> Problem {
    Problem::new(ErrorKind::NotFound, Subject::Backup, "restore backup")
        .on(&summary.backup_id)
        .answered("it holds nothing of what was selected")
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
    let of_backup = board.remarks();
    remarks.truncate(RunSummary::MAX_FAILURES.saturating_sub(of_backup.len()));
    remarks.splice(..0, of_backup);
    Ok(RestoreSummary {
        vault: None,
        vault_id: None,
        backup_id: summary.backup_id,
        order: None,
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

async fn restore_databases(context: &RestoreContext<'_>, summary: &RunSummary, plan: &RestorePlan) -> Told {
    let RestoreContext { vault, request, board, stop, .. } = *context;
    let how = request.database_options();
    let (mut items, mut remarks) = (Vec::new(), Vec::new());
    for wanted in &plan.databases {
        let shown = board.clone();
        let progress = move |name: &str, bytes| shown.part(&Component::Databases, name, bytes, false);
        let (target, wanted, id) = (&wanted.target, &wanted.summary, &summary.backup_id);
        let restored = database::restore_one(vault, id, target, wanted, how, &stop.token, progress).await;
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
