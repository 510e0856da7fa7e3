//! Disks that do not take what was written: a backup is not committed, a restore says what it left, and nothing that was
//! there before is replaced.
//!
//! Does not own: full disks and folders without rights (`mishaps`). Every sync of the process is made to fail by strace,
//! as the kernel does when a disk has lost what it was given.

use std::{fs, process::Stdio};

use packhorse_testkit::{Backupctl, GitRepo, hermetic_command, skipped};

use super::site::{Site, assert_restored, json, listed, text};

/// Every way to make something durable.
const SYNCS: &str = "syncfs,fsync,fdatasync,sync_file_range";
const REPOSITORIES: [&str; 3] = ["a.git", "b.git", "c.git"];

/// A site with a backup, whose repositories have moved on since; none where nothing may be traced.
fn start() -> Option<Site> {
    let probe =
        hermetic_command("strace").args(["--output=/dev/null", "true"]).stderr(Stdio::null()).status();
    if !probe.expect("strace starts").success() {
        skipped("strace may not trace here");
        return None;
    }
    let site = Site::new();
    for path in REPOSITORIES {
        site.repo(&format!("storage/{path}")).fill("main", 2);
    }
    let storage = site.storage_section("default", "storage");
    site.write("packhorse.toml", &format!("[vault]\nurl = '{}'\n{storage}", site.vault_url()));
    ctl(&site, ["create", "--backup-id", "0001"]).run().expect_success();
    for path in REPOSITORIES {
        repo(&site, path).fill("later", 1);
    }
    Some(site)
}

fn ctl<const N: usize>(site: &Site, args: [&str; N]) -> Backupctl {
    site.ctl("packhorse.toml", args)
}

fn repo(site: &Site, path: &str) -> GitRepo {
    GitRepo::open(site.path("storage").join(path))
}

#[test]
fn a_backup_is_not_committed() {
    let Some(site) = start() else { return };
    let output = ctl(&site, ["create", "--backup-id", "0002", "--json"]).on_dying_disk(SYNCS).run();
    assert_eq!(output.code, 13, "{output:#?}");
    assert!(text(&json(&output)["error"]["answer"]).contains("Input/output error"), "{output:#?}");
    assert_eq!(listed(ctl(&site, [])), ["0001"]);
    ctl(&site, ["create", "--backup-id", "0003"]).run().expect_success();
}

#[test]
fn a_restore_says_that_what_is_there_may_be_damaged() {
    let Some(site) = start() else { return };
    let target = format!("--storage=default={}", site.folder("target").display());
    let restore = ctl(&site, ["restore", "0001", "--json"]).arg(&target);
    let output = restore.on_dying_disk(SYNCS).run();
    assert_eq!(output.code, 1, "{output:#?}");
    let error = &json(&output)["error"];
    assert!(text(&error["answer"]).contains("Input/output error"), "{error:#}");
    let state = text(&error["state"]);
    assert!(state.contains("repositories were put in place, but the disk did not take"), "{error:#}");
    assert!(text(&error["next"]).contains("--force"), "{error:#}");
    ctl(&site, ["restore", "0001", "--force"]).arg(&target).run().expect_success();
}

#[test]
fn a_forced_restore_replaces_nothing_that_it_cannot_make_durable() {
    let Some(site) = start() else { return };
    let newer = REPOSITORIES.map(|path| repo(&site, path).state());
    let output = ctl(&site, ["restore", "0001", "--force", "--json"]).on_dying_disk(SYNCS).run();
    assert_eq!(output.code, 1, "{output:#?}");
    let error = &json(&output)["error"];
    assert!(text(&error["answer"]).contains("Input/output error"), "{error:#}");
    assert!(text(&error["state"]).starts_with("nothing was restored"), "{error:#}");
    for (path, state) in REPOSITORIES.iter().zip(&newer) {
        assert_restored(state, site.path("storage").join(path));
    }
    let names = fs::read_dir(site.path("storage")).expect("the storage").count();
    assert_eq!(names, REPOSITORIES.len(), "something is left");
}
