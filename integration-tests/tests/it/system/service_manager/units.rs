//! The units for systemd, as systemd itself reads them.
//!
//! Does not own: running them, which takes a machine that systemd has started.

use std::{fs, path::Path};

use packhorse_testkit::{Binary, hermetic_command, skipped};

use super::super::site::Site;

const SERVICES: [(&str, Binary); 3] = [
    ("packhorse-agent.service", Binary::Agent),
    ("packhorse-coordinator.service", Binary::Coordinator),
    ("packhorse-backup.service", Binary::Backupctl),
];

/// Exposure as `systemd-analyze security` counts it, from 0 to 10; with network and sockets it cannot be 0.
const MOST_EXPOSURE: f64 = 2.0;

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn systemd_understands_the_units_and_finds_them_confined() {
    if hermetic_command("systemd-analyze").arg("--version").output().is_err() {
        return skipped("there is no systemd-analyze");
    }
    let site = Site::new();
    for (name, binary) in SERVICES {
        let installed = format!("/usr/bin/{}", binary.name());
        site.write(name, &unit(name).replace(&installed, &binary.path().display().to_string()));
    }
    site.write("packhorse-backup.timer", &unit("packhorse-backup.timer"));
    let names = SERVICES.map(|(name, _)| name).into_iter().chain(["packhorse-backup.timer"]);
    for name in names {
        let mut analyze = hermetic_command("systemd-analyze");
        let output = analyze.args(["verify", "--man=no"]).arg(site.path(name)).output().expect("run it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("packhorse"), "{name}: {said}");
    }
    for (name, _) in SERVICES {
        let mut analyze = hermetic_command("systemd-analyze");
        let call = analyze.args(["security", "--offline=true", "--no-pager"]).arg(site.path(name));
        let said = String::from_utf8_lossy(&call.output().expect("run it").stdout).into_owned();
        let overall = said.lines().find(|line| line.contains("Overall exposure level"));
        let level = overall.and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse::<f64>().ok());
        assert!(level.is_some_and(|level| level <= MOST_EXPOSURE), "{name}: {said}");
    }
}

#[test]
fn the_daemons_are_watched_restarted_and_confined() {
    for (name, _) in &SERVICES[..2] {
        let unit = unit(name);
        for line in [
            "Type=notify",
            "NotifyAccess=main",
            "WatchdogSec=2min",
            "Restart=on-failure",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "AmbientCapabilities=",
            "UMask=0077",
        ] {
            assert!(unit.lines().any(|found| found == line), "{name}: no {line}");
        }
    }
    assert!(unit(SERVICES[0].0).contains("IOSchedulingClass=idle"));
    assert!(!unit(SERVICES[2].0).lines().any(|line| line.starts_with("SuccessExitStatus")));
}
