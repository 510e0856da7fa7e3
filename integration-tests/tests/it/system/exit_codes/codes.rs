//! Codes that need no server: 0, 1, 2, 3, 4, 10, 130 and 143, in embedded mode.
//!
//! Does not own: rejected credentials and unusable vaults (`stores`).

use std::{fs, time::Duration};

use packhorse_testkit::{Backupctl, Signal};

use super::super::{
    gate::Gate,
    site::{Site, assert_restored, json, listed, objects, text},
};

/// Checks the code, the text on stderr and, with `--json`, the object on stdout; `named` is in both.
#[track_caller]
pub fn assert_fails(call: impl Fn() -> Backupctl, code: i32, kind: &str, subject: &str, named: &str) {
    let output = call().run().expect_code(code);
    assert!(output.stdout.is_empty(), "{output:#?}");
    assert!(output.stderr.contains("error: ") && output.stderr.contains(named), "{output:#?}");
    let output = call().arg("--json").run().expect_code(code);
    let answer = json(&output);
    assert_eq!(answer["exit_code"], code, "{answer:#}");
    let error = &answer["error"];
    assert_eq!(
        (error["kind"].as_str(), error["subject"].as_str()),
        (Some(kind), Some(subject)),
        "{answer:#}"
    );
    assert!(!text(&error["what"]).is_empty() && error.to_string().contains(named), "{answer:#}");
}

fn site_with(repositories: &[&str]) -> Site {
    let site = Site::new();
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage"));
    site.write("packhorse.toml", &config);
    for path in repositories {
        site.repo(&format!("storage/{path}")).fill("main", 5);
    }
    site
}

#[test]
fn two_for_flags_and_configuration() {
    let site = site_with(&["a.git"]);
    for (args, named) in [
        (["create", "--fool"], "--fool"),
        (["create", "--storage=in/valid"], "in/valid"),
        (["create", "--storage=backups"], "backups"),
        (["create", "--backup-id=latest"], "reserved"),
        (["restore", "--force"], "<BACKUP>"),
        (["restore", "latest~x"], "latest~x"),
        (["dance", "--json"], "dance"),
    ] {
        let output = site.ctl("packhorse.toml", args).run().expect_code(2);
        assert!(output.stdout.is_empty() && output.stderr.contains(named), "{output:#?}");
    }
    for (config, named) in [
        ("[vault]\nurl = 'file:///x'\ncolour = 'red'\n", "colour"),
        ("[vault]\nurl = 'file:///x'\n[[storage]]\nname = 'a'\n", "path"),
        ("[storage]\n", "storage"),
        ("", "no vault is configured"),
        ("[vault]\nurl = 'ftp://x/y'\n", "ftp"),
        ("[vault]\nurl = 's3://user:pass@x/y'\n", "credentials"),
        (
            "[vault]\nurl = 'file:///x'\n[[agent]]\naddress = 'http://192.0.2.1:1'\n[coordinator]\nlisten = 1\n",
            "listen",
        ),
    ] {
        site.write("bad.toml", config);
        let subject = if ["ftp", "credentials"].contains(&named) { "vault" } else { "configuration" };
        assert_fails(|| site.ctl("bad.toml", ["list"]), 2, "invalid", subject, named);
    }
    assert_fails(|| site.ctl("missing.toml", ["list"]), 2, "invalid", "configuration", "missing.toml");
    site.write("bad.toml", "");
    for (config, next) in [
        ("bad.toml", "--coordinator (PACKHORSE_COORDINATOR)"),
        ("missing.toml", "correct the path, or make the file"),
        ("", "name the file in it"),
    ] {
        let output = site.ctl(config, ["list"]).run().expect_code(2);
        assert!(output.stderr.contains(next), "{output:#?}");
    }
    assert_fails(
        || site.ctl("packhorse.toml", ["create", "--only=uploads"]),
        2,
        "invalid",
        "configuration",
        "uploads",
    );
    let incremental = || site.ctl("packhorse.toml", ["create", "--incremental"]);
    assert_fails(incremental, 2, "invalid", "backup", "no backup of this storage");
    let left = objects(&site.path("vault"));
    assert!(left.keys().eq(["packhorse/format.json"]), "a usage error wrote something: {left:?}");
}

#[test]
fn ten_for_backups_and_storages_that_do_not_exist() {
    let site = site_with(&["a.git"]);
    let ctl = |args| site.ctl("packhorse.toml", args);
    assert_fails(|| ctl(["restore", "latest"]), 10, "not_found", "backup", "there is no backup in ");
    assert_fails(|| ctl(["show", "latest"]), 10, "not_found", "backup", "latest");
    assert_fails(|| ctl(["show", "1234"]), 10, "not_found", "backup", "1234");
    assert_fails(|| ctl(["create", "--storage=nope"]), 10, "not_found", "backup", "nope");
    assert_eq!(listed(site.ctl("packhorse.toml", [])), [""; 0]);
    ctl(["create", "--backup-id=0001"]).run().expect_success();
    assert_fails(|| ctl(["restore", "latest~1"]), 10, "not_found", "backup", "latest~1");
    let storage = || ctl(["restore", "0001"]).arg("--storage=nope");
    assert_fails(storage, 10, "not_found", "backup", "nope");
    assert_fails(
        || ctl(["restore", "0001"]).arg("--to-storage=default=nope"),
        10,
        "not_found",
        "backup",
        "nope",
    );
}

#[test]
fn one_when_nothing_was_done_and_three_when_something_is_missing() {
    let site = site_with(&["a.git", "b.git"]);
    let ctl = |args| site.ctl("packhorse.toml", args);
    ctl(["create", "--backup-id=0001"]).run().expect_success();
    assert_fails(|| ctl(["create", "--backup-id=0001"]), 1, "already_exists", "vault", "0001");
    let state = packhorse_testkit::GitRepo::open(site.path("storage/a.git")).state();
    assert_fails(|| ctl(["restore", "0001"]), 1, "already_exists", "repository", "--force");
    assert_restored(&state, site.path("storage/a.git"));

    // One of two is there already: the other one is restored, and the code says that not all was done.
    fs::remove_dir_all(site.path("storage/b.git")).expect("remove a repository");
    let output = ctl(["restore", "0001"]).run().expect_code(3);
    assert!(output.stdout.contains("a.git") && output.stdout.contains("INCOMPLETE"), "{output:#?}");
    assert!(site.path("storage/b.git/HEAD").exists());

    fs::write(site.path("storage/b.git/HEAD"), "nonsense\n").expect("damage a repository");
    let output = ctl(["create", "--backup-id=0002"]).run().expect_code(3);
    assert!(output.stdout.contains("b.git"), "{output:#?}");
    let summary = json(&ctl(["create", "--json"]).run().expect_code(3));
    assert_eq!(
        (text(&summary["state"]), text(&summary["failures"][0]["item"])),
        ("incomplete".into(), "b.git".into())
    );
    let listing = ctl(["list", "--json"]).run().expect_success();
    assert_eq!(text(&json(&listing)["backups"][0]["state"]), "incomplete");

    fs::write(site.path("vault/backups/0001/backup_information.json"), "{").expect("damage a record");
    let output = ctl(["list", "--json"]).run().expect_code(4);
    assert!(json(&output)["unreadable"][0].to_string().contains("0001"), "{output:#?}");
    assert_fails(|| ctl(["show", "0001"]), 4, "corrupt", "vault", "0001");
}

#[test]
fn a_signal_ends_an_embedded_run_with_its_code() {
    let site = site_with(&["a.git"]);
    let gate = Gate::new(&site.path("gate"), 0);
    let git = format!("--git={}", gate.git().display());
    let create = |id: &str| site.ctl("packhorse.toml", ["create", &git, "--backup-id", id]);
    create("0001").run().expect_success();
    let state = site.repo("storage/a.git").state();
    packhorse_testkit::GitRepo::open(site.path("storage/a.git"))
        .fill("main", packhorse_testkit::GitRepo::COMMITS_FOR_GIT);
    for (signal, code, id) in [(Signal::INT, 130, "0002"), (Signal::TERM, 143, "0003")] {
        gate.close();
        let mut run = create(id).spawn();
        gate.wait_until_reached();
        run.signal(signal);
        assert_eq!(run.wait(Duration::from_secs(60)), code);
        assert!(run.lines().join("\n").contains("nothing was committed"), "{:#?}", run.lines());
        gate.open();
        assert_eq!(listed(site.ctl("packhorse.toml", [])), ["0001"]);
    }
    let place = format!("--storage=default={}", site.folder("back").display());
    site.ctl("packhorse.toml", ["restore", "latest", &place]).run().expect_success();
    assert_restored(&state, site.path("back/a.git"));
}
