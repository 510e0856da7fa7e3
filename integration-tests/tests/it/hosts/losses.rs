//! Links that stay cut: the run ends, names what is missing, and the next one uses what was done.
//!
//! Does not own: cuts that are mended in time (`cuts`).

use packhorse_testkit::{Daemon, Network, PostgresServer, wait_until};
use serde_json::Value;

use super::{Hosts, Options, SOON, estate::STORAGES};
use crate::system::site::{json, noise, text};

/// The run ends incomplete without the second agent's storage.
#[track_caller]
fn assert_names_what_is_missing(run: &mut Daemon) {
    assert_eq!(run.wait(SOON), 3, "{:#?}", run.lines());
    let summary: Value = serde_json::from_str(&run.stdout_lines().join("\n")).expect("a summary as JSON");
    assert_eq!(text(&summary["state"]), "incomplete", "{summary:#}");
    let missing: Vec<String> =
        summary["failures"].as_array().expect("failures").iter().map(|f| text(&f["storage"])).collect();
    assert!(missing.contains(&STORAGES[1][0].to_owned()), "{missing:?}");
    assert!(missing.iter().all(|name| STORAGES[1].contains(&name.as_str())), "{missing:?}");
}

/// The next run is complete, and brings everything back.
#[track_caller]
fn next_run(hosts: &Hosts) -> Value {
    let summary = json(&hosts.ctl(["create", "--json", "--backup-id", "0003"]).run().expect_success());
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    hosts.assert_restores("0003", &hosts.states());
    summary
}

#[test]
fn a_host_that_breaks_down_is_missing_by_name_and_comes_back_in_the_next_run() {
    let Some(mut hosts) = Hosts::start(Options { patience: "2s", ..Options::default() }) else { return };
    let mut run = hosts.held_at(1);
    // It ends, and then there is nobody at its address.
    hosts.agent(1).kill();
    hosts.agent_hosts[1].cut();
    hosts.gates[1].open();
    assert_names_what_is_missing(&mut run);
    hosts.agent_hosts[1].mend();
    hosts.start_agent(1);
    next_run(&hosts);
    hosts.stop(&["agent lost, trying again", "run or restore ended without success"]);
}

// Its quick one is above.
#[test]
#[ignore = "waits for the keep-alive; in make test-long"]
fn what_an_agent_did_while_nobody_could_reach_it_is_used_by_the_next_run() {
    let Some(mut hosts) = Hosts::start(Options { patience: "2s", ..Options::default() }) else { return };
    // Copied without git, so it is done while the other one is held.
    hosts.site.repo("second/new.git").commit("main", &[("noise", noise(1, 3 << 20))]);
    let mut run = hosts.held_at(1);
    hosts.site.repo("second/newer.git").commit("main", &[("noise", noise(2, 1 << 20))]);
    hosts.agent_hosts[1].cut_from(&hosts.coordinator_host);
    assert_names_what_is_missing(&mut run);
    hosts.gates[1].open();
    let ends = |daemon: &Daemon| daemon.lines().iter().filter(|line| line.contains("backup ends")).count();
    wait_until("the agent's work, which nobody sees", SOON, || match ends(hosts.agent(1)) {
        4.. => Ok(()),
        ended => Err(format!("{ended} backups ended")),
    });
    hosts.agent_hosts[1].mend_to(&hosts.coordinator_host);
    let summary = next_run(&hosts);
    // What changed at the first agent is in the run that was incomplete; only the newest repository is new.
    assert!(summary["bytes_new"].as_u64().is_some_and(|bytes| bytes < 2 << 20), "{summary:#}");
    hosts.stop(&["agent lost, trying again", "run or restore ended without success"]);
}

// Its quick one is in `whole`: there the host is away before.
#[test]
#[ignore = "waits for the connection's time; in make test-long"]
fn a_database_whose_host_goes_away_in_the_middle_of_its_postgres_dump_is_given_up() {
    let Some(network) = Network::start() else { return };
    let host = network.host("database");
    let server = PostgresServer::start_on(&host);
    server.create_database("forge");
    server.psql("forge", "CREATE TABLE faces (face text); INSERT INTO faces SELECT md5(n::text) FROM generate_series(1, 200000) AS n;");
    host.slow_down(1);
    let databases = format!(
        "[[database]]\nname = 'main'\nurl = '{}'\nbin_dir = '{}'\n",
        server.url("forge"),
        server.binaries().display()
    );
    let hosts = Hosts::start_on(network, Options { databases, ..Options::default() });
    let mut run = hosts.ctl(["create", "--json", "--backup-id", "0001"]).spawn();
    let copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'";
    wait_until("a dump in its middle", SOON, || match server.psql("postgres", copying).as_str() {
        "0" => Err("no dump".to_owned()),
        _ => Ok(()),
    });
    host.cut();
    assert_eq!(run.wait(SOON), 3, "{:#?}", run.lines());
    let summary: Value = serde_json::from_str(&run.stdout_lines().join("\n")).expect("a summary as JSON");
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(1), "{summary:#}");
    assert_eq!(summary["failures"][0]["item"], "main", "{summary:#}");
    hosts.assert_restores("0001", &hosts.states());
    hosts.stop(&["run or restore ended without success"]);
}
