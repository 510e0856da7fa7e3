//! The name of a repository storage (GitLab's word).
//!
//! Does not own: where the storage lies. Safe as a key component: the alphabet has no separator, and the names that
//! the stored format uses for itself are refused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::InvalidInput;

/// `[A-Za-z0-9._-]{1,128}`, not a name that the stored format reserves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorageName(String);

impl StorageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageName {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        const WHAT: &str = "storage name";
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
            return Err(InvalidInput::new(WHAT, text, "must be 1 to 128 of A-Z a-z 0-9 . _ -"));
        }
        if text.starts_with('.') {
            return Err(InvalidInput::new(WHAT, text, "must not start with a dot"));
        }
        if matches!(text, "manifests" | "backups" | "backup_ids" | "packhorse") {
            return Err(InvalidInput::new(WHAT, text, "is reserved by the stored format"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for StorageName {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<StorageName> for String {
    fn from(name: StorageName) -> Self {
        name.0
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_unsafe_names_are_refused() {
        for bad in ["", ".", "..", "a/b", "manifests", "backups", "backup_ids", "packhorse", "a b"] {
            assert!(bad.parse::<StorageName>().is_err(), "{bad:?}");
        }
        assert!("default".parse::<StorageName>().is_ok());
        assert!("nfs-file01.x".parse::<StorageName>().is_ok());
    }
}
