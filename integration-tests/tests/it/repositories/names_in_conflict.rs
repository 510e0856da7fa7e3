//! A branch becomes a folder of branches, or the other way round: no reader could replay both in one chain.

use packhorse_testkit::GitRepo;

use crate::world::{Point, World, has_reftables};

fn steps(world: &World, point: &Point) -> usize {
    world.manifest(&point.id, "a.git").steps().len()
}

fn there_and_back(world: &World, repo: &GitRepo) {
    let first = repo.commit("main", &[("a", "1")]);
    repo.commit("branch", &[("b", "1")]);
    let mut points = vec![world.backup(&[])];
    repo.delete_ref("refs/heads/branch");
    repo.commit("branch/sub", &[("b", "2")]);
    points.push(world.backup(&[]));
    assert_eq!(steps(world, &points[1]), 1, "a folder where a branch was");
    repo.commit("branch/sub", &[("b", "3")]);
    repo.update_ref("refs/heads/branch/sub2", &first);
    points.push(world.backup(&[]));
    assert_eq!(steps(world, &points[2]), 2);
    repo.delete_ref("refs/heads/branch/sub");
    repo.delete_ref("refs/heads/branch/sub2");
    repo.commit("branch", &[("b", "4")]);
    points.push(world.backup(&[]));
    assert_eq!(steps(world, &points[3]), 1, "a branch where a folder was");
    world.check(&points);
}

#[test]
fn a_branch_becomes_a_folder_and_a_branch_again() {
    let world = World::new();
    let repo = world.repo("a.git");
    there_and_back(&world, &repo);
}

#[test]
fn the_same_in_a_reftable() {
    if has_reftables() {
        let world = World::new();
        let repo = world.repo_with("a.git", &["--ref-format=reftable"]);
        there_and_back(&world, &repo);
    }
}

#[test]
fn with_steps_in_between() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    repo.commit("x/deep/branch", &[("b", "1")]);
    let mut points = vec![world.backup(&[])];
    // Gone in one step, others happen, and only then the conflict.
    repo.delete_ref("refs/heads/x/deep/branch");
    points.push(world.backup(&[]));
    repo.commit("main", &[("a", "2")]);
    points.push(world.backup(&[]));
    repo.commit("x", &[("b", "2")]);
    points.push(world.backup(&[]));
    assert_eq!(points.iter().map(|point| steps(&world, point)).collect::<Vec<_>>(), [1, 2, 3, 1]);
    repo.commit("x", &[("b", "3")]);
    points.push(world.backup(&[]));
    assert_eq!(steps(&world, &points[4]), 2);
    world.check(&points);
}

#[test]
fn a_name_that_comes_back_is_no_conflict() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let topic = repo.commit("topic", &[("t", "1")]);
    repo.commit("topic-2", &[("t", "1")]);
    let mut points = vec![world.backup(&[])];
    repo.delete_ref("refs/heads/topic");
    points.push(world.backup(&[]));
    repo.update_ref("refs/heads/topic", &topic);
    repo.update_ref("refs/heads/topic2/sub", &topic);
    points.push(world.backup(&[]));
    assert_eq!(steps(&world, &points[2]), 3);
    world.check(&points);
}

#[test]
fn symbolic_refs_and_tags_in_conflict() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
    repo.tag_annotated("v1", &first);
    let mut points = vec![world.backup(&[])];
    repo.run(&["symbolic-ref", "--delete", "refs/heads/alias"]);
    repo.delete_ref("refs/tags/v1");
    repo.symbolic_ref("refs/heads/alias/main", "refs/heads/main");
    repo.tag_annotated("v1/final", &first);
    points.push(world.backup(&[]));
    world.check(&points);
}
