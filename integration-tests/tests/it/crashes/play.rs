//! Plays a point: the run, the kill, and what happens then, with everything that has to be right.
//!
//! Does not own: who chooses points (`suite`). Whatever was committed before the kill has to be listed and to come back
//! exactly, whether the run goes on or another one comes after it.

use std::time::{Duration, Instant};

use packhorse_testkit::{Daemon, LoggedRequest, When, wait_until};

use super::{
    aftermath::{Aftermath, assert_latest_is_newest},
    ground::Ground,
    point::{Phase, Point, Then, Victim},
    storages::{States, change_once_more},
    town::{SOON, Town},
};
use crate::system::site::{json, text};

/// What a run may send beyond 1.2 times of what was unfinished: manifests that name a longer chain, and a journal that
/// names the run that died.
const ALLOWANCE: u64 = 16 << 10;
/// The backup that a run after the dead one makes.
const NEXT: &str = "0003";

/// What came of a point.
pub struct Played {
    /// The request at which the victim died.
    pub held: Option<LoggedRequest>,
    /// What was measured; nothing of a point that is the same as another one.
    pub numbers: Option<Numbers>,
}

/// What was measured at a point.
#[derive(Default)]
pub struct Numbers {
    /// Time from the restart to the next write of the process that was killed.
    pub resumed: Option<Duration>,
    /// Time from the restart to the end of the run.
    pub ended: Option<Duration>,
    /// Bytes of the run that were not durable at the kill.
    pub unfinished: u64,
    /// Bytes that were sent after it.
    pub sent: u64,
    /// Uploads that were open at the kill.
    pub uploads: usize,
}

/// Plays one point to its end.
pub fn play(ground: &Ground, point: &Point) -> Played {
    let mut town = ground.town(point.phase);
    if point.victim != Victim::Embedded {
        town.start_all();
    }
    let (number, filter) = point.spot.filter(point.victim);
    town.server.stop_at_where(number, point.when, filter);
    let mut call = town.create(point.victim, point.phase.id()).spawn();
    let held = wait_until("a held request, or the end of the run", SOON, || {
        match (town.server.held(), call.ended()) {
            (Some(held), _) => Ok(Some(held)),
            (None, Some(code)) => {
                assert_eq!(code, 0, "{}\n{}", call.lines().join("\n"), town.said());
                Ok(None)
            }
            (None, None) => Err(format!("after {} requests\n{}", town.server.requests(), town.said())),
        }
    });
    let says_nothing = |held: &LoggedRequest| point.when == When::AfterApply && !held.operation.writes();
    // A read changes nothing, so both of its sides are the same; and another order may have fewer requests.
    if held.as_ref().is_none_or(says_nothing) {
        call.kill_if_alive();
        return Played { held, numbers: None };
    }
    match point.victim {
        Victim::Embedded => call.kill(),
        daemon => town.kill(daemon),
    }
    let mut numbers = Numbers::default();
    let aftermath = match point.then {
        Then::Restart => restart(ground, point, &mut town, call, &mut numbers),
        Then::Next | Then::Moved => another(ground, point, &mut town, call),
    };
    numbers.uploads = aftermath.uploads.len();
    numbers.unfinished = ground.bytes.saturating_sub(aftermath.durable);
    numbers.sent = aftermath.sent_since(&town.server);
    if point.then != Then::Moved {
        let most = numbers.unfinished * 12 / 10 + ALLOWANCE;
        let Numbers { sent, unfinished, .. } = numbers;
        assert!(sent <= most, "{sent} bytes were sent although only {unfinished} were unfinished");
        aftermath.assert_nothing_again(&town.server);
    }
    aftermath.assert_no_more_uploads(&town.server);
    assert_latest_is_newest(&town.server);
    Played { held, numbers: Some(numbers) }
}

/// Starts the victim again: the run goes on as if nothing had happened.
fn restart(
    ground: &Ground,
    point: &Point,
    town: &mut Town,
    mut call: Daemon,
    numbers: &mut Numbers,
) -> Aftermath {
    let (victim, id) = (point.victim, point.phase.id());
    let aftermath = Aftermath::of(&town.server, id);
    town.server.release();
    let begun = Instant::now();
    town.start(victim);
    let code = wait_until("the run to go on", SOON, || {
        if numbers.resumed.is_none() && aftermath.has_written_since(&town.server, victim.who()) {
            numbers.resumed = Some(begun.elapsed());
        }
        call.ended().ok_or_else(|| format!("{}\n{}", call.lines().join("\n"), town.said()))
    });
    numbers.ended = Some(begun.elapsed());
    let lines = || format!("{}\n{}", call.lines().join("\n"), town.said());
    if victim == Victim::Coordinator && !aftermath.claimed {
        // It had not begun, so there is nothing to go on with, which has to be said soon.
        assert_eq!(code, 14, "{}", lines());
        call.wait_for_line("knows of no such run", SOON);
        town.create(victim, id).run().expect_success();
    } else {
        assert_eq!(code, 0, "{}", lines());
        // What it printed last may still be on its way to us.
        let summary: serde_json::Value = wait_until("a summary as JSON", SOON, || {
            let printed = call.stdout_lines().join("\n");
            serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))
        });
        assert_eq!([text(&summary["backup_id"]), text(&summary["state"])], [id, "complete"], "{summary:#}");
        assert_eq!(summary["repositories"]["failed"], 0, "{summary:#}");
    }
    town.assert_no_complaints(&["agent lost, trying again"]);
    let mut expected = vec![id.to_owned()];
    if point.phase == Phase::Increment {
        expected.push(Phase::Full.id().to_owned());
    }
    assert_eq!(town.listed(victim), expected);
    assert_nothing_unfinished(town);
    assert_newest_restore(ground, point, town, &expected, None);
    aftermath
}

/// Kills everything else too, and makes another backup with daemons that have nothing to do with the dead ones.
fn another(ground: &Ground, point: &Point, town: &mut Town, mut call: Daemon) -> Aftermath {
    let (victim, id) = (point.victim, point.phase.id());
    town.kill_all();
    call.kill_if_alive();
    let aftermath = Aftermath::of(&town.server, id);
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
    let moved = (point.then == Then::Moved).then(|| {
        change_once_more(&town.site.path(""));
        States::of(&town.site.path(""))
    });
    let output = town.create(victim, NEXT).run().expect_success();
    assert_eq!(text(&json(&output)["state"]), "complete", "{output:#?}");
    town.assert_no_complaints(&[]);
    let expected: Vec<String> = [NEXT.to_owned()].into_iter().chain(aftermath.committed.clone()).collect();
    assert_eq!(town.listed(victim), expected);
    assert_newest_restore(ground, point, town, &expected, moved.as_ref());
    aftermath
}

/// Restores the newest backup and the one before it.
fn assert_newest_restore(
    ground: &Ground,
    point: &Point,
    town: &Town,
    committed: &[String],
    newest: Option<&States>,
) {
    for id in committed.iter().take(2) {
        let is_first = id == Phase::Full.id();
        let phase = if is_first { Phase::Full } else { point.phase };
        let states = newest.filter(|_| id == NEXT).unwrap_or_else(|| ground.storages.states(phase));
        town.assert_restores(id, states);
        if let Some(forge) = &ground.forge {
            forge.assert_restores(town, id);
        }
    }
}

fn assert_nothing_unfinished(town: &Town) {
    let status = json(&town.ask(["status", "--json"]).run().expect_success());
    assert_eq!(status["unfinished"].as_array().map(Vec::len), Some(0), "{status:#}");
}
