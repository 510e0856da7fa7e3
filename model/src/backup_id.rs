//! The identifier of one run of `create`, and of the backup it commits.
//!
//! Does not own: uniqueness; the vault's journal claims an ID for one run. Safe as a path component and as a key
//! component, because the alphabet has no separator and a leading dot or dash is refused.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::InvalidInput;

/// `[A-Za-z0-9._-]{1,128}`, not starting with a dot or a dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// Fewest characters of an ID that stand for the whole ID, where only one begins so.
    pub const SHORTEST_PREFIX: usize = 4;

    /// The default ID, as GitLab writes it: `<unix time>_<YYYY_MM_DD>_<instance version>`.
    ///
    /// Characters of `version` outside the alphabet become dashes.
    pub fn from_time(now: Timestamp, version: &str) -> Self {
        let version: String =
            version.chars().take(64).map(|c| if allowed(c as u32) { c } else { '-' }).collect();
        let day = now.to_zoned(TimeZone::UTC).strftime("%Y_%m_%d").to_string();
        Self(format!("{}_{day}_{version}", now.as_second().max(0)))
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allowed(c: u32) -> bool {
    char::from_u32(c).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

impl FromStr for BackupId {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        const WHAT: &str = "backup ID";
        if text.is_empty() || text.len() > 128 {
            return Err(InvalidInput::new(WHAT, text, "must have 1 to 128 characters"));
        }
        if text.starts_with(['.', '-']) {
            return Err(InvalidInput::new(WHAT, text, "must not start with a dot or a dash"));
        }
        if !text.chars().all(|c| allowed(c as u32)) {
            return Err(InvalidInput::new(WHAT, text, "may contain only A-Z a-z 0-9 . _ -"));
        }
        if text == "latest" {
            return Err(InvalidInput::new(WHAT, text, "is reserved for the newest backup"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BackupId {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_id_has_gitlabs_form() {
        let now: Timestamp = "2024-02-22T02:39:28Z".parse().expect("literal time");
        assert_eq!(BackupId::from_time(now, "16.9.0-ce").as_str(), "1708569568_2024_02_22_16.9.0-ce");
        assert_eq!(BackupId::from_time(now, "1 0/x").as_str(), "1708569568_2024_02_22_1-0-x");
    }

    #[test]
    fn refuses_what_could_leave_its_folder() {
        for bad in ["", ".", "..", "-x", "a/b", "a b", "latest", "ä", &"x".repeat(129)] {
            assert!(bad.parse::<BackupId>().is_err(), "{bad:?}");
        }
        for good in ["1", "nightly-7", "a.b_c", &"x".repeat(128)] {
            assert!(good.parse::<BackupId>().is_ok(), "{good:?}");
        }
    }
}
