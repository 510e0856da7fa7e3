//! Fifty thousand refs, and an increment over them that stays small.

use std::fmt::Write;

use crate::world::World;

const REFS: usize = 50_000;

#[test]
fn fifty_thousand_refs_and_a_small_change() {
    let world = World::new();
    let repo = world.repo("a.git");
    let last = repo.fill("main", 100);
    let commits = repo.run(&["rev-list", "main"]);
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    writeln!(packed, "{last} refs/heads/main").expect("writing to a string");
    for (number, commit) in commits.lines().cycle().take(REFS).enumerate() {
        writeln!(packed, "{commit} refs/merge-requests/{number:06}/head").expect("writing to a string");
    }
    std::fs::write(repo.path().join("packed-refs"), packed).expect("write packed-refs");
    let mut points = vec![world.backup(&[])];
    assert_eq!(points[0].states["a.git"].refs.len(), REFS + 1);

    repo.commit("main", &[("a", "1")]);
    repo.update_ref("refs/merge-requests/new/head", &last);
    for number in 0..5 {
        repo.delete_ref(format!("refs/merge-requests/{number:06}/head"));
    }
    points.push(world.backup(&[]));
    let objects = world.vault_objects();
    let manifest = world.manifest(&points[1].id, "a.git");
    let (full, increment) = (objects[manifest.bundle(1)], objects[manifest.bundle(2)]);
    assert!(full > 2_000_000, "the full bundle lists every ref: {full} bytes");
    // One commit, one ref and HEAD: what did not move is not told again.
    assert!(increment < 4_000, "the increment has {increment} bytes");
    points.push(world.backup(&[]));
    assert_eq!(points[2].summary.storages[0].bytes_new, 0);
    world.check(&points);
}
