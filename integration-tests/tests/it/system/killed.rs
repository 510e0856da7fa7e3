//! What is left when a process of ours is killed outright: no child of it.
//!
//! Does not own: what a crash leaves in the vault (`crashes`).

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use packhorse_testkit::wait_until;

use super::site::Site;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_git_ends_with_its_agent_though_it_does_nothing() {
    let site = Site::new();
    let repo = site.repo("storage/a.git");
    repo.fill("main", 3);
    // It neither reads nor writes, and what it started goes with it.
    let script = "#!/bin/sh\ncase \" $* \" in *\" pack-objects \"*) ;; *) exec git \"$@\" ;; esac\n\
                  sleep 1000000 & echo $$ $! >@PIDS@.new; mv @PIDS@.new @PIDS@; wait\n";
    let pids = site.path("pids");
    let git = site.write("git", &script.replace("@PIDS@", &pids.display().to_string()));
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("make it run");
    let config = |git: &str| {
        let storage = site.storage_section("default", "storage");
        let text =
            format!("[vault]\nurl = '{}'\n[agent_service]\ngit = '{git}'\n{storage}", site.vault_url());
        site.write("packhorse.toml", &text);
    };
    config("git");
    site.ctl("packhorse.toml", ["create"]).run().expect_success();
    repo.fill("main", packhorse_testkit::GitRepo::COMMITS_FOR_GIT);
    config(&git.display().to_string());
    let mut run = site.ctl("packhorse.toml", ["create"]).spawn();
    let running =
        wait_until("a git that hangs", SOON, || fs::read_to_string(&pids).map_err(|e| e.to_string()));
    run.kill();
    for pid in running.split_whitespace() {
        wait_until("the end of what it had started", SOON, || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // A zombie is dead; it is only not yet buried.
            let lives = status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'));
            if lives { Err(status) } else { Ok(()) }
        });
    }
}
