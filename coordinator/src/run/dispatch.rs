//! Step 3 of a run, dispatch: one stream per storage to its agent.
//!
//! Does not own: repositories; the agent sends back counts, failures and its catalogue's digest. All storages run beside
//! each other, as far as the limits allow (`shares`); one that fails is a named failure and does not hold up the others.
//! An agent that is lost is waited for: a job that it still has is joined again, and one that died with it is given to it
//! again, as another attempt that does only what is left.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use jiff::Timestamp;
use packhorse_model::{
    Component, Counts, ErrorKind, ItemFailure, ObjectDigest, Problem, RepoFilter, StorageSummary, Subject,
    shell_quoted,
};
use packhorse_proto::{
    filter_to_wire,
    v1::{self, BackupStorageFinished, backup_storage_event::Event, backup_storage_request::Request},
};
use packhorse_vault::{Attempt, ObjectKey};
use tokio_stream::{StreamExt as _, wrappers::WatchStream};

use super::{
    WHOLE_STORAGE, gone,
    plan::{RunPlan, StoragePlan},
    request::RunRequest,
    shares::{Share, Shares},
};
use crate::{
    CoordinatorOptions,
    board::Board,
    fleet::{AgentHandle, Fleet},
    patience::{Lost, Patience},
    stop::Stop,
};

/// What all storages of a run share.
struct Dispatch<'a> {
    plan: &'a RunPlan,
    options: &'a CoordinatorOptions,
    request: &'a RunRequest,
    board: &'a Board,
    stop: &'a Stop,
}

/// Backs up all storages of a plan.
pub async fn dispatch(
    plan: &RunPlan,
    options: &CoordinatorOptions,
    request: &RunRequest,
    shares: &Shares,
    board: &Board,
    stop: &Stop,
) -> Vec<StorageSummary> {
    shares.set(options.limits);
    let dispatch = Dispatch { plan, options, request, board, stop };
    let mut jobs = Vec::new();
    for storage in &plan.storages {
        let dispatch = &dispatch;
        jobs.push(async move { (storage, dispatch.back_up(storage, shares).await) });
    }
    let mut done = Vec::new();
    let (mut unmatched, mut near): (Option<BTreeSet<String>>, Vec<String>) = (None, Vec::new());
    for (storage, ended) in join_all(jobs).await {
        let ended = ended
            .and_then(|(finished, failures)| Ok((dispatch.note(storage, &finished, failures)?, finished)));
        match ended {
            Ok((summary, finished)) => {
                done.push(summary);
                near.extend(finished.near);
                let patterns: BTreeSet<String> = finished.unmatched.into_iter().collect();
                unmatched = Some(match unmatched {
                    Some(others) => others.intersection(&patterns).cloned().collect(),
                    None => patterns,
                });
            }
            Err(problem) => board.failed(whole_storage(storage, problem)),
        }
    }
    // In a storage that failed there may be what was not found in the others.
    let all_looked = done.len() == plan.storages.len();
    for pattern in unmatched.filter(|_| all_looked).unwrap_or_default() {
        board.failed(matched_nothing(pattern, &near));
    }
    done
}

/// The failure of a pattern that names no repository anywhere; `near` are names that are nearly it.
pub fn matched_nothing(pattern: String, near: &[String]) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Repository, "find repository")
        .on(&pattern)
        .answered("matches no repository of the selected storages")
        .next(format!("look with `backupctl find {}` which backups have it", shell_quoted(&pattern)))
        .or_nearest(&pattern, near.iter().map(String::as_str));
    ItemFailure { component: Component::Repositories, storage: None, item: pattern, problem }
}

fn whole_storage(storage: &StoragePlan, problem: Problem) -> ItemFailure {
    ItemFailure {
        component: Component::Repositories,
        storage: Some(storage.storage.to_string()),
        item: WHOLE_STORAGE.into(),
        problem,
    }
}

fn summary(
    plan: &RunPlan,
    storage: &StoragePlan,
    request: &RunRequest,
    finished: &BackupStorageFinished,
) -> Result<StorageSummary, Problem> {
    let catalogue: Option<ObjectDigest> = finished.catalogue.clone().map(TryInto::try_into).transpose()?;
    // It becomes part of the report, so an agent may name nothing but its own.
    let is_own = |path: &str| {
        ObjectKey::is_catalogue_of(path, &storage.storage) && ObjectKey::part_of(&plan.run.id, path).is_ok()
    };
    let problem = Problem::new(ErrorKind::Invalid, Subject::Agent, "read the agent's result");
    if let Some(other) = catalogue.iter().find(|catalogue| !is_own(&catalogue.path)) {
        return Err(problem
            .on(&other.path)
            .answered("is not the key of a catalogue of this run and storage"));
    }
    if catalogue.is_none() && !request.dry_run {
        return Err(problem.on(&storage.storage).answered("it names no catalogue"));
    }
    Ok(StorageSummary {
        storage: storage.storage.clone(),
        counts: finished.counts.map(Counts::from).unwrap_or_default(),
        bytes_new: finished.bytes_new,
        bytes_total: finished.bytes_total,
        catalogue,
        filtered: !request.filter.is_all(),
        unproven: finished.unproven,
        failures: finished.failures,
        gone_unconfirmed: 0,
        emptied_unconfirmed: 0,
        emptied_total: finished.emptied,
        emptied: finished.emptied_names.clone(),
        gone: finished.gone.clone(),
        passed_over: finished.passed_over.clone().map(Into::into).unwrap_or_default(),
    })
}

impl Dispatch<'_> {
    /// Takes up what an agent came to, with what it found odd.
    fn note(
        &self,
        storage: &StoragePlan,
        finished: &BackupStorageFinished,
        failures: Vec<ItemFailure>,
    ) -> Result<StorageSummary, Problem> {
        let mut summary = summary(self.plan, storage, self.request, finished)?;
        self.board.record(failures, finished.failures);
        let emptied_before = storage.base.as_ref().map_or(0, |base| base.emptied_unconfirmed);
        let lost = gone::Lost::of(finished, emptied_before);
        if let Some(failure) = gone::too_many(&self.options.gone, self.request, &storage.storage, &lost) {
            summary.gone_unconfirmed = summary.counts.gone;
            summary.emptied_unconfirmed = lost.emptied;
            summary.failures += 1;
            self.board.failed(failure);
        }
        for remark in finished.remarks.iter().cloned() {
            self.board.remark(remark.try_into()?);
        }
        Ok(summary)
    }

    /// Has one storage backed up, however often its agent is lost meanwhile.
    async fn back_up(
        &self,
        storage: &StoragePlan,
        shares: &Shares,
    ) -> Result<(BackupStorageFinished, Vec<ItemFailure>), Problem> {
        let mut attempt = self.plan.run.attempt.clone();
        let mut patience = Patience::new(self.options.agent_patience, self.board, &storage.storage);
        let agent = self.agent_of(storage, &mut patience).await?;
        let mut kept = None;
        loop {
            let share = match kept.take() {
                Some(share) => share,
                None => self.turn(shares).await?,
            };
            let lost = match self.follow((storage, &agent), &share, &attempt, &mut patience).await {
                Ok(done) => return Ok(done),
                Err(lost) => lost,
            };
            if let Lost::Busy(_) = &lost {
                // Others may have its share while it waits.
                drop(share);
            } else {
                // An agent that is lost may still be at work.
                kept = Some(share);
                attempt = Attempt::again(Timestamp::now(), random());
            }
            patience.wait(lost, self.stop).await?;
        }
    }

    /// Waits for a storage's turn.
    async fn turn(&self, shares: &Shares) -> Result<Share, Problem> {
        let share = tokio::select! {
            share = shares.take() => share,
            () = self.stop.token.cancelled() => return Err(Problem::cancelled("back up storage")),
        };
        // Those that begin together know of each other before the first is told what it may take.
        tokio::task::yield_now().await;
        Ok(share)
    }

    /// The storage's agent, which is waited for when a resumed run finds none yet.
    async fn agent_of(
        &self,
        storage: &StoragePlan,
        patience: &mut Patience<'_>,
    ) -> Result<AgentHandle, Problem> {
        if let Some(agent) = &storage.agent {
            return Ok(agent.clone());
        }
        loop {
            let fleet = Fleet::of(self.options).await?;
            let problem = match fleet.agent_of(&storage.storage) {
                Ok(agent) => return Ok(agent.clone()),
                Err(problem) if fleet.unreachable().next().is_none() => return Err(problem),
                Err(problem) => problem,
            };
            patience.wait(Lost::Perhaps(problem), self.stop).await?;
        }
    }

    /// Gives the agent the job, or joins the one that it has, and follows it to its end.
    async fn follow(
        &self,
        (storage, agent): (&StoragePlan, &AgentHandle),
        share: &Share,
        attempt: &Attempt,
        patience: &mut Patience<'_>,
    ) -> Result<(BackupStorageFinished, Vec<ItemFailure>), Lost> {
        let address = agent.address.to_string();
        let failed = |status: tonic::Status| Lost::of_status(&status, &address);
        let requests = self.requests(storage, share, attempt);
        let mut client = agent.client.clone();
        let call = client.backup_storage(requests);
        let answered = tokio::select! {
            answered = call => answered.map_err(failed)?,
            () = self.stop.token.cancelled() => return Err(Lost::For(self.stopped(storage, agent).await)),
        };
        let (mut events, mut failures) = (answered.into_inner(), Vec::new());
        loop {
            let event = tokio::select! {
                event = events.message() => event.map_err(failed)?,
                () = self.stop.token.cancelled() => return Err(Lost::For(self.stopped(storage, agent).await)),
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

    /// Cancels the agent's job, if the run is cancelled; when the coordinator ends, the agent goes on.
    async fn stopped(&self, storage: &StoragePlan, agent: &AgentHandle) -> Problem {
        if self.stop.is_cancelled() {
            let (run, storage_name) = (self.plan.name.clone(), storage.storage.to_string());
            agent.cancel_job(run, storage_name).await;
        }
        Problem::cancelled("back up storage").on(&storage.storage)
    }

    /// The job, the patterns, and then what the storage may take, as it changes.
    fn requests(
        &self,
        storage: &StoragePlan,
        share: &Share,
        attempt: &Attempt,
    ) -> impl tokio_stream::Stream<Item = v1::BackupStorageRequest> + Send + 'static {
        let job = v1::BackupJob {
            backup_id: self.plan.run.id.to_string(),
            storage: storage.storage.to_string(),
            vault_id: self.plan.vault_id.clone(),
            mode: self.request.mode.into(),
            // A full backup gets it too: a failed repository keeps its last good manifest from there.
            base: storage.base.as_ref().map(|base| (&base.catalogue).into()),
            dry_run: self.request.dry_run,
            attempt: attempt.to_string(),
            unfinished_runs: self.unfinished(storage, attempt),
            run: self.plan.name.clone(),
            prove_later: self.request.prove_later,
            gone_unconfirmed: storage.base.as_ref().is_some_and(|base| base.gone_unconfirmed),
        };
        let filters = filter_parts(&self.request.filter).into_iter().map(Request::Filter);
        let begin = [Request::Limits(*share.current.borrow()), Request::Go(v1::Go {})];
        let first: Vec<Request> = [Request::Job(job)].into_iter().chain(filters).chain(begin).collect();
        let limits = WatchStream::new(share.current.clone()).map(Request::Limits);
        tokio_stream::iter(first)
            .chain(limits)
            .map(|request| v1::BackupStorageRequest { request: Some(request) })
    }

    /// Runs whose work is used: at another attempt this one's own, before all others.
    fn unfinished(&self, storage: &StoragePlan, attempt: &Attempt) -> Vec<String> {
        let own = &self.plan.run.id;
        let others = storage.unfinished.iter().filter(|id| *id != own);
        let own = (!attempt.is_first()).then_some(own);
        own.into_iter().chain(others).map(ToString::to_string).collect()
    }
}

fn random() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

/// The error of a stream that ended without its last event.
pub fn ended_early(address: &str) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Agent, "follow job")
        .on(address)
        .answered("the agent ended its stream before the job's end")
        .next("look at the agent's log, then run again")
}

/// A filter cut into messages of at most a thousand patterns.
pub fn filter_parts(filter: &RepoFilter) -> Vec<v1::RepositoryFilter> {
    let v1::RepositoryFilter { include, exclude } = filter_to_wire(filter);
    let include =
        include.chunks(1000).map(|part| v1::RepositoryFilter { include: part.to_vec(), exclude: vec![] });
    let exclude =
        exclude.chunks(1000).map(|part| v1::RepositoryFilter { include: vec![], exclude: part.to_vec() });
    include.chain(exclude).collect()
}
