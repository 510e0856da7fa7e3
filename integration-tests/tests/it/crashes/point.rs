//! Points: who is killed at which request of which run, and what happens then; each has a text by which it is replayed.
//!
//! Does not own: playing them. A request is named by its number among those of its process, or by its kind and its number
//! among those of that kind, which says the same in every run, although storages are worked on beside each other.

use std::{fmt, str::FromStr};

use packhorse_testkit::{LoggedRequest, Operation, When};

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

/// Which requests a spot counts.
type Filter = Box<dyn Fn(&LoggedRequest) -> bool + Send>;

/// Which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    Number(u64),
    Kind(String, u64),
}

/// One point of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
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

impl Spot {
    /// Its number, and which requests are counted for it.
    pub fn filter(&self, victim: Victim) -> (u64, Filter) {
        let ours = move |request: &LoggedRequest| request.who == victim.who();
        match self.clone() {
            Self::Number(number) => (number, Box::new(ours)),
            Self::Kind(kind, number) => {
                (number, Box::new(move |request| ours(request) && kind_of(request) == kind))
            }
        }
    }
}

/// What a request is for.
fn kind_of(request: &LoggedRequest) -> &'static str {
    /// What objects are created for, by the ends of their keys.
    const ENDS: [(&str, &str); 13] = [
        ("packhorse/format.json", "format"),
        ("/run.json", "claim"),
        ("/end.json", "end"),
        ("/report.json", "report"),
        ("/backup_information.json", "record"),
        (".json", "done"),
        (".toml", "manifest"),
        (".bundle", "bundle"),
        (".refs", "refs"),
        (".custom_hooks.tar", "hooks"),
        (".jsonl.zst", "catalogue"),
        (".tar.gz", "archive"),
        (".sql.gz", "dump"),
    ];
    match request.operation {
        Operation::BeginUpload => "begin",
        Operation::PutPart => "part",
        Operation::CompleteUpload => "complete",
        Operation::Put => "latest",
        Operation::Create if request.key.contains("/segments/") => "segment",
        Operation::Create => {
            let found = ENDS.iter().find(|(end, _)| request.key.ends_with(end));
            found.map_or("marker", |(_, kind)| kind)
        }
        operation if operation.writes() => "removal",
        _ => "read",
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, victim, spot, when, then } = self;
        let phase = if *phase == Phase::Full { "full" } else { "increment" };
        write!(f, "{phase}:{}:", victim.who())?;
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
        let phase = choose(phase, &[("full", Phase::Full), ("increment", Phase::Increment)]);
        let victims = [Victim::Agent, Victim::Coordinator, Victim::Embedded];
        let spot = match spot.rsplit_once('-') {
            Some((kind, number)) => number.parse().ok().map(|number| Spot::Kind(kind.to_owned(), number)),
            None => spot.parse().ok().map(Spot::Number),
        };
        Ok(Self {
            phase: phase.ok_or_else(wrong)?,
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
