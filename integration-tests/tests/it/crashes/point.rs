//! Points: who is killed at which request of which run, and what happens then; each has a text by which it is replayed.
//!
//! Does not own: which request that is (`spot`), or playing points (`play`). A text names everything that a point depends
//! on, so that what it says can be played again.

use std::{fmt, str::FromStr};

use packhorse_testkit::When;

use super::spot::Spot;

/// What there is to back up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One large repository, and a small directory.
    Plain,
    /// Small repositories, a directory that is larger than a part of an upload, and a database.
    Database,
}

/// Which run of the reference is hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first one.
    Full,
    /// The second one, after changes.
    Increment,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Agent,
    Coordinator,
    /// `backupctl --embedded`, which is all of them.
    Embedded,
}

/// What happens after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The process is started again, and the run has to end as if nothing had happened.
    Restart,
    /// Everything else is killed too, nothing goes on with the run, and another one is started.
    Next,
    /// Likewise, and repositories change in between.
    Moved,
}

/// One point of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub scene: Scene,
    pub phase: Phase,
    pub victim: Victim,
    pub spot: Spot,
    pub when: When,
    pub then: Then,
}

impl Victim {
    /// Its name in the store's log.
    pub fn who(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
            Self::Embedded => "embedded",
        }
    }
}

/// Every ground on which points are played.
const GROUNDS: [(Scene, Phase); 4] = [
    (Scene::Plain, Phase::Full),
    (Scene::Plain, Phase::Increment),
    (Scene::Database, Phase::Full),
    (Scene::Database, Phase::Increment),
];

/// How a point's text begins.
pub fn ground_name(scene: Scene, phase: Phase) -> &'static str {
    match (scene, phase) {
        (Scene::Plain, Phase::Full) => "full",
        (Scene::Plain, Phase::Increment) => "increment",
        (Scene::Database, Phase::Full) => "full+db",
        (Scene::Database, Phase::Increment) => "increment+db",
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, phase, victim, spot, when, then } = self;
        write!(f, "{}:{}:", ground_name(*scene, *phase), victim.who())?;
        match spot {
            Spot::Number(number) => write!(f, "{number}")?,
            Spot::Kind(kind, number) => write!(f, "{kind}-{number}")?,
        }
        let when = if *when == When::Before { "before" } else { "after" };
        let then = match then {
            Then::Restart => "restart",
            Then::Next => "next",
            Then::Moved => "moved",
        };
        write!(f, ":{when}:{then}")
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not PHASE:PROCESS:REQUEST:WHEN:THEN");
        let parts: Vec<&str> = text.split(':').collect();
        let [phase, victim, spot, when, then] = parts[..] else { return Err(wrong()) };
        let grounds = GROUNDS.map(|(scene, phase)| (ground_name(scene, phase), (scene, phase)));
        let (scene, phase) = choose(phase, &grounds).ok_or_else(wrong)?;
        let victims = [Victim::Agent, Victim::Coordinator, Victim::Embedded];
        let spot = match spot.rsplit_once('-') {
            Some((kind, number)) => number.parse().ok().map(|number| Spot::Kind(kind.to_owned(), number)),
            None => spot.parse().ok().map(Spot::Number),
        };
        Ok(Self {
            scene,
            phase,
            victim: choose(victim, &victims.map(|victim| (victim.who(), victim))).ok_or_else(wrong)?,
            spot: spot.ok_or_else(wrong)?,
            when: choose(when, &[("before", When::Before), ("after", When::AfterApply)]).ok_or_else(wrong)?,
            then: choose(then, &[("restart", Then::Restart), ("next", Then::Next), ("moved", Then::Moved)])
                .ok_or_else(wrong)?,
        })
    }
}

fn choose<T: Copy>(text: &str, among: &[(&str, T)]) -> Option<T> {
    among.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}
