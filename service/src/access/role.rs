//! The roles that a configuration gives to callers, and the rights that methods ask for.
//!
//! Does not own: which caller has which role (`peers`). A role only ever grants; a caller with several has the rights
//! of all of them.

use serde::Deserialize;

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Drives agents.
    Coordinator,
    /// Gives every command to a coordinator.
    Operator,
    /// Looks: list, show, status.
    Observer,
    /// Serves, and calls nobody.
    Agent,
}

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To give an agent work.
    Drive,
    /// To start, change or stop something.
    Operate,
    /// To look.
    Observe,
    /// To ask whether the process is well.
    Ask,
}

impl Role {
    /// Whether the role has a right.
    pub fn has(self, right: Right) -> bool {
        match self {
            Self::Coordinator => matches!(right, Right::Drive | Right::Ask),
            Self::Operator => matches!(right, Right::Operate | Right::Observe | Right::Ask),
            Self::Observer => matches!(right, Right::Observe | Right::Ask),
            Self::Agent => false,
        }
    }

    /// The role as it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Operator => "operator",
            Self::Observer => "observer",
            Self::Agent => "agent",
        }
    }
}

impl Right {
    /// The role that a caller needs for it, in words.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Drive => "role coordinator",
            Self::Operate => "role operator",
            Self::Observe => "role observer or operator",
            Self::Ask => "role coordinator, operator or observer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_rights_and_no_more() {
        let rights = [Right::Drive, Right::Operate, Right::Observe, Right::Ask];
        for (role, expected) in [
            (Role::Coordinator, [true, false, false, true]),
            (Role::Operator, [false, true, true, true]),
            (Role::Observer, [false, false, true, true]),
            (Role::Agent, [false; 4]),
        ] {
            assert_eq!(rights.map(|right| role.has(right)), expected, "{}", role.name());
        }
    }
}
