//! Step 2 of a restore: everything is looked at before anything is touched.
//!
//! Does not own: how a storage, database or directory is looked at. All parts are asked beside each other, and whatever
//! stands in the way of one is told together with the rest; then the restore does not begin. A dry run ends here, with the
//! same answer. What changes between this look and the restore is found by the restore, which looks again at each item.

use futures_util::future::join_all;
use packhorse_model::{
    Component, ErrorKind, ItemFailure, PlannedDatabase, PlannedDirectory, PlannedStorage, Problem,
    RunSummary, Subject,
};
use packhorse_proto::v1::{PlanRestoreResponse, Unmatched};
use packhorse_service::places::kernel;
use packhorse_vault::Vault;
use tonic::Code;

use super::{
    dispatch::Restore,
    plan::{DatabaseRestore, RestorePlan, StorageRestore},
    room::{Need, lacking},
};
use crate::{
    database, directory,
    fleet::AgentHandle,
    patience::{Lost, Patience},
    run::{WHOLE_STORAGE, matched_nothing},
};

/// What a restore would do, and what stands in its way.
#[derive(Default)]
pub struct Outlook {
    /// The storages.
    pub storages: Vec<PlannedStorage>,
    /// The databases.
    pub databases: Vec<PlannedDatabase>,
    /// The directories.
    pub directories: Vec<PlannedDirectory>,
    /// What keeps the restore from beginning.
    pub problems: Vec<ItemFailure>,
    /// What of repositories would be missing, capped; the restore itself tells these.
    pub missing: Vec<ItemFailure>,
    /// How many of these there are.
    pub missing_total: u64,
    /// Patterns that match nothing anywhere.
    pub unmatched: Vec<ItemFailure>,
    /// Patterns that leave out nothing.
    pub remarks: Vec<ItemFailure>,
    /// What was not looked at, and may yet stand in the way.
    pub unseen: Vec<ItemFailure>,
    needs: Vec<Need>,
}

/// Looks at all parts of a plan.
pub async fn look(restore: &Restore<'_>, vault: &Vault, plan: &RestorePlan) -> Outlook {
    let mut outlook = Outlook { problems: plan.problems.clone(), ..Outlook::default() };
    let storages = plan.storages.iter().map(|storage| async move { (storage, restore.plan(storage).await) });
    let databases = plan.databases.iter().map(|wanted| look_at_database(restore, vault, wanted));
    let directories = plan.directories.iter().map(|(summary, target)| async move {
        (summary, directory::plan_one(target.clone(), summary).await)
    });
    let (storages, databases, directories) =
        tokio::join!(join_all(storages), join_all(databases), join_all(directories));
    outlook.note_patterns(&storages);
    for (storage, planned) in storages {
        outlook.note_storage(restore, storage, planned);
    }
    outlook.note_databases(plan, databases);
    for (summary, planned) in directories {
        let component = Component::Directory(summary.name.clone());
        match planned {
            Ok(planned) => outlook.note_directory(component, planned),
            Err(problem) => outlook.refuse(component, None, &summary.name, problem),
        }
    }
    outlook.problems.extend(lacking(std::mem::take(&mut outlook.needs)));
    outlook
}

type PlannedOne = Result<(PlannedDatabase, String), Problem>;
type Answer<'p> = (&'p StorageRestore, Result<(AgentHandle, PlanRestoreResponse), Problem>);

async fn look_at_database(restore: &Restore<'_>, vault: &Vault, wanted: &DatabaseRestore) -> PlannedOne {
    let (how, cancel) = (restore.request.database_options(), &restore.stop.token);
    database::plan_one(vault, restore.backup_id, &wanted.target, &wanted.summary, how, cancel).await
}

impl Outlook {
    /// Whether there is nothing to do, and nothing to tell of.
    pub fn is_of_nothing(&self) -> bool {
        let mut storages = self.storages.iter();
        let none =
            storages.all(|one| [one.new, one.replaced, one.already, one.refused].iter().all(|n| *n == 0));
        let parts = self.databases.len() + self.directories.len();
        let told = self.problems.len() + self.unmatched.len();
        none && parts + told == 0 && self.missing_total == 0
    }

    fn refuse(&mut self, component: Component, storage: Option<String>, item: &str, problem: Problem) {
        self.problems.push(ItemFailure { component, storage, item: item.to_owned(), problem });
    }

    fn note_storage(
        &mut self,
        restore: &Restore<'_>,
        storage: &StorageRestore,
        planned: Result<(AgentHandle, PlanRestoreResponse), Problem>,
    ) {
        let target = Some(storage.target.to_string());
        let (agent, planned) = match planned {
            Ok(planned) => planned,
            Err(problem) => {
                return self.refuse(Component::Repositories, target, WHOLE_STORAGE, problem);
            }
        };
        for problem in planned.problems {
            self.refuse(Component::Repositories, target.clone(), WHOLE_STORAGE, problem.into());
        }
        let available = planned.room.as_ref().map(|room| room.available);
        if let Some(room) = planned.room {
            let told = &agent.description.kernel;
            let host = if told.is_empty() { agent.address.to_string() } else { told.clone() };
            self.needs.push(Need {
                host,
                device: room.device,
                available: room.available,
                bytes: planned.needed,
                component: Component::Repositories,
                storage: target,
                item: WHOLE_STORAGE.into(),
            });
        }
        self.storages.push(PlannedStorage {
            storage: storage.source.clone(),
            target: storage.target.clone(),
            path: restore.fleet.path_of(&storage.target),
            new: planned.added,
            replaced: planned.replaced,
            already: planned.already,
            refused: planned.refused,
            bytes: planned.bytes,
            room: available,
        });
        self.missing_total = self.missing_total.saturating_add(planned.failures_total);
        let failures = planned.failures.into_iter().filter_map(|told| ItemFailure::try_from(told).ok());
        self.missing.extend(failures);
        self.missing.truncate(RunSummary::MAX_FAILURES);
        tracing::debug!(run = restore.run, storage = %storage.target, "a restore is planned");
    }

    /// A pattern is a failure when no storage has what it names; one that did not answer may have it.
    fn note_patterns(&mut self, storages: &[Answer<'_>]) {
        let answers: Option<Vec<&PlanRestoreResponse>> =
            storages.iter().map(|(_, planned)| planned.as_ref().ok().map(|(_, planned)| planned)).collect();
        let Some(answers) = answers else { return };
        let included = everywhere(answers.iter().map(|answer| &answer.unmatched[..]));
        self.unmatched =
            included.into_iter().map(|(pattern, near)| matched_nothing(pattern, &near)).collect();
        let excluded = everywhere(answers.iter().map(|answer| &answer.unmatched_excluded[..]));
        self.remarks =
            excluded.into_iter().map(|(pattern, near)| leaves_out_nothing(pattern, &near)).collect();
    }

    fn note_databases(&mut self, plan: &RestorePlan, planned: Vec<PlannedOne>) {
        let mut found: Vec<(String, &str)> = Vec::new();
        for (wanted, planned) in plan.databases.iter().zip(planned) {
            let name = &wanted.summary.name;
            let same = |found: &[(String, &str)], identity: &str| {
                found.iter().find(|(other, _)| other == identity).map(|(_, other)| (*other).to_owned())
            };
            match planned {
                Ok((planned, identity)) => match same(&found, &identity) {
                    Some(other) => {
                        self.refuse(Component::Databases, None, name, twice(&other, name, &planned.target));
                    }
                    None => {
                        found.push((identity, name));
                        self.databases.push(planned);
                    }
                },
                Err(problem) => self.refuse(Component::Databases, None, name, problem),
            }
        }
    }

    fn note_directory(&mut self, component: Component, planned: directory::Planned) {
        let directory::Planned { directory: planned, room, unseen } = planned;
        let (item, storage) = (planned.name.clone(), None);
        self.unseen.extend(unseen.map(|problem| ItemFailure {
            component: component.clone(),
            storage,
            item,
            problem,
        }));
        if let Some(room) = room {
            // Where files may be stored in fewer bytes, the compressed archive is the better guess.
            let bytes = if room.compresses { planned.bytes } else { planned.bytes_plain };
            self.needs.push(Need {
                host: kernel().unwrap_or_default(),
                device: room.device,
                available: room.available,
                bytes,
                component,
                storage: None,
                item: planned.name.clone(),
            });
        }
        self.directories.push(planned);
    }
}

/// Patterns that match nothing in any storage, each with names that are near in one of them.
fn everywhere<'a>(mut answers: impl Iterator<Item = &'a [Unmatched]>) -> Vec<(String, Vec<String>)> {
    let near = |unmatched: &Unmatched| unmatched.nearest.clone().into_iter().collect();
    let first = answers.next().unwrap_or_default().iter();
    let mut patterns: Vec<(String, Vec<String>)> =
        first.map(|unmatched| (unmatched.pattern.clone(), near(unmatched))).collect();
    for answer in answers {
        patterns.retain_mut(|(pattern, nearest)| {
            let found = answer.iter().find(|unmatched| unmatched.pattern == *pattern);
            nearest.extend(found.and_then(|unmatched| unmatched.nearest.clone()));
            found.is_some()
        });
    }
    patterns
}

fn leaves_out_nothing(pattern: String, near: &[String]) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Repository, "leave out repository")
        .on(&pattern)
        .answered("--skip-repository matches no repository of the selected storages, and leaves out nothing")
        .or_nearest(&pattern, near.iter().map(String::as_str));
    ItemFailure { component: Component::Repositories, storage: None, item: pattern, problem }
}

fn twice(one: &str, other: &str, target: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "plan restore")
        .on(format!("databases {one} and {other}"))
        .answered(format!("both lead to {target}, and the backup would be restored into it twice"))
        .next("restore one of them at a time, or name another target with --to-database")
}

impl Restore<'_> {
    /// What the agent of a storage would do; an agent that is lost is asked again.
    async fn plan(&self, storage: &StorageRestore) -> Result<(AgentHandle, PlanRestoreResponse), Problem> {
        let agent = self.agent_of(storage)?;
        let mut patience = Patience::new(self.patience, self.board, &storage.target);
        loop {
            let lost = match self.ask(agent, storage).await {
                Ok(planned) => return Ok((agent.clone(), planned)),
                Err(Lost::Perhaps(problem)) => Lost::Perhaps(
                    Problem { state: None, ..problem }
                        .next("check the agent and the network to it, then restore again"),
                ),
                Err(lost) => lost,
            };
            patience.wait(lost, self.stop).await?;
        }
    }

    async fn ask(&self, agent: &AgentHandle, storage: &StorageRestore) -> Result<PlanRestoreResponse, Lost> {
        let address = agent.address.to_string();
        let mut client = agent.client.clone();
        let call = client.plan_restore(tokio_stream::iter(self.requests(storage, false)));
        let answered = tokio::select! {
            answered = call => answered,
            () = self.stop.token.cancelled() => {
                return Err(Lost::For(Problem::cancelled("plan restore").on(&storage.target)));
            }
        };
        match answered {
            Ok(planned) => Ok(planned.into_inner()),
            Err(status) if status.code() == Code::Unimplemented => Err(Lost::For(too_old(agent))),
            Err(status) => Err(Lost::of_status(&status, &address)),
        }
    }
}

/// An agent that would begin at once must not be given a restore of which nothing is known.
fn too_old(agent: &AgentHandle) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Agent, "plan restore")
        .on(&agent.address)
        .answered(format!(
            "the agent is version {}, which cannot say what a restore would do; this coordinator is version {}",
            agent.description.version,
            env!("CARGO_PKG_VERSION"),
        ))
        .next("install this coordinator's version on the agent's host")
}
