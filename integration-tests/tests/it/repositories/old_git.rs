//! An older git, as long-lived servers have it: a full backup, an increment and a restore.

use std::path::Path;

use packhorse_testkit::{GitRepo, hermetic_command, run_checked, skipped};

use crate::world::World;

/// The system's own git, where it is older than reftables and than bundles in linear time.
const OLD_GIT: &str = "/usr/bin/git";

fn old_git() -> Option<&'static str> {
    if !Path::new(OLD_GIT).exists() {
        skipped("there is no /usr/bin/git");
        return None;
    }
    let output = run_checked(hermetic_command(OLD_GIT).arg("version"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (2, 45) {
        skipped(&format!("/usr/bin/git is not old: {text}"));
        return None;
    }
    Some(OLD_GIT)
}

#[test]
fn full_increment_and_restore() {
    let Some(git) = old_git() else { return };
    for options in [&[][..], &["--object-format=sha256"]] {
        let world = World::new();
        // Made by it too, where it can; a format that it lacks is not made.
        let path = world.storage().join("a.git");
        drop(GitRepo::init_with(&path, options));
        let repo = GitRepo::open(&path).using(git);
        let first = repo.commit("main", &[("a", "1")]);
        repo.fill("main", 30);
        repo.tag_annotated("v1", &first);
        repo.set_hook("update", "#!/bin/sh\n", 0o755);
        let mut points = vec![world.backup(&["--git", git])];
        repo.fill("main", 10);
        repo.update_ref("refs/heads/old", &first);
        repo.delete_ref("refs/tags/v1");
        points.push(world.backup(&["--git", git]));
        repo.gc();
        points.push(world.backup(&["--git", git, "--full"]));
        for point in &points {
            let (folder, _) = world.restore_with(&point.id, &["--git", git], 0);
            crate::world::assert_is(&folder, &point.states, &point.id);
        }
        world.check(&points);
    }
}

#[test]
fn a_reftable_that_it_cannot_read_fails_by_name() {
    let Some(git) = old_git() else { return };
    if !crate::world::has_reftables() {
        return;
    }
    let world = World::new();
    world.repo("a.git").commit("main", &[("a", "1")]);
    world.repo_with("table.git", &["--ref-format=reftable"]).commit("main", &[("a", "1")]);
    let (_, summary) = world.run(&["--git", git], 3);
    assert_eq!(summary.failures[0].item, "table.git");
    assert_eq!(summary.repositories.backed_up, 1);
}
