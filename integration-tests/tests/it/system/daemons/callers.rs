//! Callers and coordinators that go away while a run is under way.
//!
//! Does not own: agents that go away. A caller that dies changes nothing and may come back; one that is interrupted, or
//! cancels, stops its run; the run of a coordinator that stops or dies is resumed by the next one.

use packhorse_testkit::{Binary, Daemon, Signal, wait_until};

use super::{
    super::{
        json::assert_documented,
        site::{json, listed, text},
    },
    Fleet, SOON,
};

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
    let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
    let task = &status["tasks"][0];
    assert_eq!([text(&task["backup_id"]), text(&task["state"])], ["0002", "running"], "{status:#}");
    assert_eq!(status["unfinished"][0]["here"], true, "{status:#}");
    let mut follower = fleet.ctl(["status", "0002", "--follow", "--json"]).spawn();
    fleet.gate.open();
    wait_until("the commit of the run", SOON, || match &listed(fleet.ctl([]))[..] {
        [newest, _] if newest == "0002" => Ok(()),
        ids => Err(format!("{ids:?}")),
    });
    assert_eq!(follower.wait(SOON), 0, "{:#?}", follower.lines());
    let summary: serde_json::Value =
        serde_json::from_str(&follower.stdout_lines().join("\n")).expect("the run's summary");
    assert_eq!(text(&summary["backup_id"]), "0002");
    fleet.ctl(["status", "0002", "--follow"]).run().expect_success();
    let status = fleet.ctl(["status"]).run().expect_success();
    assert!(!status.stdout.contains("UNFINISHED"), "{}", status.stdout);
    fleet.assert_restores("0002", &states);
    fleet.stop(&[]);
}

#[test]
fn a_watcher_that_is_interrupted_leaves_and_cancels_nothing() {
    let (fleet, mut run) = held();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let address = format!("unix://{}", fleet.site.path("coordinator.sock").display());
        let watch = ["--coordinator", &address, "status", "0002", "--follow"];
        let mut watcher = packhorse_testkit::Backupctl::new().args(watch).spawn();
        watcher.wait_for_line("following 0002", SOON);
        watcher.signal(signal);
        assert_eq!(watcher.wait(SOON), code, "{:#?}", watcher.lines());
        let told = watcher.lines().join("\n");
        for part in ["only the watching has ended", "`backupctl status --follow 0002`"] {
            assert!(told.contains(part), "{told}");
        }
    }
    let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
    assert_eq!(text(&status["tasks"][0]["state"]), "running", "{status:#}");
    fleet.gate.open();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    assert_eq!(listed(fleet.ctl([])), ["0002", "0001"]);
    fleet.stop(&[]);
}

#[test]
fn who_asked_for_what_is_in_the_log_and_in_what_show_tells() {
    let mut fleet = Fleet::start();
    fleet.ctl(["create", "--backup-id", "0001", "--full"]).run().expect_success();
    let folder = std::fs::metadata(fleet.site.path("")).expect("the site's folder");
    let me = format!("uid {}", std::os::unix::fs::MetadataExt::uid(&folder));
    let shown = json(&fleet.ctl(["show", "0001", "--json"]).run().expect_success());
    assert!(text(&shown["requested_by"]).contains(&me), "{shown:#}");
    let told = fleet.ctl(["show", "0001"]).run().expect_success().stdout;
    assert!(told.contains(&format!("asked for by  {me}")), "{told}");
    let log = fleet.coordinator().lines();
    let audit = |line: &&String| {
        line.contains(" INFO ") && line.contains("a backup was asked for") && line.contains(&me)
    };
    let line = log.iter().find(audit).unwrap_or_else(|| panic!("{log:#?}"));
    assert!(line.contains("0001") && line.contains("mode full"), "{line}");
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
        fleet.stop(&["ended without success"]);
    }
}

#[test]
fn a_cancelled_run_says_what_is_kept_and_the_next_one_uses_it() {
    let (fleet, mut run) = held();
    let cancelled = fleet.ctl(["cancel", "--json"]).run().expect_success();
    assert_documented("cancel", std::slice::from_ref(&cancelled));
    let cancelled = json(&cancelled);
    assert_eq!((text(&cancelled["run"]), &cancelled["cancelled"]), ("0002".into(), &true.into()));
    assert!(text(&cancelled["end"]["state"]).contains("nothing was committed"), "{cancelled:#}");
    assert_eq!(run.wait(SOON), 130, "{:#?}", run.lines());
    fleet.gate.open();
    let status = fleet.ctl(["status", "--json"]).run().expect_success();
    assert_documented("status", std::slice::from_ref(&status));
    let status = json(&status);
    let unfinished = &status["unfinished"][0];
    assert_eq!((text(&unfinished["backup_id"]), &unfinished["here"]), ("0002".into(), &false.into()));
    assert_eq!(text(&unfinished["end"]["kind"]), "cancelled", "{status:#}");
    assert_eq!(
        (text(&unfinished["fate"]), text(&status["tasks"][0]["state"])),
        ("cancelled".into(), "cancelled".into())
    );
    let nothing = fleet.ctl(["cancel"]).run().expect_code(10);
    assert!(nothing.stderr.contains("nothing is under way"), "{}", nothing.stderr);
    fleet.ctl(["cancel", "0009"]).run().expect_code(10);
    let states = fleet.states();
    let id = next_run(&fleet);
    fleet.assert_restores(&id, &states);
    let status = json(&fleet.ctl(["status", "--json"]).run().expect_success());
    assert_eq!(status["unfinished"].as_array().map(Vec::len), Some(1), "it stays in the journal: {status:#}");
    fleet.stop(&["ended without success"]);
}

#[test]
fn two_coordinators_do_no_harm() {
    let (fleet, mut run) = held();
    let config = std::fs::read_to_string(fleet.site.path("coordinator.toml")).expect("configuration");
    fleet
        .site
        .write("other.toml", &config.replace("coordinator.sock", "other.sock").replace("'60s'", "'1s'"));
    let mut other = fleet.daemon(Binary::Coordinator, "other", "coordinator ready");
    let other_ctl = |args: &[&str]| {
        let address = format!("unix://{}", fleet.site.path("other.sock").display());
        packhorse_testkit::Backupctl::new().args(["--coordinator", &address]).args(args)
    };
    let refused = other_ctl(&["create", "--backup-id", "0003", "--storage", "default"]).run().expect_code(14);
    assert!(refused.stderr.contains("busy with backup 0002"), "{}", refused.stderr);
    assert_eq!(listed(other_ctl(&[])), ["0001"]);
    let status = json(&other_ctl(&["status", "--json"]).run().expect_success());
    assert_eq!(status["tasks"].as_array().map(Vec::len), Some(1), "its own that failed: {status:#}");
    let ids: Vec<String> =
        status["unfinished"].as_array().expect("runs").iter().map(|run| text(&run["backup_id"])).collect();
    assert_eq!(ids, ["0003", "0002"], "{status:#}");
    let states = fleet.states();
    fleet.gate.open();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    other_ctl(&["create", "--backup-id", "0004"]).run().expect_success();
    fleet.assert_restores("0002", &states);
    fleet.assert_restores("0004", &states);
    assert_eq!(other.terminate(), 0);
    other.assert_no_complaints(&["ended without success", "agent busy, trying again"]);
    fleet.stop(&[]);
}
