//! `backupctl agents`.

use packhorse_model::{Exit, Problem};
use packhorse_proto::v1::{AgentsRequest, AgentsResponse};
use serde_json::{Value, json};

use crate::{
    args::{AgentsArgs, Common},
    render::{self, Table},
    session::Session,
};

/// Lists the agents; exits with 14 when one does not answer, with 3 when a storage of one is missing.
pub async fn run(common: &Common, _args: &AgentsArgs) -> Result<Exit, Problem> {
    let session = Session::open(common, &[]).await?;
    let answer = session.answer(session.client().agents(AgentsRequest {})).await;
    let exit = answer.map(|answer| show(common, answer.get_ref()));
    session.close(exit).await
}

fn show(common: &Common, answer: &AgentsResponse) -> Exit {
    let problem_of = |agent: &packhorse_proto::v1::AgentStatus| agent.problem.clone().map(Problem::from);
    if common.json {
        let agents: Vec<Value> = answer
            .agents
            .iter()
            .map(|agent| {
                json!({
                    "address": agent.address, "version": agent.version, "git_version": agent.git_version,
                    "storages": agent.storages, "problem": problem_of(agent), "remarks": agent.remarks,
                    "missing_storages": agent.missing_storages,
                })
            })
            .collect();
        let vault = answer.vault.clone().unwrap_or_default();
        let problem = answer.vault_problem.clone().map(Problem::from);
        render::json(&json!({
            "vault": vault.url, "vault_id": vault.id, "agents": agents, "problem": problem, "remarks": answer.remarks,
        }));
    } else {
        let mut table = Table::new(&["AGENT", "VERSION", "GIT", "STORAGES", "STATE"]);
        for agent in &answer.agents {
            let fine = || if agent.remarks.is_empty() { "ok".to_owned() } else { agent.remarks.join("; ") };
            let state = problem_of(agent).map_or_else(fine, |problem| problem.to_string());
            let (version, git) = (agent.version.clone(), agent.git_version.clone());
            table.row([agent.address.clone(), version, git, agent.storages.join(","), state]);
        }
        let url = answer.vault.as_ref().map(|vault| vault.url.as_str()).unwrap_or_default();
        render::text(&format!("{}\nvault {url}", table.to_string().trim_end()));
    }
    for remark in &answer.remarks {
        render::note(&format!("the coordinator: {remark}"));
    }
    if let Some(problem) = answer.vault_problem.clone().map(Problem::from) {
        render::note(&render::problem(&problem));
        return Exit::of_problem(&problem);
    }
    if answer.agents.iter().any(|agent| agent.problem.is_some()) {
        Exit::Unreachable
    } else if answer.agents.iter().any(|agent| !agent.missing_storages.is_empty()) {
        Exit::Incomplete
    } else {
        Exit::Complete
    }
}
