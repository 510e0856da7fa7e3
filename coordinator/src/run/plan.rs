//! Step 2 of a run, plan: which storages, by which agents, on which bases, under which ID.
//!
//! Does not own: what happens in a storage. After this step the run is claimed in the vault, with its order, and nothing
//! about it is open any more. The newest backup is the one whose run started last; a coordinator whose clock is behind
//! starts its runs after those that it finds, so that order does not depend on clocks.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use packhorse_model::{
    BackupId, Component, ErrorKind, GonePart, ItemFailure, LackingPart, Problem, StorageName, Subject,
};
use packhorse_proto::v1::BackupMode;
use packhorse_vault::{
    Attempt, CommittedBackup, Earlier, FormatMarker, RunAttempt, RunJournal, StorageBase, UnfinishedRun,
    Vault, committed, earlier, unfinished,
};

use super::{
    WHOLE_STORAGE, gone,
    order::{RunOrder, StorageOrder},
    request::RunRequest,
};
use crate::{
    CoordinatorOptions,
    fleet::{AgentHandle, Fleet},
};

/// One storage's part of a run.
pub struct StoragePlan {
    /// The storage.
    pub storage: StorageName,
    /// Who does it; none when nobody serves it yet.
    pub agent: Option<AgentHandle>,
    /// What it builds on.
    pub base: Option<StorageBase>,
    /// Runs that committed nothing since, the newest first: what they made durable is used.
    pub unfinished: Vec<BackupId>,
}

/// Everything a run is going to do.
pub struct RunPlan {
    /// The backup that it will commit, and which attempt at the run this is.
    pub run: RunAttempt,
    /// Identity of the run, which it keeps when it is resumed.
    pub name: String,
    /// When the run started.
    pub started_at: Timestamp,
    /// Identity of the vault.
    pub vault_id: String,
    /// The storages.
    pub storages: Vec<StoragePlan>,
    /// Whether storages that exist were left out on purpose.
    pub some_storages_only: bool,
    /// What is known to be missing from the start: agents that do not answer, parts that have left the configuration.
    pub failures: Vec<ItemFailure>,
    /// What has left the configuration.
    pub gone: Vec<GonePart>,
    /// What is odd, and is no failure.
    pub remarks: Vec<ItemFailure>,
    /// What earlier backups have: none of it may be missing, or be empty, without a word.
    pub known: Vec<LackingPart>,
    /// IDs that are in use.
    taken: BTreeSet<BackupId>,
}

impl RunPlan {
    /// The newest backup that any storage builds on; none in a full run.
    pub fn base_backup_id(&self, request: &RunRequest) -> Option<BackupId> {
        if request.mode == BackupMode::Full {
            return None;
        }
        let bases = self.storages.iter().filter_map(|plan| plan.base.as_ref());
        bases.max_by_key(|base| base.started_at).map(|base| base.backup_id.clone())
    }
}

/// Plans a run, under an ID that is not claimed yet.
pub async fn plan(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: &RunRequest,
    now: Timestamp,
    attempt: String,
) -> Result<RunPlan, Problem> {
    // Asked first, because agents cannot say what they serve as long as their vault is away.
    let first = if request.patient { vault.clone() } else { vault.briefly() };
    let marker = FormatMarker::of(&first).await?;
    let (backups, _) = committed(&first).await?;
    let selects = |component: &Component| request.components.selects(component);
    let repositories = selects(&Component::Repositories);
    let mut directories = options.directories.iter().map(|d| Component::Directory(d.name().to_owned()));
    let fleet = muster(options, repositories || directories.any(|directory| selects(&directory))).await?;
    let Chosen { agents, some_only, mut failures } = match repositories {
        true => choose_agents(fleet, request)?,
        false => Chosen::default(),
    };
    let names: Vec<StorageName> = agents.iter().map(|(name, _)| name.clone()).collect();
    let Earlier { bases, last_whole } = earlier(vault, &backups, &names).await?;
    let runs = if agents.is_empty() { Vec::new() } else { unfinished(vault, &backups).await? };
    let storages: Vec<StoragePlan> = agents
        .into_iter()
        .zip(bases)
        .map(|((storage, agent), base)| {
            let unfinished = newer(&runs, base.as_ref());
            StoragePlan { storage, agent: Some(agent), base, unfinished }
        })
        .collect();
    if request.mode == BackupMode::Incremental
        && let Some(without) = storages.iter().find(|plan| plan.base.is_none())
    {
        return Err(Problem::new(ErrorKind::Invalid, Subject::Backup, "plan incremental backup")
            .on(&without.storage)
            .answered("the vault has no backup of this storage to build on")
            .next("run without --incremental"));
    }
    if !request.dry_run {
        marker.prove_create_only(vault).await?;
    }
    let before = gone::known(last_whole.as_ref());
    gone::check_accepted(request, options, &names, &before)?;
    let gone = gone::parts_gone(&before, &names.into_iter().collect(), request, options);
    // Who names what a run is about leaves the rest out on purpose, and the backup is not one of everything.
    let leaves_out = request.is_limited() && gone.iter().any(|part| !part.confirmed);
    let gone =
        if request.is_limited() { gone.into_iter().filter(|part| part.confirmed).collect() } else { gone };
    let known = failures.clone();
    let is_told = |failure: &ItemFailure| {
        known.iter().any(|told| (&told.storage, &told.item) == (&failure.storage, &failure.item))
    };
    failures.extend(gone::failures(&gone).filter(|failure| !is_told(failure)));
    let backup_id = request.backup_id.clone();
    let backup_id = backup_id.unwrap_or_else(|| BackupId::from_time(now, &options.instance_version));
    Ok(RunPlan {
        run: RunAttempt::first(backup_id),
        name: attempt,
        started_at: after_all(now, &backups, &runs),
        vault_id: marker.vault_id,
        storages,
        some_storages_only: some_only || leaves_out,
        failures,
        gone,
        known: before,
        remarks: in_the_future(now, &backups).into_iter().collect(),
        taken: backups.into_iter().map(|backup| backup.backup_id).collect(),
    })
}

/// Plans the rest of a run that was claimed before, by this coordinator's last life.
pub async fn resume(
    vault: &Vault,
    options: &CoordinatorOptions,
    journal: &RunJournal,
    order: &RunOrder,
    again: Attempt,
) -> Result<RunPlan, Problem> {
    let vault_id = FormatMarker::of(vault).await?.vault_id;
    let mut failures = order.failures.clone();
    failures.extend(order.no_longer_configured(options));
    let fleet = muster(options, !order.storages.is_empty() || !order.directories.is_empty()).await?;
    let own = &journal.backup_id;
    let storages = order.storages.iter().map(|order| StoragePlan {
        storage: order.storage.clone(),
        // One that is starting, too, is waited for where it is needed.
        agent: fleet.agent_of(&order.storage).ok().cloned(),
        base: order.base.clone(),
        // This run's own journal comes first: what it lists are its results.
        unfinished: [own].into_iter().chain(&order.unfinished).cloned().collect(),
    });
    Ok(RunPlan {
        run: RunAttempt { id: own.clone(), attempt: again },
        name: journal.attempt.clone(),
        started_at: journal.started_at,
        vault_id,
        storages: storages.collect(),
        some_storages_only: order.some_storages_only,
        failures,
        gone: order.gone.clone(),
        known: order.known.clone(),
        remarks: order.remarks.clone(),
        taken: BTreeSet::new(),
    })
}

/// Runs that began after everything of the base was durable. What began before may be older than the base.
fn newer(runs: &[UnfinishedRun], base: Option<&StorageBase>) -> Vec<BackupId> {
    let newer = runs.iter().filter(|run| base.is_none_or(|base| run.journal.started_at > base.finished_at));
    newer.map(|run| run.journal.backup_id.clone()).collect()
}

/// How far another clock may be ahead before it is said.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Says so when the newest backup lies in the future: who watches the age of backups would see a young one for long.
fn in_the_future(now: Timestamp, backups: &[CommittedBackup]) -> Option<ItemFailure> {
    let newest = backups.iter().max_by_key(|backup| backup.started_at)?;
    if newest.started_at.duration_since(now) <= SKEW {
        return None;
    }
    let problem = Problem::new(ErrorKind::Invalid, Subject::Host, "compare clocks")
        .on(&newest.backup_id)
        .answered(format!("the newest backup started at {}, and it is {now} now", newest.started_at))
        .leaving("this backup counts as newer all the same; committed_at in `list --json` has the real time")
        .next("check the clocks of this coordinator and of the one that made that backup");
    Some(ItemFailure {
        component: Component::Repositories,
        storage: None,
        item: newest.backup_id.to_string(),
        problem,
    })
}

/// The time at which a run starts: now, but after all others that there are.
fn after_all(now: Timestamp, backups: &[CommittedBackup], runs: &[UnfinishedRun]) -> Timestamp {
    let ends = backups.iter().map(|backup| (backup.started_at.max(backup.finished_at), &backup.backup_id));
    let starts = runs.iter().map(|run| (run.journal.started_at, &run.journal.backup_id));
    let Some((newest, id)) = ends.chain(starts).max().filter(|(newest, _)| *newest >= now) else {
        return now;
    };
    if newest.duration_since(now) > SKEW {
        tracing::warn!(
            backup = %id, time = %newest,
            "the newest run lies in the future: check the clocks of this and the other coordinators"
        );
    }
    newest.saturating_add(SignedDuration::from_millis(1)).unwrap_or(now)
}

/// Seconds that a default ID may be moved to find one that is free.
const ID_TRIES: i64 = 24 * 3600;

/// Claims the operator's ID, or the first free default one: their time has whole seconds, so two runs may meet.
pub async fn claim(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: &RunRequest,
    plan: &RunPlan,
    now: Timestamp,
) -> Result<BackupId, Problem> {
    let order = order(request, plan, options)?;
    if let Some(id) = &request.backup_id {
        journal(options, id, plan, request, order).claim(vault).await?;
        return Ok(id.clone());
    }
    let mut later = 0;
    loop {
        let time = now.saturating_add(SignedDuration::from_secs(later)).unwrap_or(now);
        let id = BackupId::from_time(time, &options.instance_version);
        if plan.taken.contains(&id) {
            later += 1;
            continue;
        }
        match journal(options, &id, plan, request, order.clone()).claim(vault).await {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && later < ID_TRIES => later += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn order(
    request: &RunRequest,
    plan: &RunPlan,
    options: &CoordinatorOptions,
) -> Result<serde_json::Value, Problem> {
    let storages = plan.storages.iter();
    let mut order = RunOrder::new(request, options);
    order.storages = storages
        .map(|plan| StorageOrder {
            storage: plan.storage.clone(),
            base: plan.base.clone(),
            unfinished: plan.unfinished.clone(),
        })
        .collect();
    order.some_storages_only = plan.some_storages_only;
    order.failures = plan.failures.clone();
    order.gone = plan.gone.clone();
    order.known = plan.known.clone();
    order.remarks = plan.remarks.clone();
    serde_json::to_value(order)
        .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Coordinator, "write journal").answered(e))
}

fn journal(
    options: &CoordinatorOptions,
    id: &BackupId,
    plan: &RunPlan,
    request: &RunRequest,
    order: serde_json::Value,
) -> RunJournal {
    RunJournal {
        backup_id: id.clone(),
        attempt: plan.name.clone(),
        host: options.host.clone(),
        pid: std::process::id(),
        coordinator: options.identity.clone(),
        started_at: plan.started_at,
        packhorse_version: env!("CARGO_PKG_VERSION").to_owned(),
        requested_by: Some(request.requested_by.clone()).filter(|by| !by.is_empty()),
        order: Some(order),
    }
}

/// The agents, asked when the run has a use for them: for storages, or for directories, which must not hold any.
async fn muster(options: &CoordinatorOptions, wanted: bool) -> Result<Fleet, Problem> {
    let fleet = if wanted { Fleet::of(options).await? } else { Fleet::muster(&[], None).await? };
    fleet.check_places(&options.places).await?;
    Ok(fleet)
}

#[derive(Default)]
struct Chosen {
    agents: Vec<(StorageName, AgentHandle)>,
    some_only: bool,
    failures: Vec<ItemFailure>,
}

/// The storages that were asked for, or all. An agent that does not answer, or two that serve the same storage, are
/// failures of the run, not its end, as long as another storage is served.
fn choose_agents(fleet: Fleet, request: &RunRequest) -> Result<Chosen, Problem> {
    if !request.storages.is_empty() {
        let chosen = request.storages.iter().map(|name| Ok((name.clone(), fleet.agent_of(name)?.clone())));
        let agents = chosen.collect::<Result<Vec<_>, Problem>>()?;
        let all = fleet.unreachable().next().is_none()
            && fleet.conflicts.is_empty()
            && fleet.storages.keys().all(|name| request.storages.contains(name));
        return Ok(Chosen { agents, some_only: !all, failures: Vec::new() });
    }
    let unreachable = fleet.unreachable().map(|(address, problem)| ItemFailure {
        component: Component::Repositories,
        storage: None,
        item: format!("all storages of agent {address}"),
        problem: problem.clone(),
    });
    let conflicts = fleet.conflicts.iter().map(|(name, problem)| ItemFailure {
        component: Component::Repositories,
        storage: Some(name.to_string()),
        item: WHOLE_STORAGE.into(),
        problem: problem.clone(),
    });
    let failures: Vec<ItemFailure> = unreachable.chain(conflicts).collect();
    if fleet.storages.is_empty()
        && let Some(failure) = failures.first()
    {
        return Err(failure.problem.clone());
    }
    Ok(Chosen { agents: fleet.storages.into_iter().collect(), some_only: false, failures })
}
