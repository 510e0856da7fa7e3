//! An agent that dies after it has written a segment of its catalogue, which a run as small as those of the matrix does
//! not come to.
//!
//! Does not own: what is in a segment (`packhorse_vault`). Only the parts of the large upload are held, so the repositories
//! before it in the storage wait in vain for the catalogue, and go into a segment meanwhile.

use packhorse_testkit::{Operation, When, wait_until};

use super::{
    aftermath::{Aftermath, assert_latest_is_newest},
    ground::Ground,
    point::{Phase, Scene, Then, Victim},
    spot::Spot,
    town::SOON,
};

#[test]
fn an_agent_goes_on_from_the_segments_of_its_last_life() {
    let (phase, victim) = (Phase::Full, Victim::Agent);
    let ground = Ground::new(Scene::Plain, phase, victim);
    let mut town = ground.town(phase);
    town.start_all();
    let (number, filter) = Spot::Kind("part".to_owned(), 1).filter(victim);
    town.server.stop_at_where(number, When::Before, filter);
    let mut call = town.create(victim, phase.id()).spawn();
    town.server.wait_until_held(SOON);
    wait_until("a segment", SOON, || {
        let keys = town.server.keys();
        let found = keys.iter().any(|key| key.contains("/segments/one/"));
        if found { Ok(()) } else { Err(format!("{keys:#?}")) }
    });

    town.kill(victim);
    let aftermath = Aftermath::of(&town.server, phase.id(), Then::Restart);
    town.server.release();
    let before = town.server.log().len();
    town.start(victim);
    assert_eq!(call.wait(SOON), 0, "{}\n{}", call.lines().join("\n"), town.said());
    aftermath.assert_nothing_again(&town.server);
    assert_latest_is_newest(&town.server);
    let log = town.server.log();
    let has_read = |key: &str| {
        log[before..].iter().any(|request| request.operation == Operation::Get && request.key.contains(key))
    };
    assert!(has_read("/segments/one/"), "the segment was not read");
    assert!(!has_read("manifests/one/hooked.git/0001.toml"), "what the segment lists was asked for again");
    assert!(has_read("manifests/one/team/app.git/0001.toml"), "what no segment lists is found by its name");
    assert_eq!(town.listed(victim), [phase.id()]);
    town.assert_restores(phase.id(), ground.storages.states(phase));
}
