//! Plays a point: the run, the kill, and what is right after everything that happens then.
//!
//! Does not own: who chooses points (`suite`), or what happens after the kill (`sequel`). Bytes are counted by the store,
//! and limits hold for every point alike.

use std::time::{Duration, Instant};

use packhorse_testkit::{Daemon, LoggedRequest, When, wait_until};

use super::{
    aftermath::{Aftermath, assert_latest_is_newest},
    ground::Ground,
    point::{Point, Then, Victim},
    sequel::{another, restart},
    storages::MOVED,
    town::{SOON, Town},
};

/// What a run may send beyond 1.2 times of what was unfinished: manifests that name a longer chain, and a journal that
/// names the run that died.
const ALLOWANCE: u64 = 16 << 10;

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
    /// Time from the kill to the next write of the process that was killed.
    pub resumed: Option<Duration>,
    /// Time from the kill to the end of the run.
    pub ended: Option<Duration>,
    /// Bytes of the run that were not durable at the kill.
    pub unfinished: u64,
    /// Bytes that were sent after it.
    pub sent: u64,
    /// Whether there was more to send than was unfinished.
    pub moved: bool,
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
    let held = wait_until_held_or_over(&town, &mut call);
    let says_nothing = |held: &LoggedRequest| point.when == When::AfterApply && !held.operation.writes();
    // A read changes nothing, so both of its sides are the same; and another order may have fewer requests.
    if held.as_ref().is_none_or(says_nothing) {
        call.kill_if_alive();
        return Played { held, numbers: None };
    }
    let killed = Instant::now();
    match point.victim {
        Victim::Embedded => call.kill(),
        daemon => town.kill(daemon),
    }
    let mut numbers = Numbers { moved: point.then == Then::Moved, ..Numbers::default() };
    let aftermath = match point.then {
        Then::Restart => restart((ground, point), &mut town, call, (killed, &mut numbers)),
        Then::Next | Then::Moved => another((ground, point), &mut town, call),
    };
    numbers.uploads = aftermath.uploads.len();
    numbers.unfinished = ground.bytes.saturating_sub(aftermath.durable);
    numbers.sent = aftermath.sent_since(&town.server);
    assert_little_is_sent_again(&numbers, &aftermath, &town);
    aftermath.assert_no_more_uploads(&town.server);
    assert_latest_is_newest(&town.server);
    Played { held, numbers: Some(numbers) }
}

fn wait_until_held_or_over(town: &Town, call: &mut Daemon) -> Option<LoggedRequest> {
    wait_until("a held request, or the end of the run", SOON, || match (town.server.held(), call.ended()) {
        (Some(held), _) => Ok(Some(held)),
        (None, Some(code)) => {
            assert_eq!(code, 0, "{}\n{}", call.lines().join("\n"), town.said());
            Ok(None)
        }
        (None, None) => Err(format!("after {} requests\n{}", town.server.requests(), town.said())),
    })
}

/// Panics when more was sent than was unfinished, but for a little.
#[track_caller]
fn assert_little_is_sent_again(numbers: &Numbers, aftermath: &Aftermath, town: &Town) {
    let Numbers { sent, unfinished, moved, .. } = numbers;
    if *moved {
        // What changed is sent besides, and is in no reference.
        return aftermath.assert_nothing_again(&town.server, &MOVED);
    }
    assert!(
        *sent <= unfinished * 12 / 10 + ALLOWANCE,
        "{sent} bytes were sent although only {unfinished} were unfinished"
    );
    aftermath.assert_nothing_again(&town.server, &[]);
}
