//! An agent that dies after it has written a segment of its catalogue, which a run as small as those of the matrix does
//! not come to.
//!
//! Does not own: what is in a segment (`packhorse_vault`). Only the parts of the large upload are held, so the repositories
//! before it in the storage wait in vain for the catalogue, and go into a segment meanwhile.

use packhorse_testkit::{Daemon, Operation, When, wait_until};

use super::{
    aftermath::{Aftermath, assert_latest_is_newest},
    ground::Ground,
    point::{Phase, Scene, Then, Victim},
    spot::Spot,
    town::{SOON, Town},
};

const PHASE: Phase = Phase::Full;
const VICTIM: Victim = Victim::Agent;

/// A run that is held after a segment was written, before the storage's last repository.
fn held(ground: &Ground) -> (Town, Daemon) {
    let mut town = ground.town(PHASE);
    town.start_all();
    let (number, filter) = Spot::Kind("part".to_owned(), 1).filter(VICTIM);
    town.server.stop_at_where(number, When::Before, filter);
    let call = town.create(VICTIM, PHASE.id()).spawn();
    town.server.wait_until_held(SOON);
    wait_until("a segment", SOON, || {
        let keys = town.server.keys();
        let found = keys.iter().any(|key| key.contains("/segments/one/"));
        if found { Ok(()) } else { Err(format!("{keys:#?}")) }
    });
    (town, call)
}

/// What the segment lists is known by it, and asked for; what no segment lists is found by its name.
#[track_caller]
fn assert_segments_were_read(town: &Town, before: usize) {
    let log = town.server.log();
    let has = |operation: Operation, key: &str| {
        log[before..].iter().any(|request| request.operation == operation && request.key.contains(key))
    };
    let has_read = |key: &str| has(Operation::Get, key);
    assert!(has_read("/segments/one/"), "the segment was not read");
    let is_asked_for = has(Operation::Head, "v/one/hooked.git/0001/001.bundle");
    assert!(is_asked_for, "what the segment lists was taken over unseen");
    assert!(has_read("manifests/one/team/app.git/0001.toml"), "what no segment lists is found by its name");
}

#[test]
fn an_agent_goes_on_from_the_segments_of_its_last_life() {
    let ground = Ground::new(Scene::Plain, PHASE, VICTIM);
    let (mut town, mut call) = held(&ground);
    town.kill(VICTIM);
    let aftermath = Aftermath::of(&town.server, PHASE.id(), Then::Restart);
    town.server.release();
    let before = town.server.log().len();
    town.start(VICTIM);
    assert_eq!(call.wait(SOON), 0, "{}\n{}", call.lines().join("\n"), town.said());
    aftermath.assert_nothing_again(&town.server, &[]);
    assert_latest_is_newest(&town.server);
    assert_segments_were_read(&town, before);
    assert_eq!(town.listed(VICTIM), [PHASE.id()]);
    town.assert_restores(PHASE.id(), ground.storages.states(PHASE));
}

#[test]
fn another_run_goes_on_from_the_segments_of_a_dead_one() {
    let ground = Ground::new(Scene::Plain, PHASE, VICTIM);
    let (mut town, mut call) = held(&ground);
    call.kill();
    town.kill_all();
    let aftermath = Aftermath::of(&town.server, PHASE.id(), Then::Next);
    town.server.release();
    let before = town.server.log().len();
    // Nobody else than a `backupctl` for itself, which resumes nothing.
    town.alone("ctl", "embedded.toml", ["create", "--backup-id", "0009"]).run().expect_success();
    aftermath.assert_nothing_again(&town.server, &[]);
    assert_latest_is_newest(&town.server);
    assert_segments_were_read(&town, before);
    assert_eq!(town.listed(Victim::Embedded), ["0009"]);
    town.assert_restores("0009", ground.storages.states(PHASE));
}
