//! One item of a run that failed, with its name and its problem.
//!
//! Does not own: whether the run goes on; it always does.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Component, Problem};

/// A repository, database or directory that is not (wholly) in the backup or not restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFailure {
    /// The component it belongs to.
    pub component: Component,
    /// The storage, for a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Repository path, database name, or path inside a directory.
    pub item: String,
    /// What went wrong.
    pub problem: Problem,
}

impl fmt::Display for ItemFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.storage {
            Some(storage) => write!(f, "{storage}  {}  {}", self.item, self.problem),
            None => write!(f, "{}  {}  {}", self.component, self.item, self.problem),
        }
    }
}
