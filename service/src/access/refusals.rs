//! Everything that was refused: counted by reason, and logged once for each caller and matter.
//!
//! Does not own: refusing. A flood fills neither the log nor memory: what repeats within a minute is counted only, and
//! so are new callers when more than a thousand are remembered.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No TLS, or no certificate that is valid now and signed by our authority.
    Handshake,
    /// Silent, or too slow.
    Slow,
    /// More connections or calls than there is room for.
    Crowded,
    /// A caller that no `[[peer]]` names.
    Stranger,
    /// A caller whose role does not allow it.
    Role,
    /// A method that does not exist.
    Method,
    /// A message, or a request as a whole, that is too large.
    Size,
    /// A request that says something invalid, such as a path that leads elsewhere.
    Request,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Slow => "slow",
            Self::Crowded => "crowded",
            Self::Stranger => "stranger",
            Self::Role => "role",
            Self::Method => "method",
            Self::Size => "size",
            Self::Request => "request",
        }
    }
}

/// How long the same refusal is not logged again.
const QUIET: Duration = Duration::from_secs(60);
/// Callers and matters that are remembered.
const REMEMBERED: usize = 1000;

/// Counts of refusals; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Reason, u64>,
    seen: HashMap<(String, String), Seen>,
}

#[derive(Debug)]
struct Seen {
    logged: Instant,
    since: u64,
}

impl Refusals {
    /// Counts a refusal of `what` to `who`, and logs it unless that was just done.
    pub fn note(&self, reason: Reason, who: impl Display, what: &str, why: impl Display) {
        let (who, what): (String, String) = (who.to_string(), what.chars().take(200).collect());
        let why = why.to_string();
        if let Some(repeated) = self.count(reason, &who, &what) {
            tracing::warn!(reason = reason.name(), who, what, why, repeated, "a call was refused");
        }
    }

    /// Counts, and says how often it happened unlogged when it has to be logged now.
    fn count(&self, reason: Reason, who: &str, what: &str) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state.counts.entry(reason).or_default() += 1;
        let key = (who.to_owned(), format!("{} {what}", reason.name()));
        if let Some(seen) = state.seen.get_mut(&key) {
            if now.duration_since(seen.logged) < QUIET {
                seen.since += 1;
                return None;
            }
            seen.logged = now;
            return Some(std::mem::take(&mut seen.since));
        }
        if state.seen.len() >= REMEMBERED {
            state.seen.retain(|_, seen| now.duration_since(seen.logged) < QUIET);
            if state.seen.len() >= REMEMBERED {
                return None;
            }
        }
        state.seen.insert(key, Seen { logged: now, since: 0 });
        Some(0)
    }

    /// How often each reason occurred.
    pub fn counts(&self) -> BTreeMap<Reason, u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }

    /// Logs the counts, if there are any.
    pub fn tell(&self) {
        let counts = self.counts();
        let all: u64 = counts.values().sum();
        if all > 0 {
            let counts: Vec<_> = counts.iter().map(|(r, n)| format!("{} {n}", r.name())).collect();
            tracing::info!(all, counts = counts.join(", "), "there were refusals since the start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_logged_once() {
        let refusals = Refusals::default();
        let logged: Vec<_> = (0..500).filter_map(|_| refusals.count(Reason::Role, "a", "List")).collect();
        assert_eq!(logged, [0]);
        assert_eq!(refusals.count(Reason::Role, "b", "List"), Some(0), "another caller");
        assert_eq!(refusals.count(Reason::Role, "a", "Show"), Some(0), "another matter");
        assert_eq!(refusals.counts(), BTreeMap::from([(Reason::Role, 502)]));
    }

    #[test]
    fn memory_is_bounded_however_many_callers_there_are() {
        let refusals = Refusals::default();
        let many = 3 * REMEMBERED;
        let logged = (0..many).filter_map(|n| refusals.count(Reason::Handshake, &n.to_string(), "x")).count();
        assert_eq!(logged, REMEMBERED);
        assert_eq!(refusals.counts()[&Reason::Handshake], many as u64);
        refusals.note(Reason::Slow, "x", &"y".repeat(100_000), "z");
    }
}
