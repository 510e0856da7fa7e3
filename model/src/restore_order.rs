//! What a restore was asked for, and where each of its parts goes.
//!
//! Does not own: what became of it (`RestoreSummary`). It is known before anything is touched, so that a restore that fails, is
//! cancelled or dies tells where it was at work, too. It holds no user, password or URL of a database.

use serde::{Deserialize, Serialize};

use crate::{Component, shell_quoted};

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
    /// How a restore that was stopped is gone on with: repositories are found to be done, other parts are made again.
    pub fn to_go_on(&self) -> String {
        let is_repositories = |target: &&RestoreTarget| target.component == Component::Repositories;
        let others: Vec<String> = self
            .targets
            .iter()
            .filter(|target| !is_repositories(target))
            .map(|target| format!("--only {}", shell_quoted(&target.name)))
            .collect();
        let others = format!("{} --force", others.join(" "));
        match (others.starts_with("--only"), self.targets.iter().any(|target| is_repositories(&target))) {
            (false, _) => "restore again with --skip-existing".to_owned(),
            (true, false) => format!("restore again with {others}"),
            (true, true) => format!(
                "restore again in two steps: with --only repositories --skip-existing, then, without --storage and \
                 --repository, with {others}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_found_to_be_done_and_other_parts_are_named() {
        let target = |component: &str, name: &str| RestoreTarget {
            component: component.parse().expect("a component"),
            name: name.into(),
            target: "x".into(),
            path: None,
        };
        let step = |parts: &[(&str, &str)]| {
            let targets = parts.iter().map(|(component, name)| target(component, name)).collect();
            RestoreOrder { targets, ..RestoreOrder::default() }.to_go_on()
        };
        let repositories = ("repositories", "default");
        assert_eq!(step(&[repositories]), "restore again with --skip-existing");
        assert_eq!(step(&[]), step(&[repositories]));
        let others = [("db", "main"), ("uploads", "uploads")];
        let again = "--only main --only uploads --force";
        assert_eq!(step(&others), format!("restore again with {again}"));
        let both = step(&[repositories, others[0], others[1]]);
        assert!(
            both.contains("--only repositories --skip-existing, then") && both.ends_with(again),
            "{both}"
        );
    }
}
