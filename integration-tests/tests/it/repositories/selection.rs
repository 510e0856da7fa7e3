//! Which repositories a run takes: patterns, patterns that match nothing, filtered backups as bases, and dry runs.

use crate::world::{Point, States, World};

fn world_of_five() -> World {
    let world = World::new();
    for name in ["a.git", "group/b.git", "group/c.git", "group/sub/d.git", "grouped.git"] {
        world.repo(name).commit("main", &[("name", name)]);
    }
    world
}

/// Backs up with a filter; `names` are to be in the backup, and nothing else.
#[track_caller]
fn assert_selects(filter: &[&str], names: &[&str]) {
    let world = world_of_five();
    let mut states = world.states();
    states.retain(|path, _| names.contains(&path.as_str()));
    assert_eq!(states.len(), names.len());
    let (id, summary) = world.run(filter, 0);
    assert_eq!(summary.repositories.backed_up, names.len() as u64);
    world.check(&[Point { id, states, summary }]);
}

#[test]
fn by_path_folder_and_glob() {
    assert_selects(&["--repository", "a.git"], &["a.git"]);
    assert_selects(&["--repository", "group"], &["group/b.git", "group/c.git", "group/sub/d.git"]);
    assert_selects(&["--repository", "group/*.git"], &["group/b.git", "group/c.git"]);
    assert_selects(&["--repository", "a.git", "--repository", "**/d.git"], &["a.git", "group/sub/d.git"]);
    assert_selects(&["--skip-repository", "group/"], &["a.git", "grouped.git"]);
    let both = ["--repository", "group", "--skip-repository", "group/sub", "--skip-repository", "**/b.git"];
    assert_selects(&both, &["group/c.git"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    let world = world_of_five();
    let (id, summary) = world.run(&["--repository", "a.git", "--repository", "gone/x.git"], 3);
    assert_eq!(summary.failures.len(), 1);
    assert!(summary.failures[0].item.contains("gone/x.git"), "{:?}", summary.failures);
    assert_eq!(summary.repositories.backed_up, 1);
    world.restore_with(&id, &["--repository", "a.git"], 0);
}

#[test]
fn nonsense_patterns_are_usage_errors() {
    let world = world_of_five();
    let before = world.vault_objects();
    for pattern in ["/abs", "../up", "a[", ""] {
        world.create().1.args(["--repository", pattern]).run().expect_code(2);
    }
    assert_eq!(world.vault_objects(), before);
}

#[test]
fn a_filtered_backup_is_no_base() {
    let world = world_of_five();
    let mut points = vec![world.backup(&[])];
    let a = packhorse_testkit::GitRepo::open(world.storage().join("a.git"));
    a.commit("main", &[("a", "2")]);
    let mut states: States = world.states();
    states.retain(|path, _| path == "a.git");
    let (id, summary) = world.run(&["--repository", "a.git"], 0);
    assert_eq!(summary.repositories.total(), 1);
    points.push(Point { id, states, summary });
    // The next run builds on the complete one: everything else is unchanged, nothing is forgotten.
    points.push(world.backup(&[]));
    let last = &points[2].summary;
    assert_eq!(last.base_backup_id.as_ref().map(ToString::to_string), Some(points[0].id.clone()));
    assert_eq!((last.repositories.backed_up, last.repositories.unchanged), (1, 4));
    world.check(&points);
}

#[test]
fn a_filtered_first_backup_leaves_the_next_one_full() {
    let world = world_of_five();
    world.run(&["--repository", "a.git"], 0);
    world.create().1.arg("--incremental").run().expect_code(2);
    let point = world.backup(&[]);
    assert_eq!(point.summary.repositories.backed_up, 5);
    world.check(&[point]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let world = world_of_five();
    let before = world.vault_objects();
    let (_, summary) = world.run(&["--dry-run"], 0);
    assert!(summary.dry_run);
    assert_eq!(summary.repositories.backed_up, 5);
    assert_eq!(world.vault_objects(), before);
    let first = world.backup(&[]);
    let before = world.vault_objects();
    let a = packhorse_testkit::GitRepo::open(world.storage().join("a.git"));
    a.commit("main", &[("a", "2")]);
    let (_, summary) = world.run(&["--dry-run"], 0);
    assert_eq!((summary.repositories.backed_up, summary.repositories.unchanged), (1, 4));
    assert_eq!(world.vault_objects(), before);
    let second = world.backup(&[]);
    assert_eq!(second.summary.repositories.backed_up, 1);
    world.check(&[first, second]);
}
