//! What may be hit while a run is under way, and a git that dies on command.
//!
//! Does not own: when (`weather`). Each trouble is over soon by itself, or by the pause of a service manager.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use packhorse_testkit::{Fault, Plan, Rule};

use super::estate::{COORDINATOR, Estate};
use crate::histories::random::Random;

/// What may be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// Everything.
    Storms,
    /// Everything but our daemons, so that there are some old enough to judge their memory.
    Age,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A daemon is killed, and starts again after a pause.
    Kill(usize, Duration),
    /// The caller is killed.
    KillCaller,
    /// The next git that packs is killed in the middle.
    KillGit,
    /// The store resets connections, before or after it did what was asked.
    Resets,
    /// The store cannot be reached for so long.
    Outage(Duration),
    /// PostgreSQL is killed, and starts again after a pause.
    KillPostgres(Duration),
    /// PostgreSQL ends all connections.
    EndConnections,
}

/// Draws a trouble, which hits no daemon of ours while these grow old.
pub fn draw(random: &mut Random, season: Season) -> Trouble {
    let pause = Duration::from_millis(50 + random.below(900) as u64);
    let agent = random.below(2);
    let kills = 40;
    let drawn = if season == Season::Storms { random.below(100) } else { kills + random.below(100 - kills) };
    match drawn {
        0..22 => Trouble::Kill(agent, pause),
        22..40 => Trouble::Kill(COORDINATOR, pause),
        40..52 => Trouble::KillCaller,
        52..64 => Trouble::KillGit,
        64..75 => Trouble::Resets,
        75..86 => Trouble::Outage(pause * 2),
        86..94 => Trouble::KillPostgres(pause),
        _ => Trouble::EndConnections,
    }
}

/// The store's usual days: a little slow, so that a run takes long enough to be hit somewhere.
pub fn fair(seed: u64) -> Plan {
    Plan::new(seed).with(Rule::sometimes(Fault::Latency, 500))
}

/// The store's bad moments.
pub fn resets(seed: u64) -> Plan {
    Plan::new(seed)
        .with(Rule::sometimes(Fault::ResetBefore, 150).until(60))
        .with(Rule::sometimes(Fault::ResetAfter, 150).until(60))
        .with(Rule::sometimes(Fault::Latency, 500))
}

impl Estate {
    /// Has a trouble that is not the caller's, and says how long it lasts.
    pub fn suffer(&mut self, trouble: Trouble, seed: u64) -> Duration {
        match trouble {
            Trouble::Kill(which, pause) => self.kill(which, pause),
            Trouble::KillGit => self.doom.summon(),
            Trouble::Resets => self.store.set_faults(resets(seed)),
            Trouble::Outage(time) => {
                self.store.begin_outage();
                return time;
            }
            Trouble::KillPostgres(pause) => self.forge.kill(pause),
            Trouble::EndConnections => self.forge.end_connections(),
            Trouble::KillCaller => {}
        }
        Duration::ZERO
    }
}

/// Dies once, in the middle of a pack, for each time that it is summoned.
const SCRIPT: &str = r#"#!/bin/bash
case " $* " in *" pack-objects "*) ;; *) exec git "$@" ;; esac
if mv "@DIR@/doom" "@DIR@/met" 2>/dev/null; then git "$@" | head -c 100; kill -9 $$; fi
exec git "$@"
"#;

/// A wrapper of git.
pub struct Doom(PathBuf);

impl Doom {
    pub fn new(folder: &Path) -> Self {
        let doom = Self(folder.to_owned());
        fs::write(doom.git(), SCRIPT.replace("@DIR@", &folder.display().to_string())).expect("write a git");
        fs::set_permissions(doom.git(), fs::Permissions::from_mode(0o755)).expect("make it run");
        doom
    }

    /// The executable for `git = …`.
    pub fn git(&self) -> PathBuf {
        self.0.join("git")
    }

    /// Kills the next git that packs.
    pub fn summon(&self) {
        fs::write(self.0.join("doom"), "").expect("summon doom");
    }
}
