//! The agents: which answer, what they serve, and who serves which storage.
//!
//! Does not own: jobs. Asked anew at the start of every run, so an agent that moved or came back is simply found.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt, path::Path, time::Duration};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{
    PROTOCOL,
    v1::{
        self, CancelJobRequest, DescribeRequest, DescribeResponse, agent_service_client::AgentServiceClient,
    },
};
use packhorse_service::{
    Address, Tls, call_again, connect,
    places::{self, Extent, Location, Place, kernel},
};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::{CoordinatorOptions, patience::Lost};

/// An agent that answered.
#[derive(Clone)]
pub struct AgentHandle {
    /// Where it is.
    pub address: Address,
    /// Connected client.
    pub client: AgentServiceClient<Channel>,
    /// What it said of itself.
    pub description: DescribeResponse,
    /// How far its clock is ahead of ours.
    clock_ahead: SignedDuration,
}

/// All agents at one moment.
pub struct Fleet {
    /// Who serves which storage.
    pub storages: BTreeMap<StorageName, AgentHandle>,
    /// Storages that several agents serve, so that none of them may.
    pub conflicts: BTreeMap<StorageName, Problem>,
    /// Every agent, with its answer or problem.
    pub agents: Vec<(Address, Result<AgentHandle, Problem>)>,
    /// Whether the only agent is part of this process, so that nobody needs to hear of agents.
    is_embedded: bool,
}

impl Fleet {
    /// The agents of a coordinator.
    pub async fn of(options: &CoordinatorOptions) -> Result<Self, Problem> {
        let fleet = Self::muster(&options.agents, options.tls.as_ref()).await?;
        Ok(Self { is_embedded: options.identity.is_none(), ..fleet })
    }

    /// Asks every agent at once.
    pub async fn muster(addresses: &[Address], tls: Option<&Tls>) -> Result<Self, Problem> {
        let mut questions = Vec::new();
        for address in addresses {
            questions.push(describe(address, tls));
        }
        let answers = join_all(questions).await;
        let agents: Vec<_> = addresses.iter().cloned().zip(answers).collect();
        let mut claims: BTreeMap<StorageName, Vec<AgentHandle>> = BTreeMap::new();
        for handle in agents.iter().filter_map(|(_, answer)| answer.as_ref().ok()) {
            for name in &handle.description.storages {
                claims.entry(name.parse()?).or_default().push(handle.clone());
            }
        }
        let (mut storages, mut conflicts) = (BTreeMap::new(), BTreeMap::new());
        for (name, mut handles) in claims {
            match handles.pop() {
                Some(only) if handles.is_empty() => drop(storages.insert(name, only)),
                Some(last) => drop(conflicts.insert(name.clone(), conflict(&name, &handles, &last))),
                None => {}
            }
        }
        Ok(Self { storages, conflicts, agents, is_embedded: false })
    }

    /// Refuses to work when of our own places, and those of the agents under the same kernel, one lies in another.
    pub async fn check_places(&self, own: &[Place]) -> Result<(), Problem> {
        let own = own.to_vec();
        let own = crate::pipe::joined(tokio::task::spawn_blocking(move || places::locate(&own)).await)?;
        let mut hosts: BTreeMap<String, Vec<Location>> = BTreeMap::new();
        hosts.entry(kernel().unwrap_or_default()).or_default().extend(own);
        for handle in self.agents.iter().filter_map(|(_, answer)| answer.as_ref().ok()) {
            let DescribeResponse { kernel, places, .. } = &handle.description;
            if !kernel.is_empty() {
                hosts.entry(kernel.clone()).or_default().extend(places.iter().map(location));
            }
        }
        hosts.values().try_for_each(|locations| places::check_locations(locations))
    }

    /// The agents that did not answer.
    pub fn unreachable(&self) -> impl Iterator<Item = (&Address, &Problem)> {
        self.agents.iter().filter_map(|(address, answer)| Some((address, answer.as_ref().err()?)))
    }

    /// The agent of a storage that the operator named.
    pub fn agent_of(&self, storage: &StorageName) -> Result<&AgentHandle, Problem> {
        self.storages.get(storage).ok_or_else(|| {
            match (self.conflicts.get(storage), self.unreachable().next()) {
                (Some(problem), _) | (None, Some((_, problem))) => problem.clone(),
                (None, None) => self.unknown(storage),
            }
        })
    }

    fn unknown(&self, storage: &StorageName) -> Problem {
        let (whose, next) = match self.is_embedded {
            true => (
                "no storage of this name is configured",
                format!(
                    "correct the name, configure the storage, or say where it lies: --storage {storage}=PATH"
                ),
            ),
            false => {
                ("no agent serves it", "correct the name, or configure the storage at its agent".to_owned())
            }
        };
        Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
            .on(storage)
            .answered(format!("{whose}; known: {}", self.names()))
            .next(next)
            .or_nearest(storage.as_str(), self.storages.keys().map(StorageName::as_str))
    }

    /// The folder of a storage, as its agent tells it.
    pub fn path_of(&self, storage: &StorageName) -> Option<String> {
        let key = Place::storage(storage, Path::new(""));
        let places = &self.storages.get(storage)?.description.places;
        places.iter().find(|place| place.key == key.key()).map(|place| place.shown.clone())
    }

    /// The storages of an agent that others claim too, each with who does.
    pub fn conflicts_of(&self, agent: &AgentHandle) -> impl Iterator<Item = (&StorageName, String)> {
        let claims = |name: &StorageName| agent.description.storages.iter().any(|own| own == name.as_str());
        let conflicts = self.conflicts.iter().filter(move |(name, _)| claims(name));
        conflicts.map(|(name, problem)| {
            let answer = problem.answer.as_deref().unwrap_or_default();
            (name, format!("storage {name} is not backed up: {answer}"))
        })
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.storages.keys().map(StorageName::as_str).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

fn location(place: &v1::Place) -> Location {
    let extents = place.extents.iter().map(|extent| Extent {
        device: extent.device.clone(),
        path: OsString::from_vec(extent.path.clone()).into(),
    });
    Location::told(place.key.clone(), place.shown.clone(), extents.collect())
}

fn conflict(name: &StorageName, others: &[AgentHandle], last: &AgentHandle) -> Problem {
    let addresses: Vec<String> = others.iter().chain([last]).map(|agent| agent.address.to_string()).collect();
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "assign storage")
        .on(name)
        .answered(format!("it is served by several agents: {}", addresses.join(", ")))
        .next("remove the storage from all agents but one")
}

/// How far two clocks may differ before it is said.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

impl AgentHandle {
    /// What is odd about the agent, but does not keep it from working.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.description.remarks.clone();
        let own = env!("CARGO_PKG_VERSION");
        if self.description.version != own {
            remarks.push(format!("is version {}, and this coordinator {own}", self.description.version));
        }
        if self.clock_ahead.abs() > SKEW {
            let way = if self.clock_ahead.is_positive() { "ahead of" } else { "behind" };
            remarks.push(format!("its clock is {:#} {way} this coordinator's", self.clock_ahead.abs()));
        }
        remarks
    }
}

impl AgentHandle {
    /// What keeps it from working for a coordinator whose vault is this one.
    pub fn other_vault(&self, url: &str, id: &str) -> Problem {
        let own = match self.description.vault_id.as_str() {
            "" => format!("finds no vault at {}", self.description.vault_url),
            own => format!("uses vault {own} at {}", self.description.vault_url),
        };
        Problem::new(ErrorKind::Invalid, Subject::Agent, "use agent")
            .on(&self.address)
            .answered(format!("it {own}; this coordinator uses vault {id} at {url}"))
            .next("give both the same [vault] section, and mount what belongs there")
    }
}

/// Time that an agent has to end a job that is cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(20);

impl AgentHandle {
    /// Stops a job. An agent that cannot be told goes on, which does no harm.
    pub async fn cancel_job(&self, run: String, storage: String) {
        let request = CancelJobRequest { run, storage };
        let cancel = || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.cancel_job(request).await }
        };
        match tokio::time::timeout(CANCEL_TIME, call_again(cancel)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(agent = %self.address, %error, "a job was not cancelled"),
            Err(_) => {
                tracing::warn!(agent = %self.address, "a job was not cancelled within {}s", CANCEL_TIME.as_secs())
            }
        }
    }
}

/// Time for an agent that is lost while it is asked to come back; one that is down from the start is not waited for.
const COMES_BACK: Duration = Duration::from_secs(20);
/// Time between two tries.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Asks one agent; when it dies over it, as one does that is restarted, asks again for a while.
async fn describe(address: &Address, tls: Option<&Tls>) -> Result<AgentHandle, Problem> {
    let mut lost: Option<Instant> = None;
    loop {
        let problem = match connect(address, Subject::Agent, tls).await {
            Ok(channel) => match ask(address, channel).await {
                Ok(handle) => return Ok(handle),
                Err(Lost::For(problem) | Lost::Busy(problem)) => return Err(problem),
                Err(Lost::Perhaps(problem)) => {
                    lost.get_or_insert_with(Instant::now);
                    problem
                }
            },
            Err(problem) => problem,
        };
        if lost.is_none_or(|since| since.elapsed() >= COMES_BACK) {
            return Err(problem);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn ask(address: &Address, channel: Channel) -> Result<AgentHandle, Lost> {
    let mut client = AgentServiceClient::new(channel);
    let answer = client.describe(DescribeRequest {}).await;
    let description = answer.map_err(|e| Lost::of_status(&e, &address.to_string()))?.into_inner();
    let handle = handle_of(address, client, description).map_err(Lost::For)?;
    for remark in handle.remarks() {
        tracing::warn!(agent = %address, "{remark}");
    }
    Ok(handle)
}

fn handle_of(
    address: &Address,
    client: AgentServiceClient<Channel>,
    description: DescribeResponse,
) -> Result<AgentHandle, Problem> {
    if description.protocol != PROTOCOL {
        return Err(Problem::new(ErrorKind::Unavailable, Subject::Agent, "use agent")
            .on(address)
            .answered(format!(
                "it is version {} and speaks protocol {}; this coordinator is version {} and speaks {PROTOCOL}",
                description.version,
                description.protocol,
                env!("CARGO_PKG_VERSION"),
            ))
            .next("install the same version on both"));
    }
    let clock = Timestamp::from_millisecond(description.clock_ms).unwrap_or_default();
    let clock_ahead = SignedDuration::from_secs(clock.duration_since(Timestamp::now()).as_secs());
    Ok(AgentHandle { address: address.clone(), client, description, clock_ahead })
}
