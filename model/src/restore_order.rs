//! What a restore was asked for, and where each of its parts goes.
//!
//! Does not own: what became of it (`RestoreSummary`). It is known before anything is touched, so that a restore that fails, is
//! cancelled or dies tells where it was at work, too. It holds no user, password or URL of a database.

use serde::{Deserialize, Serialize};

use crate::Component;

/// Where one part of a backup goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTarget {
    /// The part's component.
    pub component: Component,
    /// Name of the storage, database or directory in the backup.
    pub name: String,
    /// The storage, `HOST:PORT/DATABASE`, or the folder that receives it.
    pub target: String,
    /// The folder of that storage on its agent's host, as far as the agent tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOrder {
    /// Whether what exists may be replaced.
    pub force: bool,
    /// Patterns of the repositories that are selected; none of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Patterns of the repositories that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_repositories: Vec<String>,
    /// Components and parts that are selected; none of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Components and parts that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Where each part goes; none when that was not yet known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<RestoreTarget>,
}

impl RestoreOrder {
    /// How a restore that was stopped is gone on with: repositories are found to be done, other parts are not.
    pub fn to_go_on(&self) -> &'static str {
        let repositories = |target: &RestoreTarget| target.component == Component::Repositories;
        let others = self.targets.iter().any(|target| !repositories(target));
        match (others, self.targets.iter().any(repositories)) {
            (false, _) => "restore again with --skip-existing",
            (true, false) => "restore again; leave out with --skip what is done, or replace it with --force",
            (true, true) => {
                "restore again with --skip-existing; leave out with --skip the databases and directories that are done, or replace \
                 them with --force"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_skipped_by_themselves_and_other_parts_by_name() {
        let target = |component: &str| RestoreTarget {
            component: component.parse().expect("a component"),
            name: "x".into(),
            target: "x".into(),
            path: None,
        };
        let step = |components: &[&str]| {
            let targets = components.iter().map(|component| target(component)).collect();
            RestoreOrder { targets, ..RestoreOrder::default() }.to_go_on()
        };
        assert_eq!(step(&["repositories"]), "restore again with --skip-existing");
        assert_eq!(step(&[]), step(&["repositories"]));
        assert!(!step(&["db"]).contains("--skip-existing") && step(&["db"]).contains("--force"));
        for part in ["--skip-existing", "--skip the databases"] {
            assert!(step(&["repositories", "uploads"]).contains(part));
        }
    }
}
