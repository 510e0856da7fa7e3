//! What each method of the agent asks of its caller: to be a coordinator.
//!
//! Does not own: who has which role (`[[peer]]`). A method that is missing here is refused to everybody.

use packhorse_model::{Problem, Subject};
use packhorse_proto::status_of_problem;
use packhorse_service::{
    access::{Access, Peers, Right, Rights},
    config::Config,
};

const RIGHTS: Rights = &[
    ("/packhorse.v1.AgentService/Describe", Right::Drive),
    ("/packhorse.v1.AgentService/BackupStorage", Right::Drive),
    ("/packhorse.v1.AgentService/RestoreStorage", Right::Drive),
    ("/packhorse.v1.AgentService/PlanRestore", Right::Drive),
    ("/packhorse.v1.AgentService/CancelJob", Right::Drive),
];

/// Who may call an agent.
pub fn access(config: &Config) -> Result<Access, Problem> {
    let peers = Peers::from_config(&config.peer)?;
    Ok(Access::new(Subject::Agent, peers, RIGHTS, status_of_problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_service_asks_for_a_right_and_nothing_else_does() {
        let mut listed: Vec<_> = RIGHTS.iter().map(|(path, _)| *path).collect();
        listed.sort_unstable();
        assert_eq!(listed, packhorse_proto::methods_of("AgentService"));
    }
}
