//! History that is rewritten between backups, with what it replaced pruned away or not.

use crate::world::World;

#[test]
fn forced_away_and_back_with_gc_in_between() {
    let world = World::new();
    let repo = world.repo("a.git");
    let base = repo.fill("main", 5);
    let before = repo.commit("main", &[("a", "before")]);
    let keep = world.path("keep.git");
    repo.run(&["clone", "--quiet", "--bare", "--no-local", ".", keep.to_str().expect("UTF-8")]);
    let mut points = vec![world.backup(&[])];
    let other = repo.commit_on(Some(&base), &[("a", "other")]);
    repo.update_ref("refs/heads/main", &other);
    repo.gc();
    assert!(repo.tip(&format!("{before}^{{commit}}")).is_none(), "the old tip is pruned");
    points.push(world.backup(&[]));
    // Back: pushed again by somebody who still has it.
    let fetch = ["fetch", "--quiet", keep.to_str().expect("UTF-8"), "+refs/heads/main:refs/heads/main"];
    repo.run(&fetch);
    assert_eq!(repo.tip("refs/heads/main"), Some(before));
    repo.gc();
    points.push(world.backup(&[]));
    repo.commit("main", &[("a", "after")]);
    points.push(world.backup(&[]));
    assert_eq!(world.manifest(&points[3].id, "a.git").steps().len(), 4);
    world.check(&points);
}

#[test]
fn every_old_tip_is_pruned() {
    let world = World::new();
    let repo = world.repo("a.git");
    for branch in ["main", "one", "two"] {
        repo.commit(branch, &[("a", branch)]);
    }
    let mut points = vec![world.backup(&[])];
    for branch in ["main", "one", "two"] {
        let name = format!("refs/heads/{branch}");
        let new = repo.commit_on(None, &[("all-new", branch)]);
        repo.update_ref(&name, &new);
    }
    repo.gc();
    points.push(world.backup(&[]));
    repo.commit("main", &[("a", "on top")]);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn a_branch_goes_back_to_an_ancestor() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.fill("main", 5);
    repo.commit("other", &[("b", "1")]);
    let mut points = vec![world.backup(&[])];
    let old = repo.run(&["rev-parse", "main~3"]);
    repo.update_ref("refs/heads/main", &old);
    repo.gc();
    points.push(world.backup(&[]));
    repo.commit("main", &[("a", "another way")]);
    points.push(world.backup(&[]));
    repo.update_ref("refs/heads/other", &old);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn objects_of_an_old_tip_that_was_pruned_come_back_in_new_history() {
    let world = World::new();
    let repo = world.repo("a.git");
    let base = repo.commit("main", &[("a", "1")]);
    repo.commit("topic", &[("big", "x".repeat(4000))]);
    let mut points = vec![world.backup(&[])];
    repo.delete_ref("refs/heads/topic");
    repo.gc();
    points.push(world.backup(&[]));
    // The same blob again, in another commit: the chain had it, the last step's refs do not.
    let again = repo.commit_on(Some(&base), &[("big", "x".repeat(4000)), ("b", "2".into())]);
    repo.update_ref("refs/heads/main", &again);
    points.push(world.backup(&[]));
    repo.run(&["repack", "-a", "-d", "-q", "-f"]);
    points.push(world.backup(&["--full"]));
    world.check(&points);
}
