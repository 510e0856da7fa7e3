//! `backupctl agents`.

use packhorse_model::{Exit, Problem};
use packhorse_proto::v1::{AgentsRequest, AgentsResponse};
use serde_json::{Value, json};

use crate::{
    args::{AgentsArgs, Common},
    render::{self, Table},
    session::Session,
};

/// Lists the agents; exits with 14 when one cannot be used, or with 12 when those only refuse us, and with 3 when a storage of
/// one is missing.
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
    let problems = answer.agents.iter().filter_map(problem_of);
    if let Some(exit) = exit_of(problems) {
        exit
    } else if answer.agents.iter().any(|agent| !agent.missing_storages.is_empty()) {
        Exit::Incomplete
    } else {
        Exit::Complete
    }
}

/// The code of agents that cannot be used: one that does not answer is told before one that refuses us.
fn exit_of(problems: impl Iterator<Item = Problem>) -> Option<Exit> {
    let is_denied = |problem: Problem| Exit::of_problem(&problem) == Exit::Denied;
    let all = problems.map(is_denied).reduce(|all, denied| all && denied)?;
    Some(if all { Exit::Denied } else { Exit::Unreachable })
}

#[cfg(test)]
mod tests {
    use packhorse_model::{ErrorKind, Subject};

    use super::*;

    #[test]
    fn an_agent_that_refuses_us_is_denied_and_one_that_is_away_is_unreachable() {
        let exit =
            |kinds: &[ErrorKind]| exit_of(kinds.iter().map(|kind| Problem::new(*kind, Subject::Agent, "x")));
        assert_eq!(exit(&[]), None);
        assert_eq!(exit(&[ErrorKind::Denied]), Some(Exit::Denied));
        assert_eq!(exit(&[ErrorKind::Denied, ErrorKind::Unavailable]), Some(Exit::Unreachable));
        // One that uses another vault, or speaks another protocol, cannot be used either.
        assert_eq!(exit(&[ErrorKind::Invalid]), Some(Exit::Unreachable));
    }
}
