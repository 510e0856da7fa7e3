//! Restores that go on where another one was stopped: `--skip-existing`.
//!
//! Does not own: what a killed restore leaves (`daemons`, `faults::restores`).

use std::fs;

use packhorse_model::RestoreSummary;
use packhorse_testkit::GitRepo;

use super::site::{Site, assert_restored, json};

#[test]
fn what_is_there_and_equal_is_left_alone_and_what_differs_is_refused_or_replaced() {
    let site = Site::new();
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "live"));
    site.write("packhorse.toml", &config);
    for name in ["a", "b", "c", "d"] {
        site.repo(&format!("live/{name}.git")).commit("main", &[("file", name)]);
    }
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    let place = format!("--storage=default={}", site.folder("back").display());
    let restore = |args: &[&str], code: i32| -> RestoreSummary {
        let call = site.ctl("packhorse.toml", ["restore", "0001", "--json", &place, "--skip-existing"]);
        let output = call.args(args).run().expect_code(code);
        serde_json::from_str(&output.stdout).expect("a summary")
    };
    let first = restore(&[], 0);
    assert_eq!((first.storages[0].items, first.storages[0].already), (4, 0));
    // One is missing, one was worked on, and one has a broken ref; a file of ours shows which is left alone.
    let back = |name: &str| site.path(&format!("back/{name}.git"));
    fs::remove_dir_all(back("a")).expect("remove");
    GitRepo::open(back("b")).commit("more", &[("file", "more")]);
    fs::write(back("c").join("refs/heads/broken"), "junk").expect("write");
    fs::write(back("d").join("description"), "ours").expect("write");
    let second = restore(&[], 3);
    assert_eq!((second.storages[0].items, second.storages[0].already), (1, 1));
    let mut failed: Vec<&str> = second.failures.iter().map(|failure| failure.item.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["b.git", "c.git"]);
    let third = restore(&["--force"], 0);
    assert_eq!((third.storages[0].items, third.storages[0].already), (2, 2));
    assert_eq!(fs::read_to_string(back("d").join("description")).expect("read"), "ours");
    for name in ["a", "b", "c", "d"] {
        let state = GitRepo::open(site.path(&format!("live/{name}.git"))).state();
        assert_restored(&state, back(name));
    }
    // When all of it is there, there is nothing to do, and that is all of it.
    assert_eq!(restore(&[], 0).storages[0].already, 4);
}

/// Git refuses what lacks a part, so no restore has put it there.
#[test]
fn a_repository_that_lacks_a_part_is_not_there_already() {
    let site = Site::new();
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "live"));
    site.write("packhorse.toml", &config);
    site.repo("live/a.git").commit("main", &[("file", "a")]);
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    let restore = |args: &[&str], code: i32| {
        let call = site.ctl("packhorse.toml", ["restore", "0001", "--json", "--skip-existing"]);
        json(&call.args(args).run().expect_code(code))
    };
    assert_eq!(restore(&[], 0)["storages"][0]["already"], 1);
    for part in ["objects", "refs", "config", "HEAD"] {
        let (at, away) = (site.path("live/a.git").join(part), site.path("away"));
        fs::rename(&at, &away).expect("move away");
        for args in [&["--dry-run"][..], &[]] {
            let told = restore(args, 1);
            assert_eq!(told["failures"][0]["item"], "a.git", "{part}: {told:#}");
        }
        fs::rename(&away, &at).expect("move back");
    }
    fs::remove_file(site.path("live/a.git/config")).expect("remove");
    let forced = restore(&["--force"], 0);
    assert_eq!(forced["storages"][0]["items"], 1, "{forced:#}");
    assert!(site.path("live/a.git/config").exists());
}
