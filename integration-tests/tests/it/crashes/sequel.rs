//! What happens after a kill: the process comes back and the run goes on, or another run is made.
//!
//! Does not own: the kill, and what was sent (`play`). Whatever was committed before has to be listed and to come back
//! exactly, every backup of it, whether the run goes on or another one comes after it.

use std::time::Instant;

use packhorse_testkit::{Daemon, wait_until};

use super::{
    aftermath::Aftermath,
    ground::Ground,
    play::Numbers,
    point::{Phase, Point, Then, Victim},
    storages::States,
    town::{SOON, Town},
};
use crate::system::site::{json, text};

/// The backup that a run after the dead one makes.
const NEXT: &str = "0003";

/// A point with the ground that it is played on.
type Placed<'a> = (&'a Ground, &'a Point);

/// Starts the victim again: the run goes on as if nothing had happened.
pub fn restart(
    (ground, point): Placed<'_>,
    town: &mut Town,
    mut call: Daemon,
    (killed, numbers): (Instant, &mut Numbers),
) -> Aftermath {
    let (victim, id) = (point.victim, point.phase.id());
    let aftermath = Aftermath::of(&town.server, id, point.then);
    town.server.release();
    town.start(victim);
    let code = wait_until("the run to go on", SOON, || {
        if numbers.resumed.is_none() && aftermath.has_written_since(&town.server, victim.who()) {
            numbers.resumed = Some(killed.elapsed());
        }
        call.ended().ok_or_else(|| format!("{}\n{}", call.lines().join("\n"), town.said()))
    });
    numbers.ended = Some(killed.elapsed());
    let lines = || format!("{}\n{}", call.lines().join("\n"), town.said());
    if victim == Victim::Coordinator && !aftermath.claimed {
        // It had not begun, so there is nothing to go on with, which has to be said soon.
        assert_eq!(code, 14, "{}", lines());
        call.wait_for_line("knows of no such run", SOON);
        town.create(victim, id).run().expect_success();
    } else {
        assert_eq!(code, 0, "{}", lines());
        assert_says_complete(&call, id);
    }
    town.assert_no_complaints(&["agent lost, trying again"]);
    let mut expected = vec![id.to_owned()];
    if point.phase == Phase::Increment {
        expected.push(Phase::Full.id().to_owned());
    }
    assert_eq!(town.listed(victim), expected);
    assert_nothing_unfinished(town);
    assert_all_restore((ground, point), town, &expected, None);
    aftermath
}

#[track_caller]
fn assert_says_complete(call: &Daemon, id: &str) {
    // What it printed last may still be on its way to us.
    let summary: serde_json::Value = wait_until("a summary as JSON", SOON, || {
        let printed = call.stdout_lines().join("\n");
        serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))
    });
    assert_eq!([text(&summary["backup_id"]), text(&summary["state"])], [id, "complete"], "{summary:#}");
    assert_eq!(summary["repositories"]["failed"], 0, "{summary:#}");
}

/// Kills everything else too, and makes another backup with daemons that have nothing to do with the dead ones.
pub fn another((ground, point): Placed<'_>, town: &mut Town, mut call: Daemon) -> Aftermath {
    let (victim, id) = (point.victim, point.phase.id());
    town.kill_all();
    call.kill_if_alive();
    let aftermath = Aftermath::of(&town.server, id, point.then);
    town.server.release();
    if victim != Victim::Embedded {
        town.start_all();
    }
    assert_eq!(town.listed(victim), aftermath.committed, "what is listed is not what was committed");
    let was_committed = aftermath.committed.iter().any(|committed| committed == id);
    if victim != Victim::Embedded && aftermath.claimed && !was_committed {
        let status = json(&town.ask(["status", "--json"]).run().expect_success());
        assert_eq!(text(&status["unfinished"][0]["backup_id"]), id, "{status:#}");
    }
    let moved = (point.then == Then::Moved).then(|| town.move_on());
    let output = town.create(victim, NEXT).run().expect_success();
    assert_eq!(text(&json(&output)["state"]), "complete", "{output:#?}");
    town.assert_no_complaints(&[]);
    let expected: Vec<String> = [NEXT.to_owned()].into_iter().chain(aftermath.committed.clone()).collect();
    assert_eq!(town.listed(victim), expected);
    assert_all_restore((ground, point), town, &expected, moved.as_ref());
    aftermath
}

/// Restores every backup that there is; the one after the kill may be of what has changed since.
fn assert_all_restore(
    (ground, point): Placed<'_>,
    town: &Town,
    committed: &[String],
    newest: Option<&States>,
) {
    for id in committed {
        let is_first = id == Phase::Full.id();
        let phase = if is_first { Phase::Full } else { point.phase };
        let states = newest.filter(|_| id == NEXT).unwrap_or_else(|| ground.storages.states(phase));
        town.assert_restores(id, states);
    }
}

fn assert_nothing_unfinished(town: &Town) {
    let status = json(&town.ask(["status", "--json"]).run().expect_success());
    assert_eq!(status["unfinished"].as_array().map(Vec::len), Some(0), "{status:#}");
}
