//! The smallest changes: a ref goes, HEAD moves, a ref is made on an old commit.

use packhorse_testkit::GitRepo;

use crate::world::World;

/// Changes one repository of two; only it may be backed up, with next to no bytes.
#[track_caller]
fn assert_small(change: impl FnOnce(&GitRepo)) {
    let world = World::new();
    world.repo("other.git").commit("main", &[("a", "1")]);
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.fill("main", 40);
    repo.update_ref("refs/heads/side", &first);
    repo.tag_annotated("v1", &first);
    let mut points = vec![world.backup(&[])];
    change(&repo);
    points.push(world.backup(&[]));
    let counts = points[1].summary.repositories;
    assert_eq!((counts.backed_up, counts.unchanged), (1, 1));
    let manifest = world.manifest(&points[1].id, "a.git");
    assert_eq!(manifest.steps().len(), 2);
    let size = world.vault_objects()[manifest.bundle(2)];
    assert!(size < 400, "a bundle without new objects has {size} bytes");
    points.push(world.backup(&[]));
    assert_eq!(points[2].summary.repositories.unchanged, 2);
    repo.commit("main", &[("a", "goes on")]);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn only_a_branch_is_deleted() {
    assert_small(|repo| repo.delete_ref("refs/heads/side"));
}

#[test]
fn only_a_tag_is_deleted() {
    assert_small(|repo| repo.delete_ref("refs/tags/v1"));
}

#[test]
fn only_head_moves() {
    assert_small(|repo| repo.set_head("refs/heads/side"));
}

#[test]
fn only_head_moves_to_nowhere() {
    assert_small(|repo| repo.set_head("refs/heads/nowhere"));
}

#[test]
fn only_head_is_detached() {
    assert_small(|repo| repo.detach_head(&repo.run(&["rev-parse", "main~3"])));
}

#[test]
fn only_a_branch_on_an_old_commit_is_new() {
    assert_small(|repo| repo.update_ref("refs/heads/old", &repo.run(&["rev-parse", "main~20"])));
}

#[test]
fn only_a_branch_goes_back() {
    assert_small(|repo| repo.update_ref("refs/heads/main", &repo.run(&["rev-parse", "main~20"])));
}

#[test]
fn only_a_branch_is_renamed() {
    assert_small(|repo| {
        repo.update_ref("refs/heads/renamed", &repo.run(&["rev-parse", "side"]));
        repo.delete_ref("refs/heads/side");
    });
}
