//! Which runs a coordinator goes on with when it starts again, and what becomes of the others.
//!
//! Does not own: how a resumed run comes to its end (`lives`). A run that is given up says so in its journal and to
//! whoever waits for it, and what it stored is used by the next one.

use packhorse_testkit::{Binary, Daemon};
use serde_json::Value;

use super::{
    super::site::{json, listed, text},
    Fleet, SOON, STORAGES,
};

/// A fleet with a backup, and a run of which only the journal is left: the coordinator was killed in the middle.
fn left(fleet: Fleet) -> (Fleet, Daemon) {
    let mut fleet = fleet;
    fleet.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    fleet.change();
    fleet.gate.close();
    let run = fleet.ctl(["create", "--json", "--backup-id", "0002"]).spawn();
    fleet.gate.wait_until_reached();
    fleet.coordinator().kill();
    (fleet, run)
}

/// Starts the coordinator, and says whether it goes on with a run.
fn comes_back(fleet: &mut Fleet) -> bool {
    let coordinator = fleet.daemon(Binary::Coordinator, "coordinator", "looked for runs to resume");
    let resumes = coordinator.lines().iter().any(|line| line.contains("resuming run"));
    fleet.coordinator = Some(coordinator);
    resumes
}

fn printed(run: &Daemon) -> Value {
    serde_json::from_str(&run.stdout_lines().join("\n")).expect("one object as JSON")
}

/// The caller is told that nobody goes on with it, and the journal says why.
#[track_caller]
fn assert_given_up(fleet: &Fleet, run: &mut Daemon) {
    assert_eq!(run.wait(SOON), 14, "{:#?}", run.lines());
    let error = &printed(run)["error"];
    assert!(text(&error["answer"]).contains("knows of no such run"), "{error:#}");
    let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
    let given_up = &status["unfinished"][0];
    assert_eq!((text(&given_up["backup_id"]), &given_up["here"]), ("0002".into(), &false.into()));
    assert_eq!(text(&given_up["end"]["kind"]), "cancelled", "{status:#}");
    let answer = text(&given_up["end"]["answer"]);
    assert_eq!(answer, "it is too old, or a newer run takes its place", "{status:#}");
}

#[test]
fn a_run_that_is_too_old_is_given_up_and_the_next_one_uses_what_it_stored() {
    let (mut fleet, mut run) = left(Fleet::start());
    fleet.gate.open();
    fleet.wait_for_ends(4);
    let config = std::fs::read_to_string(fleet.site.path("coordinator.toml")).expect("configuration");
    let config = config.replace("grace = '1s'", "grace = '1s'\nresume_within = '0s'");
    fleet.site.write("coordinator.toml", &config);
    assert!(!comes_back(&mut fleet), "it was resumed");
    assert_given_up(&fleet, &mut run);
    let states = fleet.states();
    fleet.ctl(["create", "--backup-id", "0003"]).run().expect_success();
    for [storage, _] in STORAGES {
        let repo = fleet.site.path("vault").join(storage).join("app.git");
        assert!(repo.join("0002").exists() && !repo.join("0003").exists(), "{storage} was sent again");
    }
    assert_eq!(listed(fleet.ctl([])), ["0003", "0001"]);
    fleet.assert_restores("0003", &states);
    fleet.stop(&[]);
}

/// Makes a backup of these storages by a `backupctl` for itself, with no agent and no coordinator.
fn back_up_meanwhile(fleet: &Fleet, storages: &[&str]) {
    let sections: String = storages.iter().map(|name| fleet.site.storage_section(name, name)).collect();
    let vault = format!("[vault]\nurl = '{}'\n", fleet.site.vault_url());
    fleet.site.write("embedded.toml", &(vault + &sections));
    // It names the storages of the last backup that it does not have.
    let code = if storages.len() == STORAGES.as_flattened().len() { 0 } else { 3 };
    fleet.site.ctl("embedded.toml", ["create", "--backup-id", "0003"]).run().expect_code(code);
}

#[test]
fn a_run_whose_storages_a_newer_backup_holds_is_given_up() {
    let (mut fleet, mut run) = left(Fleet::start());
    let states = fleet.states();
    back_up_meanwhile(&fleet, STORAGES.as_flattened());
    assert!(!comes_back(&mut fleet), "it was resumed");
    assert_given_up(&fleet, &mut run);
    fleet.gate.open();
    assert_eq!(listed(fleet.ctl([])), ["0003", "0001"]);
    fleet.assert_restores("0003", &states);
    fleet.stop(&[]);
}

#[test]
fn a_run_of_which_a_newer_backup_lacks_a_storage_is_resumed() {
    let (mut fleet, mut run) = left(Fleet::start());
    let states = fleet.states();
    back_up_meanwhile(&fleet, &STORAGES.as_flattened()[..3]);
    assert!(comes_back(&mut fleet), "it was given up");
    fleet.gate.open();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    assert_eq!(text(&printed(&run)["state"]), "complete");
    fleet.assert_restores("0002", &states);
    fleet.assert_restores("0003", &states);
    fleet.stop(&[]);
}

#[test]
fn a_run_is_resumed_without_an_agent_that_stays_away() {
    let (mut fleet, mut run) = left(Fleet::start_patient("1s"));
    let states = fleet.states();
    fleet.agent(0).kill();
    fleet.agent(1).kill();
    fleet.gate.open();
    fleet.start_agent(0);
    assert!(comes_back(&mut fleet), "it was given up");
    assert_eq!(run.wait(SOON), 3, "{:#?}", run.lines());
    let summary = printed(&run);
    assert_eq!(text(&summary["state"]), "incomplete", "{summary:#}");
    let failures = summary["failures"].as_array().expect("failures");
    let missing: Vec<String> = failures.iter().map(|failure| text(&failure["storage"])).collect();
    assert!(missing.contains(&STORAGES[1][0].to_owned()), "{summary:#}");
    assert!(missing.iter().all(|name| STORAGES[1].contains(&name.as_str())), "{summary:#}");
    assert_eq!(listed(fleet.ctl([])), ["0002", "0001"]);
    fleet.ctl(["restore", "0002", "--to-storage=default=default-spare"]).run().expect_success();
    let restored = fleet.site.path("default-spare/app.git");
    super::super::site::assert_restored(&states[0], &restored);
    std::fs::remove_dir_all(restored).expect("remove what was restored");

    fleet.start_agent(1);
    fleet.ctl(["create", "--backup-id", "0003"]).run().expect_success();
    fleet.assert_restores("0003", &states);
    fleet.stop(&["agent lost, trying again"]);
}
