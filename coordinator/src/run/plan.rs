//! Step 2 of a run, plan: which storages, by which agents, on which bases, under which ID.
//!
//! Does not own: what happens in a storage. After this step the run is claimed in the vault and nothing about it is
//! open any more.

use jiff::Timestamp;
use packhorse_model::{BackupId, Component, ErrorKind, ItemFailure, Problem, StorageName, Subject};
use packhorse_proto::v1::BackupMode;
use packhorse_vault::{FormatMarker, RunJournal, StorageBase, Vault, base_for};

use super::request::RunRequest;
use crate::{
    CoordinatorOptions,
    fleet::{AgentHandle, Fleet},
};

/// One storage's part of a run.
pub struct StoragePlan {
    /// The storage.
    pub storage: StorageName,
    /// Who does it.
    pub agent: AgentHandle,
    /// What it builds on.
    pub base: Option<StorageBase>,
}

/// Everything a run is going to do.
pub struct RunPlan {
    /// The run and the backup it will commit.
    pub backup_id: BackupId,
    /// Identity of the vault.
    pub vault_id: String,
    /// The storages.
    pub storages: Vec<StoragePlan>,
    /// Whether storages that exist were left out on purpose.
    pub some_storages_only: bool,
    /// What is known to be missing from the start: agents that do not answer.
    pub failures: Vec<ItemFailure>,
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

/// Plans a run and, unless it is a dry run, claims its ID.
pub async fn plan(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: &RunRequest,
    now: Timestamp,
    attempt: String,
) -> Result<RunPlan, Problem> {
    let Chosen { agents, some_only: some_storages_only, failures } =
        match request.components.selects(&Component::Repositories) {
            true => choose_agents(options, request).await?,
            false => Chosen::default(),
        };
    let names: Vec<StorageName> = agents.iter().map(|(name, _)| name.clone()).collect();
    let bases = base_for(vault, &names).await?;
    let storages: Vec<StoragePlan> = agents
        .into_iter()
        .zip(bases)
        .map(|((storage, agent), base)| StoragePlan { storage, agent, base })
        .collect();
    if request.mode == BackupMode::Incremental
        && let Some(without) = storages.iter().find(|plan| plan.base.is_none())
    {
        return Err(Problem::new(ErrorKind::Invalid, Subject::Backup, "plan incremental backup")
            .on(&without.storage)
            .answered("the vault has no backup of this storage to build on")
            .next("run without --incremental"));
    }
    if request.dry_run {
        let vault_id = FormatMarker::read(vault).await?.map(|marker| marker.vault_id).unwrap_or_default();
        let backup_id = request.backup_id.clone();
        let backup_id = backup_id.unwrap_or_else(|| BackupId::from_time(now, &options.instance_version));
        return Ok(RunPlan { backup_id, vault_id, storages, some_storages_only, failures });
    }
    let vault_id = FormatMarker::read_or_create(vault, attempt.clone()).await?.vault_id;
    let backup_id = claim(vault, options, request, now, attempt).await?;
    Ok(RunPlan { backup_id, vault_id, storages, some_storages_only, failures })
}

/// Seconds that a default ID may be moved to find one that is free.
const ID_TRIES: i64 = 30;

/// Claims the operator's ID, or the first free default one: their time has whole seconds, so two runs may meet.
async fn claim(
    vault: &Vault,
    options: &CoordinatorOptions,
    request: &RunRequest,
    now: Timestamp,
    attempt: String,
) -> Result<BackupId, Problem> {
    if let Some(id) = &request.backup_id {
        journal(options, id, now, attempt).claim(vault).await?;
        return Ok(id.clone());
    }
    let mut later = 0;
    loop {
        let time = now.saturating_add(jiff::SignedDuration::from_secs(later)).unwrap_or(now);
        let id = BackupId::from_time(time, &options.instance_version);
        match journal(options, &id, now, attempt.clone()).claim(vault).await {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && later < ID_TRIES => later += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn journal(options: &CoordinatorOptions, id: &BackupId, now: Timestamp, attempt: String) -> RunJournal {
    RunJournal {
        backup_id: id.clone(),
        attempt,
        host: options.host.clone(),
        pid: std::process::id(),
        started_at: now,
        packhorse_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

#[derive(Default)]
struct Chosen {
    agents: Vec<(StorageName, AgentHandle)>,
    some_only: bool,
    failures: Vec<ItemFailure>,
}

/// The storages that were asked for, or all; an agent that does not answer is a failure of the run, not its end, as
/// long as another one does.
async fn choose_agents(options: &CoordinatorOptions, request: &RunRequest) -> Result<Chosen, Problem> {
    let fleet = Fleet::muster(&options.agents, options.tls.as_ref()).await?;
    if !request.storages.is_empty() {
        let chosen = request.storages.iter().map(|name| Ok((name.clone(), fleet.agent_of(name)?.clone())));
        let agents = chosen.collect::<Result<Vec<_>, Problem>>()?;
        let all = fleet.unreachable().next().is_none()
            && fleet.storages.keys().all(|name| request.storages.contains(name));
        return Ok(Chosen { agents, some_only: !all, failures: Vec::new() });
    }
    if fleet.storages.is_empty()
        && let Some((_, problem)) = fleet.unreachable().next()
    {
        return Err(problem.clone());
    }
    let failures = fleet.unreachable().map(|(address, problem)| ItemFailure {
        component: Component::Repositories,
        storage: None,
        item: format!("all storages of agent {address}"),
        problem: problem.clone(),
    });
    let failures = failures.collect();
    Ok(Chosen { agents: fleet.storages.into_iter().collect(), some_only: false, failures })
}
