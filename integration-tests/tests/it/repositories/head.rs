//! Where HEAD may point: nowhere yet, to a branch that is gone, or to a commit.

use packhorse_testkit::Head;

use crate::world::World;

#[test]
fn a_repository_without_commits() {
    let world = World::new();
    let repo = world.repo("empty.git");
    repo.set_head("refs/heads/trunk");
    let mut points = vec![world.backup(&[])];
    assert_eq!(points[0].summary.repositories.empty, 1);
    points.push(world.backup(&[]));
    assert_eq!(points[1].summary.storages[0].bytes_new, 0);
    // Its first commit, and back to nothing.
    repo.commit("trunk", &[("a", "1")]);
    points.push(world.backup(&[]));
    repo.delete_ref("refs/heads/trunk");
    points.push(world.backup(&[]));
    assert_eq!(points[3].summary.repositories.empty, 1);
    repo.commit("other", &[("a", "2")]);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn an_unborn_head_beside_branches() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("side", &[("a", "1")]);
    repo.set_head("refs/heads/not-yet");
    let mut points = vec![world.backup(&[])];
    assert_eq!(points[0].states["a.git"].head, Head::Unborn("refs/heads/not-yet".into()));
    repo.commit("not-yet", &[("b", "1")]);
    points.push(world.backup(&[]));
    assert_eq!(points[1].states["a.git"].head, Head::Symbolic("refs/heads/not-yet".into()));
    world.check(&points);
}

#[test]
fn a_head_whose_branch_is_gone() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.update_ref("refs/heads/other", &first);
    let mut points = vec![world.backup(&[])];
    repo.delete_ref("refs/heads/main");
    points.push(world.backup(&[]));
    repo.commit("other", &[("a", "2")]);
    points.push(world.backup(&[]));
    assert_eq!(points[2].states["a.git"].head, Head::Unborn("refs/heads/main".into()));
    world.check(&points);
}

#[test]
fn a_detached_head_on_a_branch() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.commit("main", &[("a", "2")]);
    repo.detach_head(&first);
    let mut points = vec![world.backup(&[])];
    assert_eq!(points[0].states["a.git"].head, Head::Detached(first));
    repo.set_head("refs/heads/main");
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn a_detached_head_on_a_commit_that_no_ref_has() {
    let world = World::new();
    let repo = world.repo("a.git");
    let main = repo.commit("main", &[("a", "1")]);
    let loose = repo.commit_on(Some(&main), &[("only-head", "1")]);
    repo.detach_head(&loose);
    let mut points = vec![world.backup(&[])];
    // HEAD's commit becomes the parent of a branch.
    let grown = repo.commit_on(Some(&loose), &[("b", "1")]);
    repo.update_ref("refs/heads/grown", &grown);
    points.push(world.backup(&[]));
    // HEAD goes on where no ref is, the refs stay.
    let alone = repo.commit_on(Some(&loose), &[("only-head", "2")]);
    repo.detach_head(&alone);
    points.push(world.backup(&[]));
    // Then the branch alone grows.
    repo.commit("grown", &[("b", "2")]);
    points.push(world.backup(&[]));
    // What HEAD had before comes back as a branch, after a step without it.
    repo.set_head("refs/heads/main");
    points.push(world.backup(&[]));
    repo.update_ref("refs/heads/back", &alone);
    points.push(world.backup(&[]));
    assert!(points[1..].iter().all(|point| point.summary.repositories.backed_up == 1));
    world.check(&points);
}

#[test]
fn a_detached_head_and_no_refs_at_all() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit_on(None, &[("a", "1")]);
    repo.detach_head(&first);
    let mut points = vec![world.backup(&[])];
    let second = repo.commit_on(Some(&first), &[("a", "2")]);
    repo.detach_head(&second);
    points.push(world.backup(&[]));
    repo.update_ref("refs/heads/main", &second);
    points.push(world.backup(&[]));
    world.check(&points);
}
