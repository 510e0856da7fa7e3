//! Which points of a scene, a phase and a victim are played: a sample, one by name, or with `PACKHORSE_LONG` all.
//!
//! Does not own: samples (`suite`), or playing a point (`play`). What is named has to be met. Points that count requests
//! may miss them, because orders differ and a run may have fewer requests than the reference; but only a few of many.
//! All points are played before any failure is told.

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

/// Plays this sample, or what the environment asks for instead.
pub fn suite(scene: Scene, phase: Phase, victim: Victim, sample: &[&str]) {
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
