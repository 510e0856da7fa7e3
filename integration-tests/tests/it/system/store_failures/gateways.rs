//! A gateway that is killed or frozen in the middle of an upload, and comes back in time or too late.
//!
//! Does not own: uploads that we give up ourselves (`uploads`). One gateway is used for all of it, because starting one
//! takes long.

use std::fs;

use packhorse_testkit::{CephGateway, wait_until};

use super::{LIMIT, Large};

#[test]
fn a_run_survives_ceph_going_away_within_its_budget_and_fails_whole_beyond_it() {
    let gateway = CephGateway::start();
    let large = Large::new(&gateway, "away");
    let first = large.repo().state();

    // Killed, and back within the budget.
    large.grow(1);
    let second = large.repo().state();
    let mut run = large.hold("patient.toml", "0002");
    gateway.kill();
    large.gate.open();
    gateway.revive();
    assert_eq!(run.wait(LIMIT), 0, "{:#?}", run.lines());
    large.assert_listed(&["0002", "0001"]);

    // Killed for longer than the budget.
    large.grow(2);
    let mut run = large.hold("hasty.toml", "0003");
    gateway.kill();
    large.gate.open();
    assert_eq!(run.wait(LIMIT), 13, "{:#?}", run.lines());
    let said = run.lines().join("\n");
    assert!(said.contains("nothing was committed"), "{said}");
    large.ctl("hasty.toml", ["list"]).run().expect_code(13);
    gateway.revive();
    large.assert_listed(&["0002", "0001"]);
    large.assert_restores("0001", &first);
    large.assert_restores("0002", &second);

    // Frozen, and thawed when requests wait for it.
    let third = large.repo().state();
    let mut run = large.hold("patient.toml", "0004");
    gateway.freeze();
    large.gate.open();
    wait_until("requests that the frozen gateway does not take", LIMIT, || match unread(&gateway) {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    gateway.thaw();
    assert_eq!(run.wait(LIMIT), 0, "{:#?}", run.lines());
    large.assert_listed(&["0004", "0002", "0001"]);
    large.assert_restores("0004", &third);
    gateway.stop();
}

/// Bytes that the kernel holds for the gateway because it does not read.
fn unread(gateway: &CephGateway) -> u64 {
    let port: u16 = gateway.endpoint().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux tells its connections");
    let local = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&local))
        .map(|row| row[4].split(':').nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0))
        .sum()
}
