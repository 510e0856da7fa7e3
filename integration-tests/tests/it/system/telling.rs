//! What operators are told: names that steer no terminal, restores and dead runs, where something is, and near names.
//!
//! Does not own: how lines are put together (`ctl`), or the keys of JSON (`json`).

use std::{fs, time::Duration};

use packhorse_testkit::{Backupctl, Binary, CliOutput, GitRepo, hermetic_command, skipped};

use super::{
    gate::Gate,
    site::{Site, json, text},
};

const SOON: Duration = Duration::from_secs(60);

fn site(more: &str) -> Site {
    let site = Site::new();
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage"));
    site.write("packhorse.toml", &(config + more));
    site.repo("storage/team/app.git").fill("main", 3);
    site
}

fn assert_steers_nothing(output: &CliOutput) {
    for told in [&output.stdout, &output.stderr] {
        let raw = told.find(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}'));
        assert!(raw.is_none(), "{raw:?} in {told:?}");
    }
}

#[test]
fn names_of_repositories_files_and_objects_steer_no_terminal() {
    const NAME: &str = "x\x1b[31m\u{9b}1m\u{202e}y";
    let site = site("[[directory]]\nname = 'up'\npath = '/nonexistent/\u{9b}31m'\n");
    fs::create_dir_all(site.path(&format!("storage/{NAME}.git/objects"))).expect("a broken repository");
    fs::create_dir_all(site.path(&format!("storage/{NAME}/objects"))).expect("a folder");
    let odd = site.repo("storage/odd.git");
    odd.fill("main", 1);
    fs::write(odd.path().join("HEAD"), format!("ref: refs/heads/{NAME}\n")).expect("write HEAD");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    let output = ctl(&["create", "--backup-id=0001", "-vvv"]).run().expect_code(3);
    assert_steers_nothing(&output);
    assert!(output.stdout.contains("x\\x1b[31m\\x9b1m\\u{202e}y.git"), "{output:#?}");
    for args in [&["show", "0001", "--failed"][..], &["show", NAME], &["find", NAME], &["list", NAME]] {
        let output = ctl(args).run();
        assert_steers_nothing(&output);
    }
    // JSON shows escapes of its own, and has the exact name.
    let output = ctl(&["create", "--json"]).run().expect_code(3);
    assert_steers_nothing(&output);
    let failures = json(&output)["failures"].as_array().cloned().expect("failures");
    let items: Vec<String> = failures.iter().map(|failure| text(&failure["item"])).collect();
    assert!(items.contains(&format!("{NAME}.git")), "{items:?}");
}

#[test]
fn a_restore_is_found_by_its_id_with_all_that_failed() {
    let site = site("");
    site.repo("storage/team/other.git").fill("main", 3);
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    // Nothing is restored, and every item is named, not only the first.
    let refused = json(&ctl(&["restore", "0001", "--json"]).run().expect_code(1));
    let failures = refused["failures"].as_array().expect("all that failed");
    let mut items: Vec<String> = failures.iter().map(|failure| text(&failure["item"])).collect();
    items.sort();
    assert_eq!(items, ["team/app.git", "team/other.git"], "{refused:#}");

    let place = format!("--storage=spare={}", site.folder("back").display());
    ctl(&["restore", "0001", &place, "--to-storage=default=spare"]).run().expect_success();
    let records = fs::read_dir(site.path("vault/packhorse/restores")).expect("records of restores");
    let names = records.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut ids: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    ids.sort_by_key(|id| {
        json(&ctl(&["show", id, "--json"]).run().expect_success())["restore"]["summary"].is_null()
    });
    let shown = json(&ctl(&["show", &ids[0], "--json"]).run().expect_success());
    let record = &shown["restore"];
    assert_eq!(text(&record["backup_id"]), "0001", "{shown:#}");
    assert_eq!(record["summary"]["storages"][0]["items"], 2, "{shown:#}");
    assert!(text(&record["requested_by"]).starts_with("uid "), "{shown:#}");
    let told = ctl(&["show", &ids[0]]).run().expect_success().stdout;
    assert!(told.contains("Restore of 0001  complete") && told.contains("asked for by  uid "), "{told}");
    let told = ctl(&["show", &ids[1]]).run().expect_success().stdout;
    assert!(told.contains("ended without success") && told.contains("already there"), "{told}");
    ctl(&["show", "restore-0-00000000"]).run().expect_code(10);
}

#[test]
fn a_run_that_was_killed_is_told_as_dead_and_one_that_was_cancelled_as_that() {
    let site = site("");
    let gate = Gate::new(&site.path("gate"), 0);
    let git = format!("--git={}", gate.git().display());
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    GitRepo::open(site.path("storage/team/app.git")).fill("main", GitRepo::COMMITS_FOR_GIT);
    gate.close();
    let mut cancelled = ctl(&["create", &git, "--backup-id=0002"]).spawn();
    gate.wait_until_reached();
    cancelled.signal(packhorse_testkit::Signal::INT);
    assert_eq!(cancelled.wait(SOON), 130, "{:#?}", cancelled.lines());
    gate.close();
    let mut killed = ctl(&["create", &git, "--backup-id=0003"]).spawn();
    gate.wait_until_reached();
    let open = json(&ctl(&["status", "--json"]).run().expect_success());
    assert_eq!(text(&open["unfinished"][0]["fate"]), "elsewhere", "its process lives: {open:#}");
    // Nobody but that process can end it: who asks here is told where it is.
    for args in [&["cancel", "0003"][..], &["cancel"], &["status", "--follow", "0003"]] {
        let output = ctl(args).run().expect_code(10);
        let pid = format!("kill {}", killed.pid());
        assert!(output.stderr.contains("0003 is not a run of this coordinator"), "{output:#?}");
        assert!(output.stderr.contains(&pid), "{output:#?}");
    }
    killed.kill();
    gate.open();
    for (id, told) in [("0001", "backup 0001 is committed"), ("0002", "asked to stop"), ("0003", "is gone")] {
        let output = ctl(&["cancel", id]).run().expect_code(10);
        assert!(output.stderr.contains(told), "{output:#?}");
    }
    let output = ctl(&["show", "0003"]).run().expect_code(10);
    assert!(output.stderr.contains("backupctl status 0003"), "{output:#?}");
    let status = json(&ctl(&["status", "--json"]).run().expect_success());
    let fates: Vec<(String, String)> = status["unfinished"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| (text(&run["backup_id"]), text(&run["fate"])))
        .collect();
    assert_eq!(fates, [("0003".into(), "dead".into()), ("0002".into(), "cancelled".into())], "{status:#}");
    let told = ctl(&["status"]).run().expect_success().stdout;
    assert!(
        told.contains("dead") && told.contains("is gone") && told.contains("asked to stop by uid"),
        "{told}"
    );
    assert!(!told.contains("under way"), "{told}");
}

#[test]
fn a_repository_is_found_in_all_backups_and_a_near_name_is_told() {
    let more = format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", env!("CARGO_MANIFEST_DIR"));
    let site = site(&more);
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=nightly-1"]).run().expect_success();
    site.repo("storage/team/late.git").fill("main", 1);
    ctl(&["create", "--backup-id=nightly-2"]).run().expect_success();
    let found = |pattern: &str| {
        let answer = json(&ctl(&["find", pattern, "--json"]).run().expect_success());
        let items = answer["found"].as_array().cloned().expect("items");
        items.iter().map(|i| format!("{} {}", text(&i["backup_id"]), text(&i["name"]))).collect::<Vec<_>>()
    };
    assert_eq!(found("app.git"), ["nightly-2 team/app.git", "nightly-1 team/app.git"]);
    assert_eq!(found("team/l*"), ["nightly-2 team/late.git"]);
    assert_eq!(found("uploads"), ["nightly-2 uploads", "nightly-1 uploads"]);
    let told = ctl(&["find", "team/app.git"]).run().expect_success().stdout;
    assert!(told.contains("nightly-2") && told.contains("unchanged") && told.contains("default"), "{told}");

    // A restore takes the path as it was found.
    let place = format!("--storage=spare={}", site.folder("spare").display());
    let restore = |args: &[&str], code: i32| {
        let place = ["restore", "nightly-2", "--force", "--to-storage=default=spare", &place];
        json(&ctl(&place).args(args).arg("--json").run().expect_code(code))
    };
    assert_eq!(restore(&["--repository=team/app.git"], 0)["storages"][0]["items"], 1);
    assert!(site.path("spare/team/app.git/HEAD").exists());
    // A name alone means the one at the top: what is replaced is named by its whole path.
    restore(&["--repository=app.git"], 1);
    assert_eq!(restore(&["--repository=**/app.git"], 0)["storages"][0]["items"], 1);
    let noted = restore(&["--repository=team", "--skip-repository=team/lat.git"], 0);
    assert_eq!(noted["storages"][0]["items"], 2, "{noted:#}");
    let problem = &noted["remarks"][0]["problem"];
    assert!(text(&problem["answer"]).contains("leaves out nothing"), "{noted:#}");
    assert_eq!(text(&problem["next"]), "did you mean team/late.git?", "{noted:#}");
    let near = |args: &[&str], code: i32, name: &str| {
        let output = ctl(args).run().expect_code(code);
        assert!(output.stderr.contains(&format!("did you mean {name}?")), "{output:#?}");
    };
    near(&["find", "team/ap.git"], 10, "team/app.git");
    near(&["show", "nigtly-2"], 10, "nightly-2");
    near(&["restore", "nightly-2", "--repository=team/ap.git", "--force"], 1, "team/app.git");
    near(&["create", "--storage=defualt"], 10, "default");
    near(&["restore", "nightly-2", "--storage=defalt"], 10, "default");
    near(&["create", "--only=upload"], 2, "uploads");

    // The beginning of an ID: refused when two begin so.
    let output = ctl(&["show", "nightly"]).run().expect_code(2);
    assert!(output.stderr.contains("nightly-1") && output.stderr.contains("nightly-2"), "{output:#?}");
    ctl(&["create", "--backup-id=1795177711_2026_11_20_0.0.0"]).run().expect_success();
    assert!(
        ctl(&["show", "1795177711"]).run().expect_success().stdout.contains("1795177711_2026_11_20_0.0.0")
    );
    fs::write(site.path("vault/backups/nightly-1/report.json"), "{").expect("damage a report");
    let output = ctl(&["find", "app.git"]).run().expect_code(4);
    assert!(output.stdout.contains("nightly-2") && output.stderr.contains("nightly-1"), "{output:#?}");
}

/// A site with two backups, the second of which has one repository more.
fn two_nights() -> Site {
    let site = site(&format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", env!("CARGO_MANIFEST_DIR")));
    site.ctl("packhorse.toml", ["create", "--backup-id=nightly-1"]).run().expect_success();
    site.repo("storage/team/late.git").fill("main", 1);
    site.ctl("packhorse.toml", ["create", "--backup-id=nightly-2"]).run().expect_success();
    site
}

#[test]
fn a_backup_is_found_by_its_date_and_what_goes_into_a_pipe_has_all_columns() {
    let site = two_nights();
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    let told = ctl(&["find", "team/app.git"]).run().expect_success().stdout;
    let shown = ctl(&["show", "nightly-2"]).run().expect_success().stdout;
    let listed = json(&ctl(&["list", "--json"]).run().expect_success());
    let made = text(&listed["backups"][0]["started_at"]);
    let (minute, second) = (format!("{} {}Z", &made[..10], &made[11..16]), format!("{}Z", &made[..19]));
    assert!(told.contains("MADE") && told.contains(&minute), "{made}: {told}");
    assert!(shown.contains(&format!("  made          {second}, incremental\n")), "{made}: {shown}");
    let told = ctl(&["list"]).run().expect_success().stdout;
    for heading in ["MADE", "AGE", "FAILED", "DB", "DIRS", "TOTAL"] {
        assert!(told.contains(heading), "into a pipe go all columns: {told}");
    }
    assert!(told.contains(&minute), "{made}: {told}");
}

#[test]
fn only_near_names_are_told_to_have_been_meant() {
    let site = two_nights();
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    let near = |args: &[&str], code: i32, name: &str| {
        let output = ctl(args).run().expect_code(code);
        assert!(output.stderr.contains(&format!("did you mean {name}?")), "{output:#?}");
    };
    near(&["find", "te"], 10, "team/app.git or team/late.git");
    let none = ctl(&["find", "nope.git"]).run().expect_code(10);
    assert!(
        !none.stderr.contains("did you mean") && none.stderr.contains("show latest --storage"),
        "{none:#?}"
    );
    near(&["create", "--repository=tema/app.git"], 1, "team/app.git");
    near(&["create", "--repository=team/lat.git", "--dry-run"], 1, "team/late.git");
    let folder = format!("--to-directory=uplaods={}", site.path("elsewhere").display());
    near(&["restore", "nightly-2", &folder], 10, "uploads");
    let named = ctl(&["restore", "nightly-2", &folder]).run().expect_code(10);
    assert!(named.stderr.contains("on      --to-directory uplaods\n"), "{named:#?}");
}

#[test]
fn a_dry_run_says_what_it_did_not_look_at_and_refuses_an_id_that_is_taken() {
    let site = site(&format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", env!("CARGO_MANIFEST_DIR")));
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    let output = ctl(&["create", "--dry-run", "--backup-id=0001"]).run().expect_success();
    assert!(output.stdout.contains("not at uploads"), "{output:#?}");
    let output = ctl(&["create", "--dry-run", "--only=repositories"]).run().expect_success();
    assert!(!output.stdout.contains("uploads"), "{output:#?}");
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    let output = ctl(&["create", "--dry-run", "--backup-id=0001"]).run().expect_code(1);
    assert!(output.stderr.contains("the backup ID is taken"), "{output:#?}");
}

#[test]
fn every_answer_names_the_vault() {
    let site = site("");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    let url = site.vault_url();
    for (args, code) in [
        (&["list"][..], 0),
        (&["show", "0001"], 0),
        (&["find", "app.git"], 0),
        (&["status"], 0),
        (&["agents"], 0),
        (&["find", "nothing"], 10),
        (&["show", "0002"], 10),
        (&["show", "latest~1"], 10),
    ] {
        let output = ctl(args).run().expect_code(code);
        assert!(output.stdout.contains(&url) || output.stderr.contains(&url), "{args:?}: {output:#?}");
    }
}

#[test]
fn credentials_that_are_missing_are_named_as_their_store_names_them() {
    // On a host without a network there is no platform either.
    let alone = hermetic_command("unshare").args(["--net", "true"]).status();
    if !alone.is_ok_and(|status| status.success()) {
        return skipped("only root can make a network namespace");
    }
    for (url, code, variable) in [
        ("s3://bucket/backups", 12, "AWS_ACCESS_KEY_ID"),
        ("gs://bucket/backups", 12, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container/backups", 2, "AZURE_STORAGE_ACCOUNT_NAME"),
    ] {
        let mut command = hermetic_command("unshare");
        command.arg("--net").arg(Binary::Backupctl.path()).args(["list", "--vault", url]);
        let output = Backupctl::from(command).run().expect_code(code);
        assert!(output.stderr.contains(&format!("set {variable}")), "{output:#?}");
    }
    let mut command = hermetic_command("unshare");
    command.arg("--net").arg(Binary::Backupctl.path()).args(["list", "--vault", "az://container/backups"]);
    let account = Backupctl::from(command).env("AZURE_STORAGE_ACCOUNT_NAME", "account");
    let output = account.run().expect_code(12);
    assert!(output.stderr.contains("set AZURE_STORAGE_ACCOUNT_KEY"), "{output:#?}");
}

#[test]
fn the_file_of_the_daemons_is_read_when_nothing_else_says_where_backups_are() {
    let site = site("");
    let config = site.path("packhorse.toml");
    let by_itself = || Backupctl::new().env("PACKHORSE_SYSTEM_CONFIG", &config);
    by_itself().args(["create", "--quiet", "--backup-id=0001"]).run().expect_success();
    let listed = by_itself().arg("list").run().expect_success().stdout;
    assert!(listed.contains("0001"), "{listed}");
    let other = Backupctl::vault_made(format!("file://{}", site.path("other").display()));
    let other = format!("--vault={other}");
    let listed = by_itself().args(["list", &other]).run().expect_success().stdout;
    assert!(listed.starts_with("no backups in"), "flags that say where backups are stand alone: {listed}");
    // A variable without a value says nothing.
    let empty = by_itself().env("PACKHORSE_COORDINATOR", "").env("PACKHORSE_VAULT", "");
    assert!(empty.arg("list").run().expect_success().stdout.contains("0001"));
    let below = Backupctl::new().env("PACKHORSE_SYSTEM_CONFIG", config.join("below"));
    let output = below.arg("list").run().expect_code(2);
    assert!(output.stderr.contains("packhorse.toml/below"), "{output:#?}");
}

#[test]
fn what_latest_passes_over_is_told_by_restore_show_and_find() {
    let site = site("");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    ctl(&["create", "--backup-id=0002", "--repository=team/app.git"]).run().expect_success();
    fs::create_dir_all(site.path("storage/broken.git/objects")).expect("a broken repository");
    ctl(&["create", "--backup-id=0003"]).run().expect_code(3);
    let remark = "2 newer backups were passed over: 0003 (incomplete), 0002 (partial)";
    let restored = json(&ctl(&["restore", "latest", "--force", "--json"]).run().expect_success());
    assert_eq!(text(&restored["backup_id"]), "0001");
    let said: Vec<String> = restored["remarks"]
        .as_array()
        .expect("remarks")
        .iter()
        .map(|remark| text(&remark["problem"]["answer"]))
        .collect();
    assert_eq!(said, [remark], "{restored:#}");
    for args in [&["restore", "latest", "--dry-run", "--force"][..], &["show", "latest"]] {
        let told = ctl(args).run().expect_success().stdout;
        assert!(told.contains(remark), "{told}");
        // A note about the backup as a whole is its sentence.
        let note = format!("  note          {remark}");
        assert!(args[0] != "restore" || told.lines().any(|line| line == note), "{told}");
    }
    let shown = json(&ctl(&["show", "latest", "--json"]).run().expect_success());
    assert_eq!(shown["passed_over"], serde_json::json!(["0003", "0002"]), "{shown:#}");
    let found = ctl(&["find", "app.git"]).run().expect_success();
    assert!(found.stderr.contains(&format!("latest is 0001: {remark}")), "{found:#?}");
    // What is before latest is not called latest, and only what is newer than that is passed over.
    ctl(&["create", "--backup-id=0004"]).run().expect_code(3);
    fs::remove_dir_all(site.path("storage/broken.git")).expect("repaired");
    ctl(&["create", "--backup-id=0005"]).run().expect_success();
    let shown = ctl(&["show", "latest~1"]).run().expect_success().stdout;
    let told = "latest is 0005, latest~1 is 0001: 3 newer backups were passed over: \
                0004 (incomplete), 0003 (incomplete), 0002 (partial)";
    assert!(shown.contains(told), "{shown}");
    let shown = ctl(&["show", "latest"]).run().expect_success().stdout;
    assert!(!shown.contains("passed over"), "{shown}");
    let nothing = ctl(&["create", "--repository=teem/*"]).run().expect_code(1).stderr;
    assert!(nothing.contains("`backupctl find 'teem/*'`"), "{nothing}");
    // Whoever names a backup, or counts all of them, passes over none.
    for args in [&["show", "0001"][..], &["show", "latest~1", "--partial"]] {
        let told = ctl(args).run().expect_success().stdout;
        assert!(!told.contains("passed over"), "{told}");
    }
}

#[test]
fn json_names_every_failure_however_many() {
    const MANY: usize = 1_100;
    let site = site("");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", ["--json"]).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    let patterns: Vec<String> =
        (0..MANY).map(|number| format!("--repository=nowhere/{number}.git")).collect();
    let names = |call: Backupctl, code: i32| {
        let answer = json(&call.args(&patterns).run().expect_code(code));
        let failures = answer["failures"].as_array().expect("failures");
        let names: std::collections::BTreeSet<String> =
            failures.iter().map(|failure| text(&failure["item"])).collect();
        names.len()
    };
    assert_eq!(names(ctl(&["restore", "0001", "--force", "--repository=team/app.git"]), 3), MANY);
    assert_eq!(names(ctl(&["create", "--repository=team/app.git"]), 3), MANY);
    // Nothing is restored: the error has them all, too.
    assert_eq!(names(ctl(&["restore", "0001"]), 1), MANY);
}
