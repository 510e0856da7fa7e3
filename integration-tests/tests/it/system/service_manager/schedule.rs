//! Backups that nobody asks for.
//!
//! Does not own: when a cron expression is due (the coordinator's own tests). Expressions with seconds keep tests short.

use packhorse_testkit::{Binary, GitRepo, wait_until};

use super::{
    super::site::{json, listed, text},
    Host, SOON,
};

/// A yearly schedule, so that its last time has long passed and its next one does not come during a test.
fn yearly(catch_up: &str) -> String {
    format!("[[schedule]]\nname = 'yearly'\ncron = '0 0 1 1 *'\ntime_zone = 'UTC'\ncatch_up = '{catch_up}'\n")
}

const LEFT_OUT: &str = "scheduled backup is left out";

#[test]
fn backups_are_made_by_themselves_and_never_two_at_once() {
    let mut host = Host::start();
    host.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    GitRepo::open(host.site.path("default/app.git")).fill("main", GitRepo::COMMITS_FOR_GIT);
    host.gate.close();
    host.configure_coordinator("[[schedule]]\nname = 'often'\ncron = '*/2 * * * * *'\n");
    host.gate.wait_until_reached();
    let line = host.coordinator().wait_for_line(LEFT_OUT, SOON);
    assert!(line.contains("often") && line.contains("run ") && line.contains("skipped=1"), "{line}");
    host.coordinator().wait_for_line("skipped=2", SOON);
    assert_eq!(listed(host.ctl([])), ["0001"], "the first one is still held");
    host.gate.open();
    let line = host.coordinator().wait_for_line("scheduled backup ended", SOON);
    assert!(
        line.contains("often") && line.contains("state=\"complete\"") && line.contains("backed_up=1"),
        "{line}"
    );
    wait_until("a third backup", SOON, || match listed(host.ctl([])).len() {
        count if count >= 3 => Ok(()),
        count => Err(format!("{count} backups")),
    });
    // A run that is under way is stopped with the coordinator.
    let stopped = ["run or restore ended without success", "job ended without success"];
    host.stop(&[LEFT_OUT, "scheduled backup failed", stopped[0], stopped[1]]);
}

#[test]
fn what_was_missed_is_made_once_after_the_start_and_not_when_it_is_too_late() {
    let mut host = Host::start();
    let restarted = |host: &mut Host, catch_up: &str, line: &str| {
        host.coordinator = None;
        host.configure_coordinator(&yearly(catch_up));
        host.coordinator = Some(host.daemon(Binary::Coordinator));
        host.coordinator().wait_for_line(line, SOON)
    };
    let line = restarted(&mut host, "1h", "missed and is too late");
    assert!(line.contains("yearly") && line.contains("-01-01T00:00:00Z"), "{line}");
    assert!(listed(host.ctl([])).is_empty());
    // What status tells of the schedule: its last time, and the next one.
    let told = |host: &Host| {
        let status = json(&host.ctl(["status", "--json"]).run().expect_success());
        let schedule = status["schedules"][0].clone();
        assert!(text(&schedule["next_at"]).ends_with("-01-01T00:00:00Z"), "{status:#}");
        (text(&schedule["last_state"]), text(&schedule["last_backup_id"]))
    };
    assert_eq!(told(&host), ("missed".to_owned(), String::new()));

    restarted(&mut host, "9000h", "scheduled backup ended");
    assert_eq!(listed(host.ctl([])).len(), 1);
    let made = ("complete".to_owned(), listed(host.ctl([]))[0].clone());
    assert_eq!(told(&host), made);
    restarted(&mut host, "9000h", "next scheduled backup");
    assert_eq!(told(&host), made, "the journal says whose it is, also in the next life");
    assert_eq!(listed(host.ctl([])).len(), 1, "the vault knows that it was made");
    host.stop(&[]);
}

#[test]
fn a_scheduled_run_that_fails_says_so_and_leaves_the_coordinator_well() {
    let mut host = Host::start();
    host.coordinator = None;
    host.configure_coordinator(&(yearly("9000h") + "storages = ['nowhere']\n"));
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    let line = host.coordinator().wait_for_line("scheduled backup failed", SOON);
    assert!(
        line.contains("ERROR") && line.contains("nowhere") && line.contains("correct the name"),
        "{line}"
    );
    host.ctl(["create"]).run().expect_success();
    host.stop(&["scheduled backup failed", "run or restore ended without success"]);
}

#[test]
fn what_a_schedule_leaves_out_is_not_in_its_backup_and_does_not_count_for_others() {
    let mut host = Host::start();
    host.site.folder("uploads");
    let directory =
        format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", host.site.path("uploads").display());
    host.coordinator = None;
    let files = yearly("9000h").replace("yearly", "files") + "only = ['uploads']\n";
    host.configure_coordinator(&(directory.clone() + &files));
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    let line = host.coordinator().wait_for_line("scheduled backup ended", SOON);
    assert!(line.contains("directories=1") && line.contains("backed_up=0"), "{line}");

    host.coordinator = None;
    host.configure_coordinator(&(directory + &files + &yearly("9000h")));
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    let line = host.coordinator().wait_for_line("scheduled backup ended", SOON);
    assert!(line.contains("yearly") && line.contains("backed_up=1"), "{line}");
    host.stop(&[]);
}

#[test]
fn what_is_missing_from_a_scheduled_backup_is_named_in_the_log() {
    let mut host = Host::start();
    host.coordinator = None;
    let nobody = format!("http://127.0.0.1:{}", packhorse_testkit::free_port());
    host.configure_coordinator(&(format!("[[agent]]\naddress = '{nobody}'\n") + &yearly("9000h")));
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    let line = host.coordinator().wait_for_line("scheduled backup is incomplete", SOON);
    assert!(line.contains("WARN") && line.contains("missing=1") && line.contains(&nobody), "{line}");
    let id = &listed(host.ctl([]))[0];
    assert!(line.contains(&format!("backupctl show {id} --failed")), "{line}");
    host.stop(&["scheduled backup is incomplete"]);
}
