//! The path of a repository relative to its storage, such as `@hashed/ab/cd/….git`.
//!
//! Does not own: whether the repository exists. Safe to join to a storage folder and to a key: relative, no empty,
//! `.` or `..` component, no control byte.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::InvalidInput;

/// A relative path of one or more components; ordered by components, as a folder walk visits them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

impl RepoPath {
    /// The path as text, components separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for RepoPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}

impl PartialOrd for RepoPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for RepoPath {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        const WHAT: &str = "repository path";
        if text.is_empty() || text.len() > 900 {
            return Err(InvalidInput::new(WHAT, text, "must have 1 to 900 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidInput::new(WHAT, text, "must not contain control characters"));
        }
        if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(InvalidInput::new(WHAT, text, "must be relative, without empty, . or .. components"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RepoPath {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traversal_is_refused() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\nb", "a\0b"] {
            assert!(bad.parse::<RepoPath>().is_err(), "{bad:?}");
        }
        assert!("@hashed/ab/cd/x.git".parse::<RepoPath>().is_ok());
    }

    #[test]
    fn order_is_that_of_a_folder_walk() {
        let mut paths: Vec<RepoPath> =
            ["a-b/x.git", "a/x.git", "a.git"].iter().map(|p| p.parse().expect("valid")).collect();
        paths.sort();
        let sorted: Vec<&str> = paths.iter().map(RepoPath::as_str).collect();
        assert_eq!(sorted, ["a/x.git", "a-b/x.git", "a.git"]);
    }
}
