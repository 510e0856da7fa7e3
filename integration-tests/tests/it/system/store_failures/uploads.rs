//! Uploads that are not finished although the store answers: nothing of them may stay, because it costs money unseen.
//!
//! Does not own: stores that do not answer (`gateways`).

use packhorse_testkit::{CephGateway, Signal};

use super::{LIMIT, Large};

#[test]
fn a_cancelled_run_leaves_no_open_upload_in_ceph() {
    let large = Large::new(CephGateway::shared(), "cancelled");
    let before = large.repo().state();
    large.grow(1);
    for (signal, code, id) in [(Signal::INT, 130, "0002"), (Signal::TERM, 143, "0003")] {
        let mut run = large.hold("patient.toml", id);
        run.signal(signal);
        assert_eq!(run.wait(LIMIT), code, "{:#?}", run.lines());
        assert_eq!(large.gateway.list_uploads(large.bucket), [""; 0], "after {signal:?}");
        large.gate.open();
        large.assert_listed(&["0001"]);
    }
    large.assert_restores("0001", &before);
}

#[test]
fn a_git_that_dies_in_the_middle_leaves_no_open_upload_in_ceph() {
    let large = Large::new(CephGateway::shared(), "failed");
    let before = large.repo().state();
    large.grow(2);
    large.gate.set_broken(true);
    let output = large.ctl("patient.toml", ["create", "--backup-id=0002"]).run().expect_code(3);
    assert!(output.stdout.contains("a.git") && output.stdout.contains("disk on fire"), "{output:#?}");
    assert_eq!(large.gateway.list_uploads(large.bucket), [""; 0]);
    let keys = large.gateway.keys(large.bucket);
    assert!(!keys.iter().any(|key| key.contains("/0002/") && key.ends_with(".bundle")), "{keys:#?}");
    large.assert_restores("0001", &before);

    large.gate.set_broken(false);
    let after = large.repo().state();
    large.ctl("patient.toml", ["create", "--backup-id=0003"]).run().expect_success();
    large.assert_restores("0003", &after);
}
