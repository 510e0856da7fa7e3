//! The agents: which answer, what they serve, and who serves which storage.
//!
//! Does not own: jobs. Asked anew at the start of every run, so an agent that moved or came back is simply found.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{
    problem_of_status,
    v1::{DescribeRequest, DescribeResponse, agent_service_client::AgentServiceClient},
};
use packhorse_service::{Address, Tls, connect};
use tonic::transport::Channel;

/// An agent that answered.
#[derive(Clone)]
pub struct AgentHandle {
    /// Where it is.
    pub address: Address,
    /// Connected client.
    pub client: AgentServiceClient<Channel>,
    /// What it said of itself.
    pub description: DescribeResponse,
}

/// All agents at one moment.
pub struct Fleet {
    /// Who serves which storage.
    pub storages: BTreeMap<StorageName, AgentHandle>,
    /// Every agent, with its answer or problem.
    pub agents: Vec<(Address, Result<AgentHandle, Problem>)>,
}

impl Fleet {
    /// Asks every agent at once. Fails when two serve the same storage.
    pub async fn muster(addresses: &[Address], tls: Option<&Tls>) -> Result<Self, Problem> {
        let mut questions = Vec::new();
        for address in addresses {
            questions.push(describe(address, tls));
        }
        let answers = join_all(questions).await;
        let agents: Vec<_> = addresses.iter().cloned().zip(answers).collect();
        let mut storages: BTreeMap<StorageName, AgentHandle> = BTreeMap::new();
        for handle in agents.iter().filter_map(|(_, answer)| answer.as_ref().ok()) {
            for name in &handle.description.storages {
                let name: StorageName = name.parse()?;
                if let Some(other) = storages.insert(name.clone(), handle.clone()) {
                    return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "assign storage")
                        .on(&name)
                        .answered(format!("both {} and {} serve it", other.address, handle.address))
                        .next("remove the storage from one of the agents"));
                }
            }
        }
        Ok(Self { storages, agents })
    }

    /// The agents that did not answer.
    pub fn unreachable(&self) -> impl Iterator<Item = (&Address, &Problem)> {
        self.agents.iter().filter_map(|(address, answer)| Some((address, answer.as_ref().err()?)))
    }

    /// The agent of a storage that the operator named.
    pub fn agent_of(&self, storage: &StorageName) -> Result<&AgentHandle, Problem> {
        self.storages.get(storage).ok_or_else(|| match self.unreachable().next() {
            Some((_, problem)) => problem.clone(),
            None => Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
                .on(storage)
                .answered(format!("no agent serves it; known: {}", self.names()))
                .next("correct the name, or configure the storage"),
        })
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.storages.keys().map(StorageName::as_str).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

async fn describe(address: &Address, tls: Option<&Tls>) -> Result<AgentHandle, Problem> {
    let channel = connect(address, Subject::Agent, tls).await?;
    let mut client = AgentServiceClient::new(channel);
    let answer = client.describe(DescribeRequest {}).await;
    let description =
        answer.map_err(|e| problem_of_status(&e, Subject::Agent, &address.to_string()))?.into_inner();
    Ok(AgentHandle { address: address.clone(), client, description })
}
