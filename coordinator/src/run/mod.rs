//! A run of `create`: validate → plan → dispatch → databases → directories → collect → publish.
//!
//! Order: `request` checks what was asked, `plan` finds agents and bases and claims the ID, then repositories
//! (`dispatch`), databases and directories are backed up beside each other, `collect` makes the summary, `publish`
//! commits. The coordinator never sees repository bytes.
//!
//! Retries: a lost agent is waited for; the vault's client and the agents have their own.
//!
//! Cancellation: every part stops, nothing is committed, and the run's journal says so.
//!
//! A crash leaves: a journal with the run's order, and what was made durable. The same coordinator, when it starts again,
//! resumes the run: agents that are still at it are joined, others do what is left, and whatever was finished counts. Any
//! other run builds on what it finds of it. When the coordinator is told to end, it leaves its runs in just that state.

mod collect;
mod dispatch;
mod dry;
mod gone;
mod order;
mod parts;
mod plan;
mod publish;
mod request;
mod shares;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use jiff::Timestamp;
use packhorse_model::{
    BackupId, Component, DatabaseSummary, DirectorySummary, ErrorKind, ItemFailure, Problem, RunSummary,
    StorageName, Subject,
};
use packhorse_proto::v1::RunAccepted;
use packhorse_vault::{Attempt, RunEnd, RunJournal, Vault};

use self::{
    collect::Parts,
    order::RunOrder,
    parts::{DirectoryDone, earlier, record},
    plan::RunPlan,
};
pub use self::{
    dispatch::{ended_early, filter_parts, matched_nothing},
    gone::GoneRules,
    request::{RunRequest, check_named, components},
    shares::Shares,
};
use crate::{
    CoordinatorOptions,
    board::{Board, Kept},
    database, directory,
    stop::Stop,
};

/// The item of a storage that failed as a whole.
pub const WHOLE_STORAGE: &str = "(whole storage)";

/// What a run works with.
pub struct RunContext<'a> {
    /// Where everything goes.
    pub vault: &'a Vault,
    /// What there is to back up.
    pub options: &'a CoordinatorOptions,
    /// Where it tells how far it is.
    pub board: &'a Board,
    /// What stops it.
    pub stop: &'a Stop,
    /// What all runs of this coordinator may take together.
    pub shares: &'a Shares,
}

/// Does a run to its end.
pub async fn create(
    context: &RunContext<'_>,
    request: RunRequest,
    run: String,
) -> Result<RunSummary, Problem> {
    let RunContext { vault, options, stop, .. } = *context;
    let now = Timestamp::now();
    let mut plan = tokio::select! {
        plan = plan::plan(vault, options, &request, now, run.clone()) => plan.map_err(not_begun)?,
        () = stop.token.cancelled() => return Err(Problem::cancelled("plan backup")),
    };
    if request.dry_run {
        dry::check_id(vault, &request).await.map_err(not_begun)?;
        plan.remarks.extend(dry::not_looked_at(&plan, &request, options));
        return carry_out(context, &plan, &request, run).await;
    }
    // Once it has begun, the claim is not broken off: nobody would know whether there is a run to be ended.
    plan.run.id = plan::claim(vault, options, &request, &plan, now).await.map_err(not_begun)?;
    let done = carry_out(context, &plan, &request, run).await;
    close(context, &plan.run.id, done).await
}

/// Does what is left of a run that this coordinator's last life did not finish.
pub async fn resume(
    context: &RunContext<'_>,
    journal: &RunJournal,
    run: String,
) -> Result<RunSummary, Problem> {
    let done = go_on(context, journal, run).await;
    close(context, &journal.backup_id, done).await
}

/// The storages that a run is about.
pub fn storages_of(journal: &RunJournal) -> Result<BTreeSet<StorageName>, Problem> {
    let order = RunOrder::of_journal(journal)?;
    Ok(order.storages.into_iter().map(|order| order.storage).collect())
}

async fn go_on(context: &RunContext<'_>, journal: &RunJournal, run: String) -> Result<RunSummary, Problem> {
    let RunContext { vault, options, .. } = *context;
    if let Some(summary) = publish::finish(vault, &journal.backup_id, &options.instance_version).await? {
        return Ok(summary);
    }
    let order = RunOrder::of_journal(journal)?;
    let request = order.request(&journal.backup_id)?;
    let again = Attempt::again(Timestamp::now(), uuid::Uuid::new_v4().as_fields().0);
    let plan = plan::resume(vault, options, journal, &order, again).await?;
    carry_out(context, &plan, &request, run).await
}

async fn carry_out(
    context: &RunContext<'_>,
    plan: &RunPlan,
    request: &RunRequest,
    run: String,
) -> Result<RunSummary, Problem> {
    let RunContext { vault, options, board, stop, .. } = *context;
    board.accepted(RunAccepted {
        run,
        backup_id: plan.run.id.to_string(),
        base_backup_id: plan.base_backup_id(request).map(String::from),
        storages: plan.storages.iter().map(|plan| plan.storage.to_string()).collect(),
    });
    for failure in &plan.failures {
        board.failed(failure.clone());
    }
    for remark in &plan.remarks {
        board.remark(remark.clone());
    }
    let (storages, mut databases, mut directories) = tokio::join!(
        dispatch::dispatch(plan, options, request, context.shares, board, stop),
        back_up_databases(context, request, plan),
        back_up_directories(context, request, plan),
    );
    if stop.is_stopping() {
        return Err(Problem::cancelled("create backup").on(&plan.run.id));
    }
    for failure in gone::emptied(&plan.known, request, &mut databases, &mut directories) {
        board.failed(failure);
    }
    let parts = Parts { storages, databases, directories };
    let nothing = parts.is_empty(request);
    let times = (plan.started_at, Timestamp::now().max(plan.started_at));
    let summary = collect::collect(plan, request, times, parts, board);
    if nothing {
        return Err(nothing_to_commit(&summary, request, options));
    }
    if !request.dry_run {
        return publish::publish(vault, summary, &options.instance_version).await;
    }
    Ok(summary)
}

/// Says in the run's journal that it is over, unless it committed, or is only left for a while.
async fn close(
    context: &RunContext<'_>,
    id: &BackupId,
    done: Result<RunSummary, Problem>,
) -> Result<RunSummary, Problem> {
    let RunContext { vault, options, board, stop, .. } = *context;
    let Err(problem) = done else { return done };
    let stopped = problem.kind == ErrorKind::Cancelled;
    if stopped && stop.is_stopping() && !stop.is_cancelled() {
        let left = Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "create backup")
            .on(id)
            .answered("the coordinator was told to end")
            .leaving("agents go on with it");
        return Err(match options.identity {
            Some(_) => left.next("the run is resumed when the coordinator starts again"),
            None => left.next("run again"),
        });
    }
    let vault_lost = matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::Denied);
    if vault_lost && problem.subject == Subject::Vault {
        // Not over, and perhaps even committed: a coordinator that starts again finishes it when the vault is back.
        return Err(problem);
    }
    let problem = if stopped { cancelled(problem, board, stop) } else { problem };
    let end = RunEnd { ended_at: Timestamp::now(), problem: problem.clone() };
    if let Err(error) = end.record(vault, id).await {
        tracing::warn!(backup = %id, %error, "the end of the run is not in its journal");
    }
    Err(problem)
}

fn cancelled(problem: Problem, board: &Board, stop: &Stop) -> Problem {
    let problem = match stop.asked_by() {
        Some(by) => problem.answered(format!("asked to stop by {by}")),
        None => problem,
    };
    problem
        .leaving(format!("nothing was committed; earlier backups are as they were{}", kept(board.kept())))
        .next("run again")
}

/// What a run that was stopped leaves in the vault, by the numbers that progress showed: what is kept is part of what
/// arrived, and the rest belongs to repositories that were not done.
fn kept(Kept { repositories, bytes, arrived }: Kept) -> String {
    let size = |bytes| bytesize::ByteSize::b(bytes).display().iec();
    let kept = match repositories {
        0 => String::new(),
        1 => format!("; 1 repository ({}) is kept in the vault, and the next run uses it", size(bytes)),
        _ => format!(
            "; {repositories} repositories ({}) are kept in the vault, and the next run uses them",
            size(bytes)
        ),
    };
    match arrived.saturating_sub(bytes) {
        0 => kept,
        lost => format!("{kept}; {} that had arrived of unfinished items are of no use", size(lost)),
    }
}

fn nothing_to_commit(summary: &RunSummary, request: &RunRequest, options: &CoordinatorOptions) -> Problem {
    let passed_over = if request.dry_run { dry::parts(request, options) } else { Vec::new() };
    let problem = match summary.failures.first() {
        Some(failure) => failure.problem.clone().while_doing("create backup"),
        None if !passed_over.is_empty() => dry::nothing_looked_at(&passed_over),
        None => Problem::new(ErrorKind::Invalid, Subject::Configuration, "create backup")
            .answered("nothing is selected: there is no storage, database or directory to back up")
            .next("configure [[storage]], [[database]] or [[directory]], or change --only and --skip"),
    };
    problem.leaving("nothing was committed; earlier backups are as they were")
}

/// A run that the vault, or what it needs of agents, did not let begin.
fn not_begun(problem: Problem) -> Problem {
    let lost = matches!(problem.kind, ErrorKind::Unavailable | ErrorKind::Denied);
    if !lost || problem.state.is_some() {
        return problem;
    }
    problem.leaving("nothing was committed; earlier backups are as they were")
}

/// Dumps all databases, unless an earlier attempt at this run has: their snapshots belong together.
async fn back_up_databases(
    context: &RunContext<'_>,
    request: &RunRequest,
    plan: &RunPlan,
) -> Vec<DatabaseSummary> {
    const PART: &str = "databases";
    let RunContext { vault, options, board, stop, .. } = *context;
    let selected = options.databases.iter().filter(|own| request.components.selects_database(own.name()));
    let databases: Vec<database::Database> = selected.cloned().collect();
    // An earlier attempt may have dumped what the configuration has no more.
    let may_be_done = options.databases.is_empty() && request.components.selects(&Component::Databases);
    if request.dry_run || databases.is_empty() && !may_be_done {
        return Vec::new();
    }
    let done = match earlier(vault, plan, PART).await {
        Some(done) => done,
        None if databases.is_empty() => return Vec::new(),
        None => {
            let shown = board.clone();
            let progress = move |name: &str, bytes| shown.part(&Component::Databases, name, bytes, false);
            let stoppable = vault.until(stop.token.clone());
            let (done, failures) =
                database::back_up_all(&stoppable, &plan.run, &databases, &stop.token, progress).await;
            let is_whole = failures.is_empty();
            for failure in failures {
                board.failed(failure);
            }
            if is_whole { record(vault, plan, PART, done).await } else { done }
        }
    };
    for summary in &done {
        board.part(&Component::Databases, &summary.name, summary.object.size, true);
    }
    done
}

async fn back_up_directories(
    context: &RunContext<'_>,
    request: &RunRequest,
    plan: &RunPlan,
) -> Vec<DirectorySummary> {
    let RunContext { vault, options, board, stop, .. } = *context;
    let mut jobs = Vec::new();
    for directory in &options.directories {
        let component = Component::Directory(directory.name().to_owned());
        if request.dry_run || !request.components.selects(&component) {
            continue;
        }
        jobs.push(async move {
            let part = format!("directory-{}", directory.name());
            if let Some(done) = earlier::<DirectoryDone>(vault, plan, &part).await {
                return (component, Ok(done));
            }
            let shown = (board.clone(), component.clone());
            let progress = move |name: &str, bytes| shown.0.part(&shown.1, name, bytes, false);
            let stoppable = vault.until(stop.token.clone());
            let done = directory::back_up(&stoppable, &plan.run, directory, &stop.token, progress).await;
            match done {
                Ok((summary, failures)) => {
                    let done = DirectoryDone { summary, failures };
                    (component, Ok(record(vault, plan, &part, done).await))
                }
                Err(problem) => (component, Err(problem)),
            }
        });
    }
    let mut summaries = Vec::new();
    for (component, done) in join_all(jobs).await {
        match done {
            Ok(DirectoryDone { summary, failures }) => {
                board.part(&component, &summary.name, summary.object.size, true);
                for failure in failures {
                    board.failed(failure);
                }
                summaries.push(summary);
            }
            Err(problem) => {
                let item = component.to_string();
                board.failed(ItemFailure { component, storage: None, item, problem });
            }
        }
    }
    summaries
}
