//! Backups that nobody asks for.
//!
//! Does not own: when a cron expression is due (the coordinator's own tests). Expressions with seconds keep tests short.

use std::fs;

use packhorse_testkit::{Binary, GitRepo, wait_until};
use sha2::{Digest as _, Sha256};

use super::{
    super::site::{json, listed, text},
    Host, SOON,
};

/// A yearly schedule, so that its last time has long passed and its next one does not come during a test.
fn yearly(catch_up: &str) -> String {
    format!("[[schedule]]\nname = 'yearly'\ncron = '0 0 1 1 *'\ntime_zone = 'UTC'\ncatch_up = '{catch_up}'\n")
}

/// A schedule of this name that is due every other second.
fn often(name: &str) -> String {
    format!("[[schedule]]\nname = '{name}'\ncron = '*/2 * * * * *'\n")
}

/// Has a schedule make a backup, and moves what there is into a past year: a schedule that never made one has missed none.
fn made_long_ago(host: &mut Host, name: &str) {
    restart(host, &often(name), "scheduled backup ended");
    stop_coordinator(host);
    for id in committed(host) {
        move_into_the_past(host, &id);
    }
}

/// The backups in the vault, also while there is no coordinator.
fn committed(host: &Host) -> Vec<String> {
    let folders = fs::read_dir(host.site.path("vault/backups")).expect("backups");
    let is_committed = |path: &std::path::PathBuf| path.join("backup_information.json").exists();
    let folders = folders.map(|entry| entry.expect("an entry").path()).filter(is_committed);
    folders.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

/// Lets what is under way come to its end first.
fn stop_coordinator(host: &mut Host) {
    if let Some(mut coordinator) = host.coordinator.take() {
        assert_eq!(coordinator.terminate(), 0, "{}", coordinator.lines().join("\n"));
    }
}

fn restart(host: &mut Host, schedules: &str, line: &str) -> String {
    stop_coordinator(host);
    host.configure_coordinator(schedules);
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    host.coordinator().wait_for_line(line, SOON)
}

/// Writes another year into a report and into the record that names it.
fn move_into_the_past(host: &Host, id: &str) {
    let folder = host.site.path("vault/backups").join(id);
    let edit = |name: &str, edit: &dyn Fn(String) -> String| {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, edit(text)).expect("write");
    };
    let digest = || {
        let bytes = fs::read(folder.join("report.json")).expect("read");
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let before = digest();
    // The year of every time that is a value of these keys.
    let aged = |text: String| {
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            lines.push(match line.split_once("_at\": \"") {
                Some((key, time)) => format!("{key}_at\": \"2001{}", &time[4..]),
                None => line.to_owned(),
            });
        }
        lines.join("\n") + "\n"
    };
    edit("report.json", &aged);
    let after = digest();
    edit("backup_information.json", &|text| aged(text).replace(&before, &after));
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
    // A new schedule begins at its next time.
    restart(&mut host, &yearly("9000h"), "next scheduled backup");
    made_long_ago(&mut host, "yearly");
    let before = committed(&host).len();
    let line = restart(&mut host, &yearly("1h"), "missed and is too late");
    assert!(line.contains("yearly") && line.contains("-01-01T00:00:00Z"), "{line}");
    assert_eq!(listed(host.ctl([])).len(), before);
    // What status tells of the schedule: its last time, and the next one.
    let told = |host: &Host| {
        let status = json(&host.ctl(["status", "--json"]).run().expect_success());
        let schedule = status["schedules"][0].clone();
        assert!(text(&schedule["next_at"]).ends_with("-01-01T00:00:00Z"), "{status:#}");
        (text(&schedule["last_state"]), text(&schedule["last_backup_id"]))
    };
    assert_eq!(told(&host), ("missed".to_owned(), String::new()));

    restart(&mut host, &yearly("9000h"), "scheduled backup ended");
    assert_eq!(listed(host.ctl([])).len(), before + 1);
    let made = ("complete".to_owned(), listed(host.ctl([]))[0].clone());
    assert_eq!(told(&host), made);
    restart(&mut host, &yearly("9000h"), "next scheduled backup");
    assert_eq!(told(&host), made, "the journal says whose it is, also in the next life");
    assert_eq!(listed(host.ctl([])).len(), before + 1, "the vault knows that it was made");
    host.stop(&[]);
}

#[test]
fn a_scheduled_run_that_goes_on_after_a_crash_is_told_as_one() {
    let mut host = Host::start();
    made_long_ago(&mut host, "yearly");
    GitRepo::open(host.site.path("default/app.git")).fill("main", GitRepo::COMMITS_FOR_GIT);
    host.gate.close();
    host.configure_coordinator(&yearly("9000h"));
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    host.gate.wait_until_reached();
    host.coordinator.as_mut().expect("a coordinator").kill();
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    host.coordinator().wait_for_line("is resuming run", SOON);
    host.coordinator().wait_for_line("next scheduled backup", SOON);
    host.gate.open();
    let line = host.coordinator().wait_for_line("scheduled backup ended", SOON);
    assert!(line.contains("schedule=\"yearly\"") && line.contains("state=\"complete\""), "{line}");
    let status = json(&host.ctl(["status", "--json"]).run().expect_success());
    let schedule = &status["schedules"][0];
    assert_eq!(text(&schedule["last_state"]), "complete", "{status:#}");
    assert_eq!(text(&schedule["last_backup_id"]), listed(host.ctl([]))[0]);
    // The run of last time is not due once more.
    let lines = host.coordinator().lines();
    assert!(
        !lines.iter().any(|line| line.contains(LEFT_OUT) || line.contains("backup starts")),
        "{lines:#?}"
    );
    // One that somebody asked for leaves its end, too.
    host.ctl(["create"]).run().expect_success();
    let line = host.coordinator().wait_for_line("INFO backup ended", SOON);
    assert!(line.contains("who=") && line.contains("unchanged="), "{line}");
    host.stop(&[]);
}

#[test]
fn a_scheduled_run_that_fails_says_so_and_leaves_the_coordinator_well() {
    let mut host = Host::start();
    let nowhere = often("nowhere") + "storages = ['nowhere']\n";
    let line = restart(&mut host, &nowhere, "scheduled backup failed");
    assert!(
        line.contains("ERROR") && line.contains("nowhere") && line.contains("correct the name"),
        "{line}"
    );
    host.ctl(["create"]).run().expect_success();
    host.stop(&["scheduled backup failed", "run or restore ended without success", LEFT_OUT]);
}

#[test]
fn what_a_schedule_leaves_out_is_not_in_its_backup_and_does_not_count_for_others() {
    let mut host = Host::start();
    host.site.folder("uploads");
    let directory =
        format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", host.site.path("uploads").display());
    let only = "only = ['uploads']\n";
    made_long_ago(&mut host, "yearly");
    let line = restart(&mut host, &(directory.clone() + &often("files") + only), "scheduled backup ended");
    assert!(line.contains("directories=1") && line.contains("backed_up=0"), "{line}");

    // The backup of the files is newer than the time of the yearly one, which is of everything.
    let files = yearly("9000h").replace("yearly", "files") + only;
    let line = restart(&mut host, &(directory + &files + &yearly("9000h")), "scheduled backup ended");
    assert!(line.contains("yearly") && line.contains("directories=1"), "{line}");
    host.stop(&[]);
}

#[test]
fn what_is_missing_from_a_scheduled_backup_is_named_in_the_log() {
    let mut host = Host::start();
    let nobody = format!("http://127.0.0.1:{}", packhorse_testkit::free_port());
    let schedules = format!("[[agent]]\naddress = '{nobody}'\n") + &often("often");
    let line = restart(&mut host, &schedules, "scheduled backup is incomplete");
    assert!(line.contains("WARN") && line.contains("missing=1") && line.contains(&nobody), "{line}");
    let ids = listed(host.ctl([]));
    let id = ids.last().expect("a backup");
    assert!(line.contains(&format!("backupctl show {id} --failed")), "{line}");
    let stopped = ["run or restore ended without success", "job ended without success"];
    host.stop(&[
        "scheduled backup is incomplete",
        LEFT_OUT,
        "scheduled backup failed",
        stopped[0],
        stopped[1],
    ]);
}
