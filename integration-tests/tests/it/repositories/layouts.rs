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
