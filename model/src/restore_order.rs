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
