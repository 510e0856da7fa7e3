//! The reference: both runs without a crash, which say how many requests there are, how many bytes a run sends, and what
//! the vault holds before the second.
//!
//! Does not own: points. One ground serves all points of a scene, a phase and a victim.

use std::collections::BTreeMap;

use bytes::Bytes;
use packhorse_testkit::{FaultyS3, LoggedRequest};

use super::{
    point::{Phase, Scene, Victim},
    storages::Storages,
    town::Town,
};

/// What points of one phase begin with, and are measured by.
pub struct Ground {
    pub storages: Storages,
    vault: BTreeMap<String, Bytes>,
    /// Requests of the victim in the run.
    pub requests: u64,
    /// Bytes that the run sends.
    pub bytes: u64,
}

impl Phase {
    /// The backup that its run makes.
    pub fn id(self) -> &'static str {
        match self {
            Self::Full => "0001",
            Self::Increment => "0002",
        }
    }
}

impl Ground {
    /// Does the reference runs.
    pub fn new(scene: Scene, phase: Phase, victim: Victim) -> Self {
        let (storages, vault) = (Storages::new(scene), BTreeMap::new());
        let mut ground = Self { storages, vault, requests: 0, bytes: 0 };
        if phase == Phase::Increment {
            let town = ground.measure(Phase::Full, victim);
            ground.vault = town.server.objects();
        }
        ground.measure(phase, victim);
        ground
    }

    /// A site as it is before a run.
    pub fn town(&self, phase: Phase) -> Town {
        Town::new(&self.storages, phase, &self.vault)
    }

    fn measure(&mut self, phase: Phase, victim: Victim) -> Town {
        let mut town = self.town(phase);
        if victim != Victim::Embedded {
            town.start_all();
        }
        let before = town.server.log().len();
        town.create(victim, phase.id()).run().expect_success();
        let log = town.server.log();
        self.requests = log[before..].iter().filter(|request| request.who == victim.who()).count() as u64;
        self.bytes = sent_since(&town.server, before);
        town
    }
}

/// Bytes that the processes of runs have sent to be stored, since the log had this length.
pub fn sent_since(server: &FaultyS3, requests: usize) -> u64 {
    let counts = |request: &&LoggedRequest| {
        let victims = [Victim::Agent, Victim::Coordinator, Victim::Embedded];
        request.operation.writes() && victims.iter().any(|victim| victim.who() == request.who)
    };
    server.log()[requests..].iter().filter(counts).map(|request| request.bytes).sum()
}
