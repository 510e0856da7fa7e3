//! Repositories that hang: a dead disk, a stuck git. They are given up by name, and hold up nothing else.
//!
//! Does not own: what is a sign of life (`agent::backup::watch`). A FIFO in place of a file is opened for ever, as a file
//! on a dead disk is; a git that sleeps is what a stuck one looks like.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use packhorse_testkit::{GitRepo, hermetic_command, run_checked, wait_until};
use serde_json::Value;

use super::site::{Site, assert_restored, json, listed, text};

/// Longer than any of these runs needs, and much shorter than a hang that is not noticed.
const SOON: Duration = Duration::from_secs(60);

/// A git whose `pack-objects` sleeps in repositories of one name, and notes its process there.
fn stuck_git(site: &Site) -> String {
    let script = r#"#!/bin/bash
case " $* " in *" pack-objects "*) ;; *) exec git "$@" ;; esac
case " $* " in *stuck.git*) echo $$ >"@DIR@/pid"; exec sleep 1000000 ;; *) exec git "$@" ;; esac
"#;
    let path = site.write("stuck-git", &script.replace("@DIR@", &site.path("").display().to_string()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it run");
    path.display().to_string()
}

/// A site with three repositories, and an impatient configuration.
fn site(jobs: usize) -> Site {
    let site = Site::new();
    for name in ["a.git", "stuck.git", "z.git"] {
        site.repo(&format!("storage/{name}")).fill("main", 3);
    }
    let config = format!(
        "[vault]\nurl = '{}'\n[agent_service]\ngit = '{}'\njobs = {jobs}\nstall_timeout = '1s'\n{}",
        site.vault_url(),
        stuck_git(&site),
        site.storage_section("default", "storage"),
    );
    site.write("packhorse.toml", &config);
    site
}

fn change(site: &Site, name: &str) {
    GitRepo::open(site.path("storage").join(name)).fill("main", GitRepo::COMMITS_FOR_GIT);
}

/// What a run says that is missing.
fn missing(summary: &Value) -> Vec<String> {
    summary["failures"].as_array().expect("failures").iter().map(|failure| text(&failure["item"])).collect()
}

fn is_alive(pid: &str) -> bool {
    // A zombie is dead; it is only not yet buried.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn a_git_that_hangs_is_killed_and_its_repository_named() {
    let site = site(1);
    site.ctl("packhorse.toml", ["create", "--backup-id", "0001"]).run().expect_success();
    for name in ["a.git", "stuck.git", "z.git"] {
        change(&site, name);
    }
    let output = site.ctl("packhorse.toml", ["create", "--json", "--backup-id", "0002"]).run().expect_code(3);
    let summary = json(&output);
    assert_eq!(missing(&summary), ["stuck.git"], "{summary:#}");
    let problem = &summary["failures"][0]["problem"];
    assert!(text(&problem["answer"]).contains("no sign of life"), "{problem:#}");
    assert!(text(&problem["state"]).contains("last good backup"), "{problem:#}");
    assert_eq!(summary["repositories"]["backed_up"], 2, "{summary:#}");
    let pid = fs::read_to_string(site.path("pid")).expect("git noted its process");
    wait_until(
        "the end of git",
        SOON,
        || if is_alive(pid.trim()) { Err("alive".to_owned()) } else { Ok(()) },
    );
}

/// Puts a FIFO where the repository's packed refs would be.
fn kill_disk(repo: &Path) {
    run_checked(hermetic_command("mkfifo").arg(repo.join("packed-refs")));
}

#[test]
fn a_repository_on_a_dead_disk_is_named_and_the_others_are_backed_up() {
    let site = site(2);
    site.ctl("packhorse.toml", ["create", "--backup-id", "0001"]).run().expect_success();
    let before = packhorse_testkit::GitRepo::open(site.path("storage/stuck.git")).state();
    change(&site, "a.git");
    change(&site, "z.git");
    kill_disk(&site.path("storage/stuck.git"));
    let mut run = site.ctl("packhorse.toml", ["create", "--json", "--backup-id", "0002"]).spawn();
    assert_eq!(run.wait(SOON), 3, "{:#?}", run.lines());
    let summary: Value = serde_json::from_str(&run.stdout_lines().join("\n")).expect("a summary");
    assert_eq!(missing(&summary), ["stuck.git"], "{summary:#}");
    assert_eq!(summary["repositories"]["backed_up"], 2, "{summary:#}");
    assert_eq!(listed(site.ctl("packhorse.toml", [])), ["0002", "0001"]);

    // The last good state is in the new backup.
    fs::remove_dir_all(site.path("storage")).expect("lose the storage");
    fs::create_dir(site.path("storage")).expect("make it again");
    site.ctl("packhorse.toml", ["restore", "0002"]).run().expect_code(3);
    assert_restored(&before, site.path("storage/stuck.git"));
}

#[test]
fn a_disk_that_is_dead_as_a_whole_ends_its_storage() {
    let site = site(2);
    for number in 0..40 {
        let repo = site.repo(&format!("storage/many/{number:02}.git"));
        kill_disk(repo.path());
    }
    let output = site.ctl("packhorse.toml", ["create"]).run().expect_code(1);
    assert!(output.stderr.contains("hang at once"), "{}", output.stderr);
    assert!(output.stderr.contains("check the disk"), "{}", output.stderr);
    assert!(listed(site.ctl("packhorse.toml", [])).is_empty());
}
