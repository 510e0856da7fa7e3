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
        let place = self.storage.clone().unwrap_or_else(|| self.component.to_string());
        // A directory, or a storage as a whole, is its own item.
        if place == self.item {
            write!(f, "{place}  {}", self.problem)
        } else {
            write!(f, "{place}  {}  {}", self.item, self.problem)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Subject};

    #[test]
    fn each_name_is_told_once() {
        let failure = |component, storage: Option<&str>, item: &str| {
            let problem = Problem::new(ErrorKind::NotFound, Subject::Directory, "archive directory");
            let (storage, item) = (storage.map(str::to_owned), item.to_owned());
            ItemFailure { component, storage, item, problem }.to_string()
        };
        let uploads = || Component::Directory("uploads".into());
        assert_eq!(failure(uploads(), None, "uploads"), "uploads  archive directory");
        assert_eq!(failure(uploads(), None, "a/b"), "uploads  a/b  archive directory");
        assert_eq!(failure(Component::Databases, None, "main"), "db  main  archive directory");
        assert_eq!(failure(Component::Repositories, Some("s"), "a.git"), "s  a.git  archive directory");
    }
}
