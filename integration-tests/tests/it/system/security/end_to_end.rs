//! Backups and restores with TLS on every connection.
//!
//! Does not own: who is refused (`intruders`).

use super::{
    super::site::{assert_restored, json, listed, text},
    Secured,
};

#[test]
fn a_backup_and_a_restore_go_by_tls_alone() {
    let secured = Secured::start();
    let state = secured.repo().state();
    let output = secured.ctl("ops.internal", ["create", "--json", "--backup-id", "0001"]).run();
    assert_eq!(text(&json(&output.expect_success())["state"]), "complete");
    std::fs::remove_dir_all(secured.site.path("default/app.git")).expect("lose a repository");
    secured.ctl("ops.internal", ["restore", "0001"]).run().expect_success();
    assert_restored(&state, secured.site.path("default/app.git"));

    let agents = secured.ctl("watch.internal", ["agents"]).run().expect_success();
    assert!(agents.stdout.contains(&secured.agent_address), "{agents:#?}");
    assert_eq!(listed(secured.ctl("watch.internal", [])), ["0001"]);
    let [coordinator, agent] = secured.stop();
    for line in coordinator.iter().chain(&agent) {
        assert!(!line.contains("WARN") && !line.contains("ERROR"), "{line}");
    }
}

#[test]
fn a_host_that_is_not_the_one_meant_is_not_talked_to() {
    let secured = Secured::start();
    // The certificate is for 127.0.0.1 and its host name, not for this name of the same address.
    let address = secured.address.replace("127.0.0.1", "localhost");
    let output = secured.ctl_at(&address, "ops.internal").arg("list").run().expect_code(12);
    assert!(output.stderr.contains("for this host name"), "{output:#?}");
    secured.stop();
}

#[test]
fn tls_without_certificates_is_refused_at_the_start() {
    let secured = Secured::start();
    let address = secured.address.clone();
    let output = packhorse_testkit::Backupctl::new().args(["list", "--coordinator", &address]).run();
    let output = output.expect_code(2);
    assert!(output.stderr.contains("[tls]"), "{output:#?}");
    secured.stop();
}
