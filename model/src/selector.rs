//! How an operator names a backup: an ID, `latest`, or `latest~N`.
//!
//! Does not own: which backups exist (`vault::inventory`).

use std::{fmt, str::FromStr};

use crate::{BackupId, InvalidInput};

/// A backup by name or by age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupSelector {
    /// The committed backup with this ID.
    Id(BackupId),
    /// The newest committed backup, or the one `N` before it.
    Latest(usize),
}

impl FromStr for BackupSelector {
    type Err = InvalidInput;
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        if text == "latest" {
            return Ok(Self::Latest(0));
        }
        if let Some(back) = text.strip_prefix("latest~") {
            let rule = "must be an ID, latest, or latest~N";
            return back.parse().map(Self::Latest).map_err(|_| InvalidInput::new("backup", text, rule));
        }
        text.parse().map(Self::Id)
    }
}

impl fmt::Display for BackupSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Latest(0) => f.write_str("latest"),
            Self::Latest(back) => write!(f, "latest~{back}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_parse() {
        assert_eq!("latest".parse(), Ok(BackupSelector::Latest(0)));
        assert_eq!("latest~3".parse(), Ok(BackupSelector::Latest(3)));
        assert!("latest~x".parse::<BackupSelector>().is_err());
        assert_eq!("n1".parse(), Ok(BackupSelector::Id("n1".parse().expect("valid"))));
    }
}
