//! `backupctl certs`: what it makes is good for what it was made for, and for nothing else.
//!
//! Does not own: certificates of other authorities, which the other tests use.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use packhorse_testkit::{Backupctl, Binary, CliOutput};

use super::{super::site::Site, assert_refused_once, start};

fn certs(dir: &Path, args: &[&str]) -> CliOutput {
    let (command, rest) = args.split_first().expect("a command");
    Backupctl::new().args(["certs", command, "--dir"]).arg(dir).args(rest).run()
}

/// The sections that `issue` printed: the holder's `[tls]`, and the `[[peer]]` for others.
fn issue(dir: &Path, role: &str, names: &[&str]) -> (String, String) {
    let mut args = vec!["issue", "--role", role];
    names.iter().for_each(|name| args.extend(["--san", name]));
    let printed = certs(dir, &args).expect_success().stdout;
    let (tls, peer) = printed.split_once("\n\n").expect("two parts");
    (format!("{tls}\n"), format!("{peer}\n"))
}

#[test]
fn an_authority_of_its_own_is_all_that_a_site_needs() {
    let site = Site::new();
    let dir = site.path("authority");
    certs(&dir, &["init"]).expect_success();
    let (agent_tls, _) = issue(&dir, "agent", &["gitaly-1.internal", "127.0.0.1"]);
    let (coordinator_tls, coordinator) = issue(&dir, "coordinator", &["coordinator.internal", "127.0.0.1"]);
    let (operator_tls, operator) = issue(&dir, "operator", &["spiffe://site/ops"]);
    for entry in fs::read_dir(&dir).expect("readable") {
        let entry = entry.expect("readable");
        assert_eq!(entry.metadata().expect("readable").mode() & 0o077, 0, "{:?}", entry.file_name());
    }
    site.repo("default/app.git").fill("main", 2);
    let vault = format!("[vault]\nurl = '{}'\n", site.vault_url());
    let storage = site.storage_section("default", "default");
    let listen = "listen = 'https://127.0.0.1:0'\n";
    site.write("agent.toml", &format!("{vault}[agent_service]\n{listen}{storage}{agent_tls}{coordinator}"));
    let (agent, address) = start(&site, Binary::Agent, "agent");
    let agents = format!("[[agent]]\naddress = '{address}'\n");
    let config = format!("{vault}[coordinator]\n{listen}{agents}{coordinator_tls}{operator}");
    site.write("coordinator.toml", &config);
    let (_coordinator, address) = start(&site, Binary::Coordinator, "coordinator");
    let ctl = site.write("ctl.toml", &operator_tls);
    let call = |args: &[&str]| {
        Backupctl::new()
            .args(["--no-progress", "--coordinator", &address, "--config"])
            .arg(&ctl)
            .args(args)
            .run()
    };
    call(&["create"]).expect_success();
    call(&["restore", "latest", "--force"]).expect_success();

    // An agent's certificate is good for serving only, whatever the other side's configuration says.
    let thief = site.write("thief.toml", &agent_tls);
    let stolen = Backupctl::new().args(["list", "--coordinator", &address, "--config"]).arg(&thief).run();
    stolen.expect_code(12);
    assert_refused_once(&_coordinator, &["handshake", "127.0.0.1"]);
    drop(agent);
}

#[test]
fn nothing_is_overwritten_and_nonsense_is_refused() {
    let site = Site::new();
    let dir = site.path("authority");
    certs(&dir, &["issue", "--role", "agent", "--san", "a"]).expect_code(1);
    certs(&dir, &["init"]).expect_success();
    let authority = fs::read(dir.join("ca-key.pem")).expect("key");
    let refused = certs(&dir, &["init"]).expect_code(1);
    assert!(refused.stderr.contains("never overwritten"), "{refused:#?}");
    assert_eq!(fs::read(dir.join("ca-key.pem")).expect("key"), authority);
    certs(&dir, &["issue", "--role", "agent", "--san", "a.internal"]).expect_success();
    certs(&dir, &["issue", "--role", "observer", "--san", "a.internal"]).expect_code(1);
    for name in ["../x", "a b", "10.0.0.1", "ops@example.org", ""] {
        certs(&dir, &["issue", "--role", "operator", "--san", name]).expect_code(2);
    }
    certs(&dir, &["issue", "--role", "root", "--san", "b"]).expect_code(2);
    certs(&dir, &["issue", "--role", "agent", "--san", "b", "--days", "0"]).expect_code(2);
}
