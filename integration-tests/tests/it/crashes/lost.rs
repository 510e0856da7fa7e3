//! A coordinator that goes on with a run of which the store has meanwhile lost something.
//!
//! Does not own: repositories (the agent's `backup::adopt`). A dump or archive can be made again; a report cannot be
//! written again, so a run whose report names what is lost commits nothing.

use packhorse_testkit::{Daemon, When};

use super::{
    ground::Ground,
    point::{Phase, Scene, Victim},
    spot::Spot,
    town::{SOON, Town},
};
use crate::system::site::{json, text};

const PHASE: Phase = Phase::Full;
const VICTIM: Victim = Victim::Coordinator;

/// A run whose coordinator was killed just before a request of this kind, and has lost these objects since.
fn killed_before(ground: &Ground, kind: &str, lost: &str) -> (Town, Daemon) {
    let mut town = ground.town(PHASE);
    town.start_all();
    let (number, filter) = Spot::Kind(kind.to_owned(), 1).filter(VICTIM);
    town.server.stop_at_where(number, When::Before, filter);
    let call = town.create(VICTIM, PHASE.id()).spawn();
    town.server.wait_until_held(SOON);
    town.kill(VICTIM);
    let keys = town.server.keys();
    let key = keys.iter().find(|key| key.contains(lost)).unwrap_or_else(|| panic!("no {lost}: {keys:#?}"));
    town.server.remove_object(key);
    town.server.release();
    town.start(VICTIM);
    (town, call)
}

#[test]
fn an_archive_that_is_noted_and_lost_is_made_again() {
    let ground = Ground::new(Scene::Plain, PHASE, VICTIM);
    let (town, mut call) = killed_before(&ground, "report", "/blobs.tar.gz");
    assert_eq!(call.wait(SOON), 0, "{}\n{}", call.lines().join("\n"), town.said());
    let archives = town.server.keys().into_iter().filter(|key| key.ends_with(".tar.gz"));
    let archives: Vec<String> = archives.collect();
    assert!(matches!(&archives[..], [one] if one.contains("/blobs+")), "{archives:?}");
    town.assert_restores(PHASE.id(), ground.storages.states(PHASE));
}

#[test]
fn a_report_that_names_what_is_lost_is_not_committed() {
    let ground = Ground::new(Scene::Plain, PHASE, VICTIM);
    for lost in ["/blobs.tar.gz", "/repositories/one.jsonl.zst"] {
        let (town, mut call) = killed_before(&ground, "marker", lost);
        assert_eq!(call.wait(SOON), 4, "{}\n{}", call.lines().join("\n"), town.said());
        let said = call.lines().join("\n");
        assert!(said.contains("is missing") && said.contains(lost), "{said}");
        assert!(town.listed(VICTIM).is_empty());
        // The next run is not held up by that one.
        let summary = json(&town.create(VICTIM, "0009").run().expect_success());
        assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
        town.assert_restores("0009", ground.storages.states(PHASE));
    }
}
