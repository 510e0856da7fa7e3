//! The points: a sample of each scene, phase and victim, or with `PACKHORSE_LONG` all of them.
//!
//! Does not own: playing them (`play`). `PACKHORSE_CRASH=full:agent:17:before:next` plays a single one, which is what a
//! point that fails is printed as. The sample names requests by what they are for, so that it stays the same when there
//! are more of them, and each has to be met; the long suite counts them, and plays all points before it fails. Orders
//! differ, so a run may have fewer requests than the reference, and a few of the highest numbers may meet nothing.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

use packhorse_testkit::{When, skipped};

use super::{
    ground::Ground,
    play::play,
    point::{Phase, Point, Scene, Then, Victim, ground_name},
    spot::Spot,
    tally::Tally,
};

/// Of so many numbered points one may meet nothing.
const RARE: usize = 20;

fn suite(scene: Scene, phase: Phase, victim: Victim, sample: &[&str]) {
    let points: Vec<Point> = match env::var("PACKHORSE_CRASH") {
        Ok(text) => {
            let point: Point = text.parse().expect("PACKHORSE_CRASH names a point");
            if (point.scene, point.phase, point.victim) != (scene, phase, victim) {
                skipped("PACKHORSE_CRASH belongs to another test");
                return;
            }
            vec![point]
        }
        Err(_) if env::var_os("PACKHORSE_LONG").is_some() => {
            let ground = Ground::new(scene, phase, victim);
            let points = all(&ground, scene, phase, victim);
            return play_all(&ground, &points, (points.len() / RARE).max(1));
        }
        Err(_) => sample.iter().map(|text| of_sample(scene, phase, victim, text)).collect(),
    };
    play_all(&Ground::new(scene, phase, victim), &points, 0);
}

fn of_sample(scene: Scene, phase: Phase, victim: Victim, text: &str) -> Point {
    let ground = ground_name(scene, phase);
    format!("{ground}:{}:{text}", victim.who()).parse().expect("the sample names points")
}

fn all(ground: &Ground, scene: Scene, phase: Phase, victim: Victim) -> Vec<Point> {
    let thens: &[Then] = match victim {
        // Its run has nobody who could go on with it: it dies with the call, and another call is another run.
        Victim::Embedded => &[Then::Next, Then::Moved],
        Victim::Agent | Victim::Coordinator => &[Then::Restart, Then::Next, Then::Moved],
    };
    let mut points = Vec::new();
    for number in 1..=ground.requests {
        for when in [When::Before, When::AfterApply] {
            // Every third one meets repositories that have moved on.
            let thens = thens.iter().filter(|then| **then != Then::Moved || number % 3 == 0);
            let spot = Spot::Number(number);
            points.extend(thens.map(|then| Point {
                scene,
                phase,
                victim,
                spot: spot.clone(),
                when,
                then: *then,
            }));
        }
    }
    points
}

/// Plays points, of which so many may meet no request.
fn play_all(ground: &Ground, points: &[Point], leeway: usize) {
    let (mut tally, mut failed, mut unreached) = (Tally::default(), Vec::new(), Vec::new());
    for point in points {
        match catch_unwind(AssertUnwindSafe(|| play(ground, point))) {
            Ok(played) => {
                match &played.held {
                    Some(held) => eprintln!("{point}: {held}"),
                    None => unreached.push(point.to_string()),
                }
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
    let (missed, of) = (unreached.len(), points.len());
    assert!(missed <= leeway, "{missed} of {of} points met no request, not at most {leeway}: {unreached:#?}");
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
    suite(Scene::Plain, Phase::Full, Victim::Agent, &sample);
}

#[test]
fn a_coordinator_dies_in_a_full_run() {
    let sample = [
        "1:before:restart",
        "format-1:after:next",
        "claim-1:before:restart",
        "claim-1:after:restart",
        "archive-1:after:restart",
        "directory-1:after:next",
        "report-1:before:restart",
        "record-1:after:restart",
    ];
    suite(Scene::Plain, Phase::Full, Victim::Coordinator, &sample);
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
    suite(Scene::Plain, Phase::Increment, Victim::Agent, &sample);
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
    suite(Scene::Plain, Phase::Increment, Victim::Coordinator, &sample);
}

#[test]
fn a_backupctl_for_itself_dies_in_a_full_run() {
    suite(Scene::Plain, Phase::Full, Victim::Embedded, &["manifest-3:after:next", "report-1:after:moved"]);
}

#[test]
fn a_backupctl_for_itself_dies_in_an_increment() {
    suite(
        Scene::Plain,
        Phase::Increment,
        Victim::Embedded,
        &["complete-1:after:moved", "record-1:before:next"],
    );
}

/// The snapshots of all databases belong together: either all dumps of a life are taken, or all are made again.
#[test]
fn a_coordinator_dies_beside_a_postgres_database_in_a_full_run() {
    let sample = [
        "dump-1:before:restart",
        "dump-1:after:restart",
        "databases-1:before:next",
        "databases-1:after:restart",
        "complete-1:before:restart",
        "complete-1:after:next",
        "directory-1:before:restart",
        "directory-1:after:restart",
    ];
    suite(Scene::Database, Phase::Full, Victim::Coordinator, &sample);
}

#[test]
fn a_coordinator_dies_beside_a_postgres_database_in_an_increment() {
    let sample = [
        "dump-1:before:moved",
        "dump-1:after:next",
        "databases-1:before:restart",
        "databases-1:after:moved",
        "part-1:after:restart",
        "complete-1:after:restart",
        "directory-1:before:moved",
        "directory-1:after:next",
    ];
    suite(Scene::Database, Phase::Increment, Victim::Coordinator, &sample);
}
