//! What goes wrong around a backup: damage to what it builds on, storages that are not mounted, vaults in the wrong place,
//! backups that lack something.
//!
//! Does not own: damage that a restore must find (`damage`).

use std::fs;

use packhorse_testkit::GitRepo;

use super::{
    exit_codes::codes::assert_fails,
    site::{Site, assert_restored, json, listed, text},
};

/// Two storages with a repository each.
fn site() -> Site {
    let site = Site::new();
    let config = format!(
        "[vault]\nurl = '{}'\n{}{}",
        site.vault_url(),
        site.storage_section("default", "storage"),
        site.storage_section("second", "other")
    );
    site.write("packhorse.toml", &config);
    site.repo("storage/a.git").fill("main", 5);
    site.repo("other/b.git").fill("main", 5);
    site
}

#[test]
fn a_damaged_base_costs_a_new_chain_and_not_the_next_backup() {
    let site = site();
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    let catalogue = site.path("vault/backups/0001/repositories/default.jsonl.zst");
    let mut bytes = fs::read(&catalogue).expect("read catalogue");
    bytes[20] ^= 1;
    fs::write(&catalogue, bytes).expect("damage catalogue");
    let output = ctl(&["create", "--backup-id=0002"]).run().expect_success();
    assert!(
        output.stderr.contains("gets a new chain") && output.stderr.contains("default.jsonl.zst"),
        "{output:#?}"
    );
    assert!(output.stdout.contains("1 backed up, 1 unchanged"), "{output:#?}");
    assert!(output.stdout.contains("is not known"), "what was deleted since cannot be told: {output:#?}");
    fs::remove_file(site.path("vault/backups/0002/repositories/default.jsonl.zst"))
        .expect("remove catalogue");
    ctl(&["create", "--backup-id=0003"]).run().expect_success();
    let state = GitRepo::open(site.path("storage/a.git")).state();
    let place = format!("--storage=default={}", site.folder("back").display());
    ctl(&["restore", "0003", &place]).run().expect_success();
    assert_restored(&state, site.path("back/a.git"));
}

#[test]
fn what_a_backup_lacks_is_named_by_its_restore() {
    let site = Site::new();
    let config = |more: &str| {
        format!(
            "[vault]\nurl = '{}'\n{}{}[[directory]]\nname = 'uploads'\npath = '{}'\n{more}",
            site.vault_url(),
            site.storage_section("default", "storage"),
            site.storage_section("second", "other"),
            site.path("uploads").display()
        )
    };
    let port = packhorse_testkit::free_port();
    let database = format!("[[database]]\nname = 'main'\nurl = 'postgresql://x@127.0.0.1:{port}/forge'\n");
    site.write("packhorse.toml", &config(&database));
    site.repo("storage/a.git").fill("main", 5);
    fs::remove_dir_all(site.path("other")).expect("remove a storage");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_code(3);

    site.folder("other");
    site.folder("uploads");
    fs::remove_dir_all(site.path("storage/a.git")).expect("remove a repository");
    let summary = json(&ctl(&["restore", "0001", "--json"]).run().expect_code(3));
    let failures = summary["failures"].as_array().expect("failures");
    let mut missing: Vec<String> = failures.iter().map(|failure| text(&failure["component"])).collect();
    missing.sort();
    assert_eq!(missing, ["db", "repositories", "uploads"], "{summary:#}");
    assert!(failures.iter().all(|failure| failure.to_string().contains("does not hold it")), "{summary:#}");
    assert!(site.path("storage/a.git/HEAD").exists());
    // Alone, each is no such thing in this backup; what was not asked for is not missed.
    for args in [["restore", "0001", "--only=uploads"], ["restore", "0001", "--storage=second"]] {
        assert_fails(|| ctl(&args), 10, "not_found", "backup", "does not hold it");
    }
    fs::remove_dir_all(site.path("storage/a.git")).expect("remove a repository");
    ctl(&["restore", "0001", "--storage=default"]).run().expect_success();
}

#[test]
fn another_place_for_one_storage_leaves_the_others_alone() {
    let site = site();
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    let live = GitRepo::open(site.path("other/b.git"));
    live.fill("live-only", 1);
    let state = live.state();
    let place = format!("--storage=spare={}", site.folder("spare").display());
    ctl(&["restore", "0001", "--force", &place, "--to-storage=default=spare"]).run().expect_success();
    assert!(site.path("spare/a.git/HEAD").exists());
    assert_restored(&state, site.path("other/b.git"));
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let site = site();
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    let into_full = |args: &[&str], code: i32, told: &str| {
        let mut call = packhorse_testkit::hermetic_command(packhorse_testkit::Binary::Backupctl.path());
        call.arg("--config").arg(site.path("packhorse.toml")).args(args);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("open /dev/full");
        let output = call.stdout(full).output().expect("backupctl starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code), "{args:?}: {output:?}");
        assert!(stderr.contains("write the result") && stderr.contains(told), "{args:?}: {stderr}");
    };
    // Nothing was done: 1 keeps its promise.
    into_full(&["list", "--json"], 1, "");
    into_full(&["create", "--json", "--dry-run"], 1, "");
    assert_eq!(listed(site.ctl("packhorse.toml", [])), ["0001"]);
    // Something was done: stderr says what, and the code is not that of "nothing committed".
    into_full(&["create", "--json", "--backup-id=0002", "--quiet"], 5, "Backup 0002  complete");
    assert_eq!(listed(site.ctl("packhorse.toml", [])), ["0002", "0001"]);
    let place = format!("--storage=spare={}", site.folder("back").display());
    into_full(&["restore", "0002", &place, "--to-storage=default=spare"], 5, "Restore of 0002");
    fs::write(site.path("storage/a.git/HEAD"), "nonsense\n").expect("damage a repository");
    into_full(&["create", "--json", "--backup-id=0003", "--quiet"], 3, "a.git");
}

#[test]
fn questions_and_flags_that_name_nothing_or_too_much() {
    let site = site();
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    assert_fails(|| ctl(&["show", "0001", "--storage=nope"]), 10, "not_found", "backup", "nope");
    let twice = || ctl(&["create", "--storage=default=/a", "--storage=default=/b"]);
    assert_fails(twice, 2, "invalid", "configuration", "two paths");
    let git = || ctl(&["create", "--git=/bin/true"]);
    assert_fails(git, 1, "unavailable", "host", "does not say that it is git");
}
