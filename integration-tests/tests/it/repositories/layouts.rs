//! How objects may lie on disk: loose, packed, mixed, with indexes over packs, bitmaps and commit graphs.

use crate::world::World;

#[test]
fn loose_packed_and_mixed_objects() {
    let world = World::new();
    let loose = world.repo("loose.git");
    loose.commit("main", &[("a", "1")]);
    let packed = world.repo("packed.git");
    packed.fill("main", 30);
    packed.repack();
    packed.pack_refs();
    let mixed = world.repo("mixed.git");
    for _ in 0..3 {
        mixed.fill("main", 10);
        mixed.commit("main", &[("loose", "objects")]);
    }
    mixed.pack_refs();
    mixed.commit("side", &[("b", "1")]);
    // A loose ref over an older packed one.
    mixed.commit("main", &[("a", "newer than packed-refs")]);
    let mut points = vec![world.backup(&[])];
    // The same content in another layout is not a change.
    for repo in [&loose, &packed, &mixed] {
        repo.gc();
        repo.pack_refs();
    }
    points.push(world.backup(&[]));
    assert_eq!(points[1].summary.repositories.unchanged, 3);
    for repo in [&loose, &packed, &mixed] {
        repo.commit("main", &[("a", "after gc")]);
    }
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn multi_pack_index_bitmaps_and_commit_graph() {
    let world = World::new();
    let repo = world.repo("a.git");
    for branch in ["main", "side", "other"] {
        repo.fill(branch, 50);
    }
    repo.run(&["multi-pack-index", "write", "--bitmap"]);
    repo.run(&["commit-graph", "write", "--reachable", "--changed-paths"]);
    let mut points = vec![world.backup(&[])];
    repo.fill("main", 40);
    repo.run(&["commit-graph", "write", "--reachable", "--split"]);
    points.push(world.backup(&[]));
    repo.run(&["repack", "-a", "-d", "-q", "--write-bitmap-index"]);
    repo.fill("side", 40);
    repo.run(&["repack", "-d", "-q", "--geometric=2", "--write-midx"]);
    points.push(world.backup(&[]));
    // A full step over a repository with bitmaps reuses its packs.
    points.push(world.backup(&["--full"]));
    world.check(&points);
}

#[test]
fn packs_that_pushes_completed() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.run(&["config", "receive.unpackLimit", "1"]);
    let sender = packhorse_testkit::GitRepo::init(world.path("sender.git"));
    sender.fill("main", 100);
    let target = repo.path().to_str().expect("UTF-8").to_owned();
    let mut points = Vec::new();
    for round in 0..4 {
        sender.fill("main", 15);
        sender.fill(&format!("topic-{round}"), 5);
        sender.run(&["push", "--quiet", &target, "refs/heads/*:refs/heads/*"]);
        // Each pack holds deltas by id, on objects that follow, which other packs have too.
        points.push(world.backup(&["--full"]));
    }
    assert!(repo.run(&["count-objects", "-v"]).contains("packs: 4"), "not every push made a pack");
    world.check(&points);
}

#[test]
fn unreachable_objects_are_left_out_and_do_no_harm() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let dropped = repo.commit("dropped", &[("secret", "x".repeat(1000))]);
    repo.repack();
    repo.delete_ref("refs/heads/dropped");
    let points = [world.backup(&[])];
    world.check(&points);
    let restored = packhorse_testkit::GitRepo::open(world.restore(&points[0].id).join("a.git"));
    assert!(!restored.try_run(&["cat-file", "-e", &dropped]).status.success());
}

/// A bitmap that was made while history was cut off: git believes it, and would pack too little.
#[test]
fn a_clone_that_was_shallow_when_its_bitmap_was_made() {
    let world = World::new();
    let source = packhorse_testkit::GitRepo::init(world.path("source.git"));
    source.fill("main", 100);
    let url = format!("file://{}", source.path().display());
    for name in ["copied.git", "packed-by-git.git"] {
        let path = world.storage().join(name);
        source.run(&["clone", "-q", "--bare", "--depth=3", &url, path.to_str().expect("UTF-8")]);
        let repo = packhorse_testkit::GitRepo::open(&path);
        repo.run(&["repack", "-a", "-d", "-q", "-b"]);
        repo.run(&["fetch", "-q", "--unshallow", &url, "main"]);
        if name.starts_with("packed") {
            world.leave_to_git(&repo);
        }
    }
    let mut points = vec![world.backup(&[])];
    for name in ["copied.git", "packed-by-git.git"] {
        packhorse_testkit::GitRepo::open(world.storage().join(name)).fill("main", 3);
    }
    points.push(world.backup(&[]));
    world.check(&points);
}
