//! What each method of the coordinator asks of its caller.
//!
//! Does not own: who has which role (`[[peer]]`). A method that is missing here is refused to everybody.

use packhorse_model::{Problem, Subject};
use packhorse_proto::status_of_problem;
use packhorse_service::{
    access::{Access, Peers, Right, Rights},
    config::Config,
};

const RIGHTS: Rights = &[
    ("/packhorse.v1.CoordinatorService/Create", Right::Operate),
    ("/packhorse.v1.CoordinatorService/Restore", Right::Operate),
    ("/packhorse.v1.CoordinatorService/Cancel", Right::Operate),
    ("/packhorse.v1.CoordinatorService/InitVault", Right::Operate),
    ("/packhorse.v1.CoordinatorService/List", Right::Observe),
    ("/packhorse.v1.CoordinatorService/Show", Right::Observe),
    ("/packhorse.v1.CoordinatorService/Agents", Right::Observe),
    ("/packhorse.v1.CoordinatorService/Find", Right::Observe),
    ("/packhorse.v1.CoordinatorService/Status", Right::Observe),
    ("/packhorse.v1.CoordinatorService/Follow", Right::Observe),
];

/// Who may call a coordinator.
pub fn access(config: &Config) -> Result<Access, Problem> {
    let peers = Peers::from_config(&config.peer)?;
    Ok(Access::new(Subject::Coordinator, peers, RIGHTS, status_of_problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_service_asks_for_a_right_and_nothing_else_does() {
        let mut listed: Vec<_> = RIGHTS.iter().map(|(path, _)| *path).collect();
        listed.sort_unstable();
        assert_eq!(listed, packhorse_proto::methods_of("CoordinatorService"));
    }
}
