//! Runs that survive: a daemon that is killed or stopped in the middle, and started again, finishes what was begun.
//!
//! Does not own: daemons that do not come back (`agents`), or what is left in the vault at every single point (`crashes`).
//! Whoever waits for the run is told its end by the coordinator that takes over.

use packhorse_testkit::{Binary, Daemon, GitRepo, Signal, wait_until};

use super::{
    super::site::{json, listed, text},
    Fleet, SOON,
};

/// A fleet with a backup, many repositories that changed since, and a run that is held in the middle of packing them.
fn held() -> (Fleet, Daemon) {
    let fleet = Fleet::start();
    fleet.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    // New repositories are copied without git, and so are not held.
    for number in 0..5 {
        fleet.site.repo(&format!("default/new-{number}.git")).fill("main", 3);
    }
    fleet.change();
    fleet.gate.close();
    let run = fleet.ctl(["create", "--json", "--backup-id", "0002"]).spawn();
    fleet.gate.wait_until_reached();
    (fleet, run)
}

/// Waits for the run, which must be complete, and restores what it made.
fn assert_finished(fleet: Fleet, mut run: Daemon, allowed: &[&str]) {
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    let summary: serde_json::Value =
        serde_json::from_str(&run.stdout_lines().join("\n")).expect("a summary as JSON");
    assert_eq!([text(&summary["backup_id"]), text(&summary["state"])], ["0002", "complete"], "{summary:#}");
    assert_eq!(summary["repositories"]["backed_up"], 7, "{summary:#}");
    assert_eq!(listed(fleet.ctl([])), ["0002", "0001"]);
    let states = fleet.states();
    let new: Vec<_> = (0..5)
        .map(|number| GitRepo::open(fleet.site.path(&format!("default/new-{number}.git"))).state())
        .collect();
    fleet.ctl(["restore", "0002", "--to-storage=default=default-spare"]).run().expect_success();
    for (number, state) in new.iter().enumerate() {
        let path = fleet.site.path(&format!("default-spare/new-{number}.git"));
        super::super::site::assert_restored(state, &path);
    }
    std::fs::remove_dir_all(fleet.site.path("default-spare")).expect("empty the spare storage");
    std::fs::create_dir(fleet.site.path("default-spare")).expect("make it again");
    fleet.assert_restores("0002", &states);
    let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
    assert_eq!(status["unfinished"].as_array().map(Vec::len), Some(0), "{status:#}");
    fleet.stop(allowed);
}

#[test]
fn a_coordinator_that_is_killed_resumes_its_run_and_joins_agents_that_are_still_at_it() {
    let (mut fleet, run) = held();
    fleet.coordinator().kill();
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "resuming run"));
    fleet.gate.open();
    assert_finished(fleet, run, &[]);
}

#[test]
fn a_coordinator_that_comes_back_when_its_agents_are_done_takes_their_results() {
    let (mut fleet, run) = held();
    fleet.coordinator().kill();
    fleet.gate.open();
    fleet.wait_for_ends(4);
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "resuming run"));
    assert_finished(fleet, run, &[]);
}

#[test]
fn a_coordinator_that_is_stopped_leaves_its_run_to_the_next_one() {
    let (mut fleet, run) = held();
    assert_eq!(fleet.coordinator().terminate(), 0);
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "resuming run"));
    fleet.gate.open();
    assert_finished(fleet, run, &["work did not stop", "calls did not end"]);
}

#[test]
fn an_agent_that_is_killed_and_comes_back_does_what_is_left() {
    let (mut fleet, run) = held();
    fleet.agent(0).kill();
    fleet.start_agent(0);
    fleet.gate.open();
    assert_finished(fleet, run, &["agent lost, trying again"]);
}

#[test]
fn an_agent_that_is_stopped_and_comes_back_does_what_is_left() {
    let (mut fleet, run) = held();
    assert_eq!(fleet.agent(0).terminate(), 0);
    fleet.start_agent(0);
    fleet.gate.open();
    assert_finished(fleet, run, &["agent lost, trying again"]);
}

#[test]
fn everything_may_die_at_once() {
    let (mut fleet, run) = held();
    fleet.agent(0).kill();
    fleet.agent(1).kill();
    fleet.coordinator().kill();
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "resuming run"));
    fleet.gate.open();
    fleet.start_agent(1);
    fleet.start_agent(0);
    assert_finished(fleet, run, &["agent lost, trying again"]);
}

#[test]
fn an_agent_that_is_stopped_finishes_the_repository_at_hand_and_begins_no_other() {
    let (mut fleet, run) = held();
    let file = fleet.site.path("agent-0.toml");
    let config = std::fs::read_to_string(&file).expect("configuration");
    fleet.site.write("agent-0.toml", &config.replace("grace = '1s'", "grace = '60s'"));
    fleet.agent(0).signal(Signal::HUP);
    fleet.agent(0).wait_for_line("configuration reloaded", SOON);
    fleet.agent(0).signal(Signal::TERM);
    fleet.agent(0).wait_for_line("agent stopping", SOON);
    fleet.gate.open();
    assert_eq!(fleet.agent(0).wait(SOON), 0, "{:#?}", fleet.agent(0).lines());
    fleet.start_agent(0);
    let bundle = |name: &str| fleet.site.path("vault/default/app.git/0002").join(name).exists();
    wait_until("the step of the repository that was at hand", SOON, || {
        if bundle("002.bundle") { Ok(()) } else { Err("not there".to_owned()) }
    });
    assert_finished(fleet, run, &["agent lost, trying again"]);
}

#[test]
fn what_a_cancelled_run_stored_is_told_and_not_sent_again() {
    let (fleet, mut run) = held();
    wait_until("five repositories that are stored", SOON, || {
        let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
        let storages = status["tasks"][0]["storages"].as_array().cloned().unwrap_or_default();
        let stored: u64 = storages.iter().filter_map(|storage| storage["stored"].as_u64()).sum();
        if stored == 5 { Ok(()) } else { Err(format!("{status:#}")) }
    });
    let cancelled = json(&fleet.ctl(["cancel", "0002", "--json"]).run().expect_success());
    assert!(text(&cancelled["end"]["state"]).contains("; 5 repositories"), "{cancelled:#}");
    assert_eq!(run.wait(SOON), 130, "{:#?}", run.lines());
    fleet.gate.open();
    let summary = json(&fleet.ctl(["create", "--json", "--backup-id", "0003"]).run().expect_success());
    assert_eq!(summary["repositories"]["backed_up"], 7, "{summary:#}");
    for number in 0..5 {
        let repo = fleet.site.path(&format!("vault/default/new-{number}.git"));
        assert!(repo.join("0002").exists() && !repo.join("0003").exists(), "{number} was sent again");
    }
    let states = fleet.states();
    fleet.ctl(["restore", "0003", "--to-storage=default=default-spare"]).run().expect_success();
    std::fs::remove_dir_all(fleet.site.path("default-spare")).expect("empty the spare storage");
    std::fs::create_dir(fleet.site.path("default-spare")).expect("make it again");
    fleet.assert_restores("0003", &states);
    fleet.stop(&["ended without success"]);
}
