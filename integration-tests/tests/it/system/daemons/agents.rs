//! Agents that are down, or die while they work.
//!
//! Does not own: callers that go away. What an agent serves is missing from the backup, by name, and nothing else is.

use packhorse_testkit::{Backupctl, wait_until};

use super::{
    super::site::{json, listed, text},
    Fleet, SOON, STORAGES,
};

#[test]
fn an_agent_that_is_down_is_missing_by_name() {
    let mut fleet = Fleet::start();
    let states = fleet.states();
    fleet.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    assert_eq!(fleet.agent(1).terminate(), 0);

    let output = fleet.ctl(["create", "--backup-id", "0002"]).run().expect_code(3);
    let address = fleet.addresses[1].clone();
    assert!(output.stdout.contains("INCOMPLETE") && output.stdout.contains(&address), "{}", output.stdout);
    let output = fleet.ctl(["create", "--json", "--backup-id", "0003"]).run().expect_code(3);
    let failure = &json(&output)["failures"][0];
    assert!(text(&failure["item"]).contains(&address), "{failure:#}");
    assert_eq!(text(&failure["problem"]["subject"]), "agent");
    let agents = fleet.ctl(["agents"]).run().expect_code(14);
    assert!(agents.stdout.contains(&address), "{}", agents.stdout);
    let refused = fleet.ctl(["create", "--storage", "second"]).run().expect_code(14);
    assert!(refused.stderr.contains(&address), "{}", refused.stderr);

    assert_eq!(fleet.agent(0).terminate(), 0);
    let refused = fleet.ctl(["create", "--backup-id", "0004"]).run().expect_code(14);
    assert!(refused.stderr.contains("nothing was committed"), "{}", refused.stderr);
    // It ended before it had its ID, and is found by that all the same.
    let status = fleet.ctl(["status", "0004"]).run().expect_success().stdout;
    assert!(status.contains("0004") && status.contains("failed"), "{status}");
    let followed = fleet.ctl(["status", "0004", "--follow"]).run().expect_code(14);
    assert!(followed.stderr.contains("nothing was committed"), "{}", followed.stderr);
    fleet.ctl(["restore", "0001"]).run().expect_code(14);
    assert_eq!(
        listed(fleet.ctl([])),
        ["0003", "0002", "0001"],
        "what was committed is listed without agents"
    );

    fleet.start_agent(0);
    fleet.start_agent(1);
    fleet.ctl(["create", "--backup-id", "0005"]).run().expect_success();
    fleet.assert_restores("0005", &states);
    fleet.stop(&["run or restore ended without success"]);
}

#[test]
fn without_a_coordinator_nothing_is_reached() {
    let mut fleet = Fleet::start();
    assert_eq!(fleet.coordinator().terminate(), 0);
    for args in [&["list"][..], &["create"], &["restore", "latest"], &["show", "latest"], &["agents"]] {
        let output = fleet.ctl(["--json"]).args(args).run().expect_code(14);
        let error = &json(&output)["error"];
        assert_eq!(
            (text(&error["kind"]), text(&error["subject"])),
            ("unavailable".into(), "coordinator".into())
        );
    }
    let nobody = format!("http://127.0.0.1:{}", packhorse_testkit::free_port());
    let output = Backupctl::new().args(["list", "--coordinator", &nobody]).run().expect_code(14);
    assert!(output.stderr.contains(&nobody), "{}", output.stderr);
    fleet.coordinator = None;
    fleet.stop(&[]);
}

#[test]
fn an_agent_that_does_not_come_back_leaves_its_storage_out_of_the_backup() {
    let mut fleet = Fleet::start_patient("1s");
    let before = fleet.states();
    fleet.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    // Only the second storage changes, so only its agent is held.
    fleet.repo(1).fill("main", packhorse_testkit::GitRepo::COMMITS_FOR_GIT);
    fleet.gate.close();
    let mut run = fleet.ctl(["create", "--json", "--backup-id", "0002"]).spawn();
    fleet.gate.wait_until_reached();
    fleet.agent(1).kill();
    fleet.gate.open();
    assert_eq!(run.wait(SOON), 3, "{}", run.lines().join("\n"));
    let summary: serde_json::Value =
        serde_json::from_str(&run.stdout_lines().join("\n")).expect("a summary as JSON");
    assert_eq!(text(&summary["state"]), "incomplete");
    let missing: Vec<String> =
        summary["failures"].as_array().expect("failures").iter().map(|f| text(&f["storage"])).collect();
    // Its spare storage had ended before, unless the machine is busy.
    assert!(missing.contains(&STORAGES[1][0].to_owned()), "{missing:?}");
    assert!(missing.iter().all(|name| STORAGES[1].contains(&name.as_str())), "{missing:?}");

    fleet.start_agent(1);
    let after = fleet.states();
    let output = fleet.ctl(["create", "--json", "--backup-id", "0003"]).run().expect_success();
    assert_eq!(text(&json(&output)["state"]), "complete");
    fleet.assert_restores("0003", &after);
    fleet.assert_restores("0001", &before);
    fleet.stop(&["agent lost, trying again"]);
}

#[test]
fn whoever_looks_is_told_that_an_agent_is_waited_for() {
    let mut fleet = Fleet::start_patient("60s");
    fleet.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    fleet.repo(1).fill("main", packhorse_testkit::GitRepo::COMMITS_FOR_GIT);
    fleet.gate.close();
    let coordinator = format!("unix://{}", fleet.site.path("coordinator.sock").display());
    let mut run =
        Backupctl::new().args(["--coordinator", &coordinator, "create", "--backup-id", "0002"]).spawn();
    fleet.gate.wait_until_reached();
    fleet.agent(1).kill();
    let (storage, address) = (STORAGES[1][0], fleet.addresses[1].clone());
    let told = format!("storage {storage} waits: ");
    let status = wait_until("the agent to be missed", SOON, || {
        let status = fleet.ctl(["status"]).run().expect_success().stdout;
        if status.contains(&told) { Ok(status) } else { Err(status) }
    });
    assert!(status.contains(&address) || status.contains('…'), "{status}");
    let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
    let storages = status["tasks"][0]["storages"].as_array().expect("storages");
    let waits: Vec<String> = storages
        .iter()
        .filter(|told| told["storage"] == storage)
        .map(|told| text(&told["waits_for"]))
        .collect();
    assert!(waits[0].contains(&address) && waits[0].contains("waited for until"), "{status:#}");
    wait_until("the caller to be told", SOON, || {
        let lines = run.lines();
        if lines.iter().any(|line| line.contains(&told)) { Ok(()) } else { Err(lines.join("\n")) }
    });
    fleet.gate.open();
    fleet.start_agent(1);
    assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    fleet.stop(&["agent lost, trying again"]);
}
