//! Step 3 of a restore: one stream per storage to its agent.
//!
//! Does not own: repositories. A storage that fails as a whole is a named failure; the others go on. A lost connection is
//! made again and the job joined; an agent that was restarted has lost its job, and is not given it again, because what it
//! had restored would be in the way.

use std::time::Duration;

use futures_util::future::join_all;
use packhorse_model::{BackupId, Component, ItemFailure, Problem, RestoredItem, RunSummary};
use packhorse_proto::v1::{
    self, RestoreStorageFinished, restore_storage_event::Event, restore_storage_request::Request,
};

use super::{
    plan::{RestorePlan, StorageRestore},
    request::RestoreRequest,
};
use crate::{
    board::Board,
    fleet::{AgentHandle, Fleet},
    patience::{Lost, Patience},
    run::{WHOLE_STORAGE, ended_early, filter_parts},
    stop::Stop,
};

/// What stays the same for all storages of a restore.
pub struct Restore<'a> {
    /// Its name.
    pub run: &'a str,
    /// The backup.
    pub backup_id: &'a BackupId,
    /// Identity of the vault.
    pub vault_id: &'a str,
    /// What was asked.
    pub request: &'a RestoreRequest,
    /// The agents.
    pub fleet: &'a Fleet,
    /// How long a lost agent is waited for.
    pub patience: Duration,
    /// Where it tells how far it is.
    pub board: &'a Board,
    /// What stops it.
    pub stop: &'a Stop,
}

/// Restores all storages of a plan; what was restored of each, and what had to be made good.
pub async fn dispatch(restore: &Restore<'_>, plan: &RestorePlan) -> (Vec<RestoredItem>, Vec<ItemFailure>) {
    let board = restore.board;
    let mut jobs = Vec::new();
    for storage in &plan.storages {
        jobs.push(async move { (storage, restore.one(storage).await) });
    }
    let (mut items, mut remarks) = (Vec::new(), Vec::new());
    for (storage, finished) in join_all(jobs).await {
        match finished {
            Ok((finished, failures)) => {
                board.record(failures, finished.failures);
                let name = storage.target.to_string();
                items.push(RestoredItem {
                    name,
                    items: finished.restored,
                    already: finished.already,
                    bytes: finished.bytes,
                });
                remarks
                    .extend(finished.remarks.into_iter().filter_map(|told| ItemFailure::try_from(told).ok()));
            }
            Err(problem) => {
                let storage = Some(storage.target.to_string());
                let item = WHOLE_STORAGE.into();
                board.failed(ItemFailure { component: Component::Repositories, storage, item, problem });
            }
        }
    }
    remarks.truncate(RunSummary::MAX_FAILURES);
    (items, remarks)
}

/// What a lost agent means for a restore, which no other run goes on with.
fn of_restore(problem: Problem, begun: bool) -> Problem {
    if begun {
        return problem
            .leaving("what was in place stays, each repository whole")
            .next("check the agent and the network to it, then restore again with --skip-existing");
    }
    Problem { state: None, ..problem }.next("check the agent and the network to it, then restore again")
}

type Done = (RestoreStorageFinished, Vec<ItemFailure>);

impl Restore<'_> {
    /// The agent of a storage. Where there is none, it is said how the restore goes on without the storage.
    pub fn agent_of(&self, storage: &StorageRestore) -> Result<&AgentHandle, Problem> {
        self.fleet.agent_of(&storage.target).map_err(|problem| match &storage.without {
            None => problem,
            Some(without) => {
                let before = problem.next.as_ref().map_or_else(String::new, |next| format!("{next}; or "));
                let next = format!("{before}{without}");
                problem.next(next)
            }
        })
    }

    async fn one(&self, storage: &StorageRestore) -> Result<Done, Problem> {
        let agent = self.agent_of(storage)?;
        let mut patience = Patience::new(self.patience, self.board, &storage.target);
        let mut join = false;
        loop {
            let lost = match self.follow(agent, storage, &mut join, &mut patience).await {
                Ok(done) => return Ok(done),
                // Whoever asked for a restore can ask again, and may rather stop what is in its way.
                Err(Lost::Busy(problem)) => return Err(problem),
                Err(Lost::Perhaps(problem)) => Lost::Perhaps(of_restore(problem, join)),
                Err(lost) => lost,
            };
            patience.wait(lost, self.stop).await?;
        }
    }

    async fn follow(
        &self,
        agent: &AgentHandle,
        storage: &StorageRestore,
        join: &mut bool,
        patience: &mut Patience<'_>,
    ) -> Result<Done, Lost> {
        let address = agent.address.to_string();
        let failed = |status: tonic::Status| Lost::of_status(&status, &address);
        let mut client = agent.client.clone();
        let call = client.restore_storage(tokio_stream::iter(self.requests(storage, *join)));
        let answered = tokio::select! {
            answered = call => answered.map_err(failed)?,
            () = self.stop.token.cancelled() => return Err(Lost::For(self.stopped(agent, storage).await)),
        };
        // From here on it has begun, and must not begin again.
        *join = true;
        let mut events = answered.into_inner();
        let mut failures = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.message() => event.map_err(failed)?,
                () = self.stop.token.cancelled() => return Err(Lost::For(self.stopped(agent, storage).await)),
            };
            match event.and_then(|event| event.event) {
                Some(Event::Progress(progress)) => {
                    patience.heard(&progress);
                    self.board.storage(progress);
                }
                Some(Event::Failure(failure)) => {
                    self.board.hear(failure, &mut failures).map_err(|e| Lost::For(e.into()))?;
                }
                Some(Event::Finished(finished)) => return Ok((finished, failures)),
                None => return Err(Lost::Perhaps(ended_early(&address))),
            }
        }
    }

    /// Stops the agent's job: a restore is not resumed, so nobody would come back for it.
    async fn stopped(&self, agent: &AgentHandle, storage: &StorageRestore) -> Problem {
        agent.cancel_job(self.run.to_owned(), storage.target.to_string()).await;
        Problem::cancelled("restore storage").on(&storage.target)
    }

    /// What an agent is asked, to plan a storage's restore or to begin it.
    pub fn requests(&self, storage: &StorageRestore, join: bool) -> Vec<v1::RestoreStorageRequest> {
        let job = v1::RestoreJob {
            backup_id: self.backup_id.to_string(),
            source_storage: storage.source.to_string(),
            target_storage: storage.target.to_string(),
            vault_id: self.vault_id.to_owned(),
            catalogue: Some((&storage.catalogue).into()),
            force: self.request.force,
            skip_existing: self.request.skip_existing,
            optimise: self.request.optimise,
            gone_unconfirmed: storage.gone_unconfirmed,
            last_good: self.request.last_good,
            run: self.run.to_owned(),
            join,
        };
        let filters = filter_parts(&self.request.filter).into_iter().map(Request::Filter);
        let requests = [Request::Job(job)].into_iter().chain(filters).chain([Request::Go(v1::Go {})]);
        requests.map(|request| v1::RestoreStorageRequest { request: Some(request) }).collect()
    }
}
