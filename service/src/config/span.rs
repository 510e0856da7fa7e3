//! A duration in the configuration: `90s`, `5m`, `1h 30m`.
//!
//! Does not own: what is done within it. Parsed by jiff's friendly format; negative and calendar spans are refused.

use std::time::Duration;

use serde::{Deserialize, de};

/// A time span read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span as a duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span: jiff::SignedDuration =
            text.parse().map_err(|e| de::Error::custom(format!("duration {text:?}: {e}")))?;
        let span = Duration::try_from(span)
            .map_err(|_| de::Error::custom(format!("duration {text:?} must not be negative")))?;
        Ok(Self(span))
    }
}
