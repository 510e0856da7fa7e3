//! Certificates that are replaced while the daemon runs.
//!
//! Does not own: reading them. New connections use the new files; files that are not good change nothing.

use std::{fs, time::Duration};

use packhorse_testkit::{CertificateAuthority, wait_until};

use super::{SOON, Secured};

#[test]
fn new_certificates_are_used_without_a_restart() {
    let secured = Secured::start();
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    // Another authority takes over: for the coordinator, and for one of its callers.
    let next = CertificateAuthority::new();
    next.issue("ops.internal").write(&secured.site.path("renewed"));
    secured.ctl("renewed", ["list"]).run().expect_code(12);
    next.issue("coordinator.internal").write(&secured.site.path("coordinator.internal"));
    wait_until("the new authority", SOON, || match secured.ctl("renewed", ["list"]).run() {
        output if output.code == 0 => Ok(()),
        output => Err(format!("{output:?}")),
    });
    // The old authority is known to nobody any more, also when its caller trusts the new one.
    secured.ctl("ops.internal", ["list"]).run().expect_code(12);
    secured.authority.issue("ops.internal").trusting(&next).write(&secured.site.path("old"));
    secured.ctl("old", ["list"]).run().expect_code(12);
    // The coordinator shows its new certificate to the agent too, which does not know its authority.
    let output = secured.ctl("renewed", ["agents"]).run().expect_code(12);
    assert!(output.stdout.contains("certificate"), "{output:#?}");
    next.issue("agent.internal").write(&secured.site.path("agent.internal"));
    wait_until("the agent's new authority", SOON, || match secured.ctl("renewed", ["agents"]).run() {
        output if output.code == 0 => Ok(()),
        output => Err(format!("{output:?}")),
    });
    secured.ctl("renewed", ["create"]).run().expect_success();
    secured.stop();
}

#[test]
fn a_certificate_that_soon_expires_is_told_by_the_daemon_and_by_agents() {
    let secured = Secured::start();
    assert!(!secured.ctl("ops.internal", ["agents"]).run().expect_success().stdout.contains("expires"));
    let days = |days: u64| Duration::from_secs(days * 24 * 3600 + 3600);
    for (name, left) in [("agent.internal", 10), ("coordinator.internal", 29)] {
        secured.authority.issue_for(name, days(left)).write(&secured.site.path(name));
    }
    wait_until("what the agent and the coordinator say", SOON, || {
        let output = secured.ctl("ops.internal", ["agents"]).run().expect_success();
        let agent = output.stdout.contains("expires on") && output.stdout.contains("in 10 days");
        let coordinator = output.stderr.contains("the coordinator: its certificate")
            && output.stderr.contains("in 29 days");
        if agent && coordinator { Ok(()) } else { Err(format!("{output:#?}")) }
    });
    // At its next start each says so in its log.
    let secured = secured.restarted();
    for daemon in [&secured.agent, &secured.coordinator] {
        let line = daemon.wait_for_line("expires on", SOON);
        assert!(line.contains("WARN"), "{line}");
    }
    secured.stop();
}

#[test]
fn files_that_are_not_good_change_nothing() {
    let secured = Secured::start();
    fs::write(secured.site.path("coordinator.internal/cert.pem"), "no certificate").expect("write");
    wait_until("a complaint", SOON, || {
        secured.ctl("ops.internal", ["list"]).run().expect_success();
        let lines = secured.coordinator.lines();
        let told = lines.iter().any(|line| line.contains("ERROR") && line.contains("cert.pem"));
        told.then_some(()).ok_or_else(|| lines.join("\n"))
    });
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    secured.stop();
}
