//! Nothing changed: no new object in the vault, and no child process for any repository; nor for a full step of one that
//! can be copied, and one for an increment.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use packhorse_testkit::GitRepo;

use crate::world::{World, has_reftables};

/// A git that notes every call. Asking for its version is the one that an agent makes by itself.
fn noting_git(world: &World) -> (PathBuf, PathBuf) {
    let (git, log) = (world.path("noting-git"), world.path("calls"));
    let script = format!("#!/bin/sh\necho \"$*\" >>'{}'\nexec git \"$@\"\n", log.display());
    fs::write(&git, script).expect("write script");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("chmod");
    (git, log)
}

fn calls(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| *line != "version").map(str::to_owned).collect()
}

/// Keys of what belongs to repositories: everything below `default` and `manifests`.
fn repository_objects(world: &World) -> Vec<String> {
    let keys = world.vault_objects().into_keys();
    keys.filter(|key| key.starts_with("default/") || key.starts_with("manifests/")).collect()
}

#[test]
fn nothing_is_written_and_no_git_is_called() {
    let world = World::new();
    for name in ["a.git", "group/b.git", "empty.git", "detached.git"] {
        let repo = world.repo(name);
        if name != "empty.git" {
            let first = repo.commit("main", &[("a", "1")]);
            repo.tag_annotated("v1", &first);
            repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
            repo.set_hook("update", "#!/bin/sh\n", 0o755);
            if name == "detached.git" {
                repo.detach_head(&first);
            }
        }
    }
    let (git, log) = noting_git(&world);
    let git = git.to_str().expect("UTF-8");
    let mut points = vec![world.backup(&["--git", git])];
    let before = repository_objects(&world);
    for _ in 0..2 {
        points.push(world.backup(&["--git", git]));
        let summary = &points.last().expect("just pushed").summary;
        assert_eq!((summary.repositories.unchanged, summary.repositories.empty), (3, 1));
        assert_eq!(summary.storages[0].bytes_new, 0);
    }
    assert_eq!(calls(&log), Vec::<String>::new());
    assert_eq!(repository_objects(&world), before);
    let total = |at: usize| points[at].summary.storages[0].bytes_total;
    assert_eq!(total(2), total(0));
    let changed = GitRepo::open(world.storage().join("a.git"));
    changed.commit("main", &[("a", "2")]);
    changed.tag_annotated("v2", "refs/heads/main");
    points.push(world.backup(&["--git", git]));
    assert_eq!(calls(&log), Vec::<String>::new());
    changed.fill("main", GitRepo::COMMITS_FOR_GIT);
    points.push(world.backup(&["--git", git]));
    let calls = calls(&log);
    assert!(calls.len() == 1 && calls[0].contains("pack-objects"), "{calls:?}");
    world.check(&points);
}

#[test]
fn a_reftable_costs_one_call() {
    if !has_reftables() {
        return;
    }
    let world = World::new();
    let repo = world.repo_with("a.git", &["--ref-format=reftable"]);
    repo.commit("main", &[("a", "1")]);
    let (git, log) = noting_git(&world);
    let git = git.to_str().expect("UTF-8");
    let first = world.backup(&["--git", git]);
    let before = repository_objects(&world);
    fs::remove_file(&log).expect("forget calls");
    let second = world.backup(&["--git", git]);
    assert_eq!(second.summary.repositories.unchanged, 1);
    let calls = calls(&log);
    assert!(calls.len() == 1 && calls[0].contains("for-each-ref"), "{calls:?}");
    assert_eq!(repository_objects(&world), before);
    world.check(&[first, second]);
}

#[test]
fn a_new_layout_and_touched_files_are_no_change() {
    let world = World::new();
    let repo: GitRepo = world.repo("a.git");
    repo.fill("main", 10);
    repo.set_hook("update", "#!/bin/sh\n", 0o755);
    let first = world.backup(&[]);
    repo.gc();
    repo.pack_refs();
    repo.blob("reachable from nowhere");
    repo.run(&["config", "gc.pruneExpire", "1.day.ago"]);
    repo.set_hook("update", "#!/bin/sh\n", 0o755);
    let before = repository_objects(&world);
    let second = world.backup(&[]);
    assert_eq!(second.summary.repositories.unchanged, 1);
    assert_eq!(repository_objects(&world), before);
    world.check(&[first, second]);
}
