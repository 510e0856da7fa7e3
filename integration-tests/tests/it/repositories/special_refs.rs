//! Refs outside branches and tags that an instance keeps: keep-around, merge requests, notes, stash, and loners.

use crate::world::World;

#[test]
fn refs_of_an_instance_and_of_git_itself() {
    let world = World::new();
    let repo = world.repo("@hashed/ab/cd/abcd.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.update_ref(format!("refs/keep-around/{first}"), &first);
    let merge = repo.commit_on(Some(&first), &[("a", "from a fork")]);
    repo.update_ref("refs/merge-requests/1/head", &merge);
    let mut points = vec![world.backup(&[])];
    repo.run(&["notes", "add", "-m", "well done", &first]);
    let stash = repo.commit_on(Some(&first), &[("a", "unfinished")]);
    repo.update_ref("refs/stash", &stash);
    points.push(world.backup(&[]));
    let merged = repo.commit_on(Some(&merge), &[("b", "merged")]);
    repo.update_ref("refs/merge-requests/1/merge", &merged);
    repo.update_ref("refs/pipelines/42", &merged);
    repo.update_ref("refs/environments/production/deployments/1", &first);
    repo.run(&["notes", "append", "-m", "even better", &first]);
    points.push(world.backup(&[]));
    // History that only a keep-around ref has any more.
    let lost = repo.commit("topic", &[("t", "1")]);
    repo.update_ref(format!("refs/keep-around/{lost}"), &lost);
    repo.delete_ref("refs/heads/topic");
    repo.delete_ref("refs/stash");
    points.push(world.backup(&[]));
    world.check(&points);
    let names = points[3].states.values().flat_map(|state| state.refs.keys());
    assert!(names.clone().any(|name| name == b"refs/notes/commits"), "{:?}", names.collect::<Vec<_>>());
}

#[test]
fn histories_that_share_nothing() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let mut points = vec![world.backup(&[])];
    repo.commit("pages", &[("index.html", "hello")]);
    points.push(world.backup(&[]));
    // A merge of both, and one of more than two parents.
    let tree = repo.run(&["rev-parse", "main^{tree}"]);
    let third = repo.commit("third", &[("c", "1")]);
    let octopus = repo.run(&["commit-tree", &tree, "-m", "all", "-p", "main", "-p", "pages", "-p", &third]);
    repo.update_ref("refs/heads/main", &octopus);
    points.push(world.backup(&[]));
    world.check(&points);
}
