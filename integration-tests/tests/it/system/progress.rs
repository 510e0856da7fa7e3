//! What an operator sees while a run goes on: a live line on a terminal, plain lines in a pipe; and its summary.
//!
//! Does not own: how a line is put together (`ctl`).

use std::{fs, time::Duration};

use packhorse_testkit::{GitRepo, hermetic_command, wait_until};

use super::{gate::Gate, site::Site};

/// A site with a backup and a repository that has changed since, whose pack a closed gate holds after some bytes.
fn held() -> (Site, Gate) {
    let site = Site::new();
    let gate = Gate::new(&site.path("gate"), 4096);
    let config = format!(
        "[vault]\nurl = '{}'\n{}[agent_service]\ngit = '{}'\n",
        site.vault_url(),
        site.storage_section("default", "storage"),
        gate.git().display()
    );
    site.write("packhorse.toml", &config);
    for name in ["storage/a.git", "storage/group/b.git"] {
        site.repo(name).fill("main", 5);
    }
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    GitRepo::open(site.path("storage/group/b.git"))
        .commit("main", &[("noise", super::site::noise(1, 1_000_000))]);
    (site, gate)
}

#[test]
fn a_terminal_shows_what_is_being_worked_on() {
    let (site, gate) = held();
    gate.close();
    let screen = site.path("screen");
    let backupctl = packhorse_testkit::Binary::Backupctl.path();
    let config = site.path("packhorse.toml");
    // A terminal without a size shows nothing.
    let size = "stty cols 200 rows 50";
    let call = format!(
        "{size} && exec {} --config {} create --backup-id 0002",
        backupctl.display(),
        config.display()
    );
    let mut script = hermetic_command("script");
    script.env("TERM", "xterm");
    script.args(["--quiet", "--return", "--flush", "--command", &call]).arg(&screen);
    let quiet = std::process::Stdio::null;
    let mut child = script.stdin(quiet()).stdout(quiet()).spawn().expect("script starts");
    gate.wait_until_reached();
    let shown = || String::from_utf8_lossy(&fs::read(&screen).unwrap_or_default()).into_owned();
    wait_until("the live line", Duration::from_secs(60), || {
        let text = shown();
        // What git has written so far has not arrived anywhere.
        let line = text.lines().flat_map(|line| line.split('\r')).any(|line| {
            line.contains("1/2 repositories")
                && line.contains("50%")
                && line.contains(" 0 B")
                && line.contains("group/b.git")
        });
        if line { Ok(()) } else { Err(text) }
    });
    gate.open();
    assert!(child.wait().expect("script ends").success(), "{}", shown());
    assert!(shown().contains("1 backed up, 1 unchanged, 0 failed"), "{}", shown());
}

#[test]
fn a_pipe_gets_plain_lines_and_the_summary_says_everything() {
    let (site, _gate) = held();
    let output = packhorse_testkit::Backupctl::new()
        .arg("--config")
        .arg(site.path("packhorse.toml"))
        .args(["create", "--backup-id", "0002"])
        .run()
        .expect_success();
    assert!(output.stderr.contains("0002 on 0001, storages: default"), "{output:#?}");
    assert!(!output.stderr.contains(['\x1b', '\r']), "{output:#?}");
    let first = output.stdout.lines().next().expect("a first line");
    assert!(first.starts_with("Backup 0002  complete  in ") && first.ends_with('s'), "{output:#?}");
    for line in ["built on      0001", "2: 1 backed up, 1 unchanged, 0 failed", " KiB new, ", " KiB in total"]
    {
        assert!(output.stdout.contains(line), "{line}: {output:#?}");
    }
    let listing = site.ctl("packhorse.toml", ["list"]).run().expect_success().stdout;
    let rows: Vec<&str> = listing.lines().filter(|line| line.contains("000")).collect();
    assert!(rows.len() == 2 && rows[0].contains("0002") && rows[0].contains("complete"), "{listing}");
    let shown = site.ctl("packhorse.toml", ["show", "0002", "--storage", "default"]).run().expect_success();
    for named in ["0002", "complete", "0001", "default", "a.git", "group/b.git", "unchanged", "backed_up"] {
        assert!(shown.stdout.contains(named), "{named}: {}", shown.stdout);
    }
}
