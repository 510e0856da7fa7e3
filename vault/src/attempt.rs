//! Which attempt at a part of a run an object belongs to.
//!
//! Does not own: who tries again, or when. A run that is resumed writes under names of its own, so that whatever a dead
//! or merely unreachable writer of the same run still does, no object has two writers. The first attempt has the plain
//! names that other tools expect.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use packhorse_model::{BackupId, InvalidInput};

/// An attempt at one storage, the databases or the directories of a run. Later attempts sort later.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(Option<String>);

/// A run and the attempt at it, which together name what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAttempt {
    /// The run.
    pub id: BackupId,
    /// The attempt.
    pub attempt: Attempt,
}

impl RunAttempt {
    /// The first attempt at a run.
    pub fn first(id: BackupId) -> Self {
        Self { id, attempt: Attempt::first() }
    }
}

/// Longest text of an attempt.
const MAX: usize = 64;

impl Attempt {
    /// The first attempt.
    pub fn first() -> Self {
        Self(None)
    }

    /// A further attempt, made at `now`; `random` tells it from others that are made at the same moment.
    pub fn again(now: Timestamp, random: u32) -> Self {
        Self(Some(format!("{:012x}{random:08x}", now.as_millisecond())))
    }

    /// Whether nothing of this part can have been written before.
    pub fn is_first(&self) -> bool {
        self.0.is_none()
    }

    /// What it adds to the stem of a name.
    pub(crate) fn in_key(&self) -> String {
        self.0.as_ref().map_or_else(String::new, |text| format!("+{text}"))
    }

    /// As the beginning of a name, which sorts in the order of attempts.
    pub(crate) fn sorted(&self) -> &str {
        self.0.as_deref().unwrap_or("0")
    }
}

impl FromStr for Attempt {
    type Err = InvalidInput;

    /// Parses what [`Attempt`] displays as; the first attempt is empty.
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        if text.is_empty() {
            return Ok(Self::first());
        }
        if text.len() > MAX || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidInput::new("attempt", text, "must be hexadecimal digits"));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_attempts_sort_later_and_nothing_else_parses() {
        let at = |seconds| Timestamp::from_second(seconds).expect("in range");
        let attempts =
            [Attempt::first(), Attempt::again(at(1_700_000_000), 9), Attempt::again(at(1_700_000_001), 1)];
        assert!(attempts.is_sorted() && attempts.map(|a| a.sorted().to_owned()).is_sorted());
        let text = Attempt::again(at(1_700_000_000), 9).to_string();
        assert_eq!(text.parse::<Attempt>(), Ok(Attempt::again(at(1_700_000_000), 9)));
        assert_eq!("".parse::<Attempt>(), Ok(Attempt::first()));
        for bad in ["../x", "a/b", "0A", "x", &"0".repeat(65)] {
            assert!(bad.parse::<Attempt>().is_err(), "{bad}");
        }
    }
}
