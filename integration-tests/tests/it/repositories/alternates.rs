//! Repositories that borrow objects from a pool: restored whole, without the pool.

use std::fs;

use packhorse_testkit::GitRepo;

use crate::world::World;

/// Takes out of a repository what its pool has.
fn borrow(repo: &GitRepo, pool: &GitRepo) {
    let alternates = format!("{}\n", pool.path().join("objects").display());
    fs::write(repo.path().join("objects/info/alternates"), alternates).expect("write alternates");
    repo.run(&["repack", "-a", "-d", "-l", "-q"]);
    repo.run(&["prune-packed"]);
}

#[test]
fn objects_that_only_the_pool_has() {
    let world = World::new();
    let pool = world.repo("@pools/ab/cd/pool.git");
    let base = pool.fill("main", 40);
    let fork = world.repo("fork.git");
    fs::write(
        fork.path().join("objects/info/alternates"),
        format!("{}\n", pool.path().join("objects").display()),
    )
    .expect("write alternates");
    fork.update_ref("refs/heads/main", &base);
    fork.repack();
    let own = fork.path().join("objects/pack");
    borrow(&fork, &pool);
    let packs = fs::read_dir(&own).expect("read packs").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|kind| kind == "pack"))
    });
    assert_eq!(packs.count(), 0, "the fork has nothing of its own");
    let mut points = vec![world.backup(&[])];
    assert_eq!(points[0].states.len(), 1, "a pool is no item of its own");
    fork.commit("main", &[("fork", "1")]);
    points.push(world.backup(&[]));
    // The pool goes on, and the fork takes what is only there.
    let newer = pool.fill("main", 5);
    fork.update_ref("refs/heads/upstream", &newer);
    points.push(world.backup(&[]));
    points.push(world.backup(&["--full"]));
    fs::rename(world.storage().join("@pools"), world.path("pools-away")).expect("move pools away");
    for point in &points {
        world.assert_restores(&point.id, &point.states);
        world.replay(&point.id, "fork.git", &point.states["fork.git"]);
        let restored = world.restore(&point.id).join("fork.git");
        assert!(!restored.join("objects/info/alternates").exists());
    }
}

#[test]
fn a_relative_path_to_a_pool_of_a_pool() {
    let world = World::new();
    let deep = world.repo("@pools/deep.git");
    let base = deep.fill("main", 10);
    let pool = world.repo("@pools/pool.git");
    fs::write(pool.path().join("objects/info/alternates"), "../../deep.git/objects\n").expect("write");
    let middle = pool.commit_on(Some(&base), &[("pool", "1")]);
    let fork = world.repo("fork.git");
    let relative = "../../@pools/pool.git/objects\n";
    fs::write(fork.path().join("objects/info/alternates"), relative).expect("write alternates");
    fork.update_ref("refs/heads/main", &middle);
    let mut points = vec![world.backup(&[])];
    fork.commit("main", &[("fork", "1")]);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn a_pool_that_is_gone_makes_its_forks_fail_by_name() {
    let world = World::new();
    let pool = world.repo("@pools/pool.git");
    let base = pool.fill("main", 10);
    let fork = world.repo("fork.git");
    let line = format!("{}\n", pool.path().join("objects").display());
    fs::write(fork.path().join("objects/info/alternates"), line).expect("write alternates");
    fork.update_ref("refs/heads/main", &base);
    fs::remove_dir_all(pool.path()).expect("remove pool");
    let (_, summary) = world.run(&[], 3);
    assert_eq!(summary.failures[0].item, "fork.git");
}
