//! What our side should reach, and whether it does.

use serde::Serialize;

use super::work::Done;

/// What one of our sides should reach.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// The name of our side.
    pub ours: &'static str,
    /// What it is compared with: the name of another side.
    pub with: &'static str,
    /// What should be true.
    pub claim: Claim,
}

/// What should be true of our side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Our time is at most this much of the other's.
    TimeAtMost(f64),
    /// The other's time is at least this much of ours.
    FasterAtLeast(f64),
    /// We do at least so many things a second; the other side is our own.
    RateAtLeast(f64),
    /// What we stored of Git's is at most this much of the other's.
    BytesAtMost(f64),
}

/// How a goal was reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What was compared: a ratio, or things a second.
    pub value: f64,
    /// Whether it is as it should be.
    pub met: bool,
}

impl Goal {
    /// Looks at what was measured; `None` where a side has no figures.
    pub fn judge(&self, done: &Done) -> Option<Verdict> {
        let (ours, other) = (done.samples(self.ours)?, done.samples(self.with)?);
        let value = match self.claim {
            Claim::TimeAtMost(_) => ours.wall() / other.wall(),
            Claim::FasterAtLeast(_) => other.wall() / ours.wall(),
            Claim::RateAtLeast(_) => done.items? as f64 / ours.wall(),
            Claim::BytesAtMost(_) => ours.git_bytes() as f64 / other.git_bytes() as f64,
        };
        Some(Verdict { value, met: self.claim.holds(value) })
    }
}

impl Claim {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::TimeAtMost(limit) | Self::BytesAtMost(limit) => value <= limit,
            Self::FasterAtLeast(limit) | Self::RateAtLeast(limit) => value >= limit,
        }
    }

    /// As the table shows it.
    pub fn text(self) -> String {
        match self {
            Self::TimeAtMost(limit) => format!("≤ {limit} × its time"),
            Self::FasterAtLeast(limit) => format!("≥ {limit} × as fast"),
            Self::RateAtLeast(limit) => format!("≥ {limit} a second"),
            Self::BytesAtMost(limit) => format!("≤ {limit} × its bytes"),
        }
    }

    /// A value of this claim, as the table shows it.
    pub fn value_text(self, value: f64) -> String {
        match self {
            Self::TimeAtMost(_) => format!("{value:.2} × its time"),
            Self::FasterAtLeast(_) => format!("{value:.1} × as fast"),
            Self::RateAtLeast(_) => format!("{value:.0} a second"),
            Self::BytesAtMost(_) => format!("{value:.2} × its bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_a_share_of_time_or_bytes_or_a_speed() {
        assert!(Claim::TimeAtMost(0.6).holds(0.5) && !Claim::TimeAtMost(0.6).holds(0.7));
        assert!(Claim::BytesAtMost(1.05).holds(1.05) && !Claim::BytesAtMost(1.05).holds(1.06));
        assert!(Claim::FasterAtLeast(3.0).holds(3.0) && !Claim::FasterAtLeast(3.0).holds(2.9));
        assert!(Claim::RateAtLeast(2000.0).holds(2001.0) && !Claim::RateAtLeast(2000.0).holds(1999.0));
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        assert!(!Claim::TimeAtMost(1.0).holds(f64::NAN) && !Claim::FasterAtLeast(1.0).holds(f64::NAN));
    }
}
