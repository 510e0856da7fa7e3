//! Links that are cut in the middle of a run and mended in time: the same run ends complete.
//!
//! Does not own: cuts that are not mended (`losses`).

use std::time::Duration;

use packhorse_testkit::{Daemon, wait_until};
use serde_json::Value;

use super::{Hosts, Options, SOON, let_pass};
use crate::system::site::{json, listed, text};

/// How long a link stays away: long enough for several tries again.
const SOME_SECONDS: Duration = Duration::from_secs(5);

/// The run that was held ends complete, and what it made comes back.
#[track_caller]
fn assert_complete(hosts: Hosts, mut run: Daemon, allowed: &[&str]) {
    assert_eq!(run.wait(SOON), 0, "{:#?}\n{:#?}", run.lines(), hosts.coordinator.lines());
    let summary: Value = serde_json::from_str(&run.stdout_lines().join("\n")).expect("a summary as JSON");
    assert_eq!([text(&summary["backup_id"]), text(&summary["state"])], ["0002", "complete"], "{summary:#}");
    assert_eq!(listed(hosts.ctl([])), ["0002", "0001"]);
    hosts.assert_restores("0002", &hosts.states());
    hosts.stop(allowed);
}

#[test]
fn an_agent_that_the_coordinator_cannot_reach_for_a_while_goes_on_and_is_joined_again() {
    let Some(mut hosts) = Hosts::start(Options::default()) else { return };
    let run = hosts.held_at(1);
    hosts.agent_hosts[1].cut_from(&hosts.coordinator_host);
    hosts.gates[1].open();
    // The first two are of the first run.
    let ends = |daemon: &Daemon| daemon.lines().iter().filter(|line| line.contains("backup ends")).count();
    wait_until("the agent's work, which nobody sees", SOON, || match ends(hosts.agent(1)) {
        4.. => Ok(()),
        ended => Err(format!("{ended} backups ended\n{}", hosts.agent(1).lines().join("\n"))),
    });
    hosts.agent_hosts[1].mend_to(&hosts.coordinator_host);
    assert_complete(hosts, run, &[]);
}

// Its quick one is above: only who notices differs.
#[test]
#[ignore = "waits for the keep-alive; in make test-long"]
fn an_agent_that_is_noticed_to_be_gone_is_joined_again_within_patience() {
    let Some(hosts) = Hosts::start(Options::default()) else { return };
    let run = hosts.held_at(1);
    hosts.agent_hosts[1].cut();
    hosts.coordinator.wait_for_line("agent lost, trying again", SOON);
    hosts.gates[1].open();
    let_pass(SOME_SECONDS);
    hosts.agent_hosts[1].mend();
    assert_complete(hosts, run, &["agent lost, trying again"]);
}

#[test]
fn an_agent_that_cannot_reach_the_store_for_a_while_tries_again() {
    let Some(hosts) = Hosts::start(Options::default()) else { return };
    let run = hosts.held_at(0);
    hosts.agent_hosts[0].cut_from(&hosts.store_host);
    hosts.gates[0].open();
    let_pass(SOME_SECONDS);
    hosts.agent_hosts[0].mend_to(&hosts.store_host);
    assert_complete(hosts, run, &[]);
}

#[test]
fn a_coordinator_that_cannot_reach_the_store_for_a_while_tries_again() {
    let Some(hosts) = Hosts::start(Options::default()) else { return };
    let run = hosts.held_at(0);
    hosts.coordinator_host.cut_from(&hosts.store_host);
    hosts.gates[0].open();
    let_pass(SOME_SECONDS);
    hosts.coordinator_host.mend_to(&hosts.store_host);
    assert_complete(hosts, run, &[]);
}

#[test]
fn a_run_goes_on_without_the_operators_host_which_may_look_again_later() {
    let Some(hosts) = Hosts::start(Options::default()) else { return };
    let run = hosts.held_at(0);
    hosts.operator.cut();
    let status = json(&hosts.ctl_on(&hosts.coordinator_host, ["status", "--json"]).run().expect_success());
    assert_eq!(status["tasks"][0]["state"], "running", "{status:#}");
    let_pass(SOME_SECONDS);
    hosts.operator.mend();
    let mut follower = hosts.ctl(["status", "0002", "--follow", "--json"]).spawn();
    hosts.gates[0].open();
    assert_eq!(follower.wait(SOON), 0, "{:#?}", follower.lines());
    let summary: Value = serde_json::from_str(&follower.stdout_lines().join("\n")).expect("a summary");
    assert_eq!(text(&summary["backup_id"]), "0002");
    assert_complete(hosts, run, &[]);
}
