//! Callers and coordinators that go away while a run is under way.
//!
//! Does not own: agents that go away. A caller that dies changes nothing; one that is interrupted stops its run; a
//! coordinator that stops or dies leaves no backup behind and every earlier one as it was.

use packhorse_testkit::{Binary, Daemon, Signal, wait_until};

use super::{super::site::listed, Fleet, SOON};

/// A fleet with a backup, and a second run that is held in the middle.
fn held() -> (Fleet, Daemon) {
    let fleet = Fleet::start();
    fleet.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    fleet.change();
    fleet.gate.close();
    let run = fleet.ctl(["create", "--backup-id", "0002"]).spawn();
    fleet.gate.wait_until_reached();
    (fleet, run)
}

/// Makes backups until one is complete: an agent may still be stopping the job of a coordinator that is gone.
fn next_run(fleet: &Fleet) -> String {
    let mut tries = 2;
    wait_until("a complete backup", SOON, || {
        tries += 1;
        let id = format!("{tries:04}");
        let output = fleet.ctl(["create", "--backup-id", &id]).run();
        if output.code == 0 { Ok(id) } else { Err(format!("{output:?}")) }
    })
}

#[test]
fn a_run_goes_on_without_its_caller() {
    let (fleet, mut run) = held();
    let states = fleet.states();
    run.kill();
    assert_eq!(listed(fleet.ctl([])), ["0001"], "the run is still held");
    fleet.gate.open();
    wait_until("the commit of the run", SOON, || match &listed(fleet.ctl([]))[..] {
        [newest, _] if newest == "0002" => Ok(()),
        ids => Err(format!("{ids:?}")),
    });
    fleet.assert_restores("0002", &states);
    fleet.stop(&[]);
}

#[test]
fn an_interrupted_run_commits_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (fleet, mut run) = held();
        run.signal(signal);
        assert_eq!(run.wait(SOON), code, "{}", run.lines().join("\n"));
        assert!(run.lines().join("\n").contains("nothing was committed"), "{:#?}", run.lines());
        fleet.gate.open();
        assert_eq!(listed(fleet.ctl([])), ["0001"]);
        let states = fleet.states();
        let id = next_run(&fleet);
        fleet.assert_restores(&id, &states);
        fleet.stop(&["run or restore ended without success", "the coordinator is gone, stopping its job"]);
    }
}

#[test]
fn a_coordinator_that_stops_ends_its_run_and_commits_nothing() {
    let (mut fleet, mut run) = held();
    assert_eq!(fleet.coordinator().terminate(), 0);
    let code = run.wait(SOON);
    assert!([1, 14, 130].contains(&code), "exit code {code}: {:#?}", run.lines());
    fleet.gate.open();
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "coordinator ready"));
    assert_eq!(listed(fleet.ctl([])), ["0001"]);
    let states = fleet.states();
    let id = next_run(&fleet);
    fleet.assert_restores(&id, &states);
    fleet.stop(&["the coordinator is gone, stopping its job"]);
}

#[test]
fn a_coordinator_that_is_killed_leaves_earlier_backups_and_the_next_run_needs_no_help() {
    let (mut fleet, mut run) = held();
    fleet.coordinator().kill();
    assert_eq!(run.wait(SOON), 14, "{:#?}", run.lines());
    fleet.gate.open();
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "coordinator ready"));
    assert_eq!(listed(fleet.ctl([])), ["0001"]);
    let states = fleet.states();
    let id = next_run(&fleet);
    fleet.assert_restores(&id, &states);
    fleet.stop(&["the coordinator is gone, stopping its job"]);
}
