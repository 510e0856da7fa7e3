//! The points: a sample of each phase and victim, or with `PACKHORSE_LONG` all of them.
//!
//! Does not own: playing them (`play`). `PACKHORSE_CRASH=full:agent:17:before:next` plays a single one, which is what a
//! point that fails is printed as. The sample names requests by what they are for, so that it stays the same when there
//! are more of them; the long suite counts them, and plays all points before it fails.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

use packhorse_testkit::When;

use super::{
    forge::Forge,
    ground::Ground,
    play::play,
    point::{Phase, Point, Spot, Then, Victim},
    tally::Tally,
};

fn suite(phase: Phase, victim: Victim, sample: &[&str]) {
    let points = match env::var("PACKHORSE_CRASH") {
        Ok(text) => {
            let point: Point = text.parse().expect("PACKHORSE_CRASH names a point");
            if (point.phase, point.victim) != (phase, victim) {
                eprintln!("PACKHORSE_CRASH belongs to another test");
                return;
            }
            Some(vec![point])
        }
        Err(_) if env::var_os("PACKHORSE_LONG").is_some() => None,
        Err(_) => Some(sample.iter().map(|text| of_sample(phase, victim, text)).collect()),
    };
    let ground = Ground::new(phase, victim);
    let points = points.unwrap_or_else(|| all(&ground, phase, victim));
    play_all(&ground, &points);
}

fn of_sample(phase: Phase, victim: Victim, text: &str) -> Point {
    let phase = if phase == Phase::Full { "full" } else { "increment" };
    format!("{phase}:{}:{text}", victim.who()).parse().expect("the sample names points")
}

fn all(ground: &Ground, phase: Phase, victim: Victim) -> Vec<Point> {
    let thens: &[Then] =
        if victim == Victim::Embedded { &[Then::Next] } else { &[Then::Restart, Then::Next, Then::Moved] };
    let mut points = Vec::new();
    for number in 1..=ground.requests {
        for when in [When::Before, When::AfterApply] {
            // Every third one meets repositories that have moved on.
            let thens = thens.iter().filter(|then| **then != Then::Moved || number % 3 == 0);
            points.extend(thens.map(|then| Point {
                phase,
                victim,
                spot: Spot::Number(number),
                when,
                then: *then,
            }));
        }
    }
    points
}

fn play_all(ground: &Ground, points: &[Point]) {
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for point in points {
        match catch_unwind(AssertUnwindSafe(|| play(ground, point))) {
            Ok(played) => {
                let held = played.held.as_ref().map_or("not reached".to_owned(), ToString::to_string);
                eprintln!("{point}: {held}");
                tally.add(&played);
            }
            Err(_) => {
                eprintln!("{point} failed: play it again with PACKHORSE_CRASH={point}");
                failed.push(point.to_string());
            }
        }
    }
    eprintln!("{} requests, {} bytes in the reference: {tally}", ground.requests, ground.bytes);
    assert!(failed.is_empty(), "{} of {} points failed: {failed:#?}", failed.len(), points.len());
}

#[test]
fn an_agent_dies_in_a_full_run() {
    let sample = [
        "1:before:restart",
        "bundle-2:after:next",
        "part-1:after:restart",
        "complete-1:after:next",
        "manifest-3:after:restart",
        "manifest-6:after:moved",
        "latest-2:before:next",
        "catalogue-1:after:restart",
    ];
    suite(Phase::Full, Victim::Agent, &sample);
}

#[test]
fn a_coordinator_dies_in_a_full_run() {
    let sample = [
        "1:before:restart",
        "format-1:after:next",
        "claim-1:before:restart",
        "claim-1:after:restart",
        "archive-1:after:restart",
        "done-1:after:next",
        "report-1:before:restart",
        "record-1:after:restart",
    ];
    suite(Phase::Full, Victim::Coordinator, &sample);
}

#[test]
fn an_agent_dies_in_an_increment() {
    let sample = [
        "3:before:next",
        "begin-1:after:restart",
        "complete-1:before:moved",
        "hooks-1:after:next",
        "manifest-2:before:restart",
        "manifest-4:after:next",
        "catalogue-2:before:restart",
    ];
    suite(Phase::Increment, Victim::Agent, &sample);
}

#[test]
fn a_coordinator_dies_in_an_increment() {
    let sample = [
        "claim-1:after:next",
        "archive-1:before:restart",
        "report-1:after:restart",
        "marker-1:before:next",
        "record-1:before:restart",
        "record-1:before:moved",
        "record-1:after:next",
    ];
    suite(Phase::Increment, Victim::Coordinator, &sample);
}

#[test]
fn a_backupctl_for_itself_dies_in_a_full_run() {
    suite(Phase::Full, Victim::Embedded, &["manifest-3:after:next", "report-1:after:next"]);
}

#[test]
fn a_backupctl_for_itself_dies_in_an_increment() {
    suite(Phase::Increment, Victim::Embedded, &["complete-1:after:next", "record-1:before:next"]);
}

/// The snapshots of all databases belong together: either all dumps of a life are taken, or all are made again.
#[test]
fn a_coordinator_dies_beside_a_postgres_dump() {
    let ground = Ground::with(Phase::Full, Victim::Coordinator, Some(Forge::start()));
    let sample =
        ["dump-1:before:restart", "dump-1:after:restart", "done-2:after:restart", "dump-1:after:next"];
    let points = sample.map(|text| of_sample(Phase::Full, Victim::Coordinator, text));
    play_all(&ground, &points);
}
