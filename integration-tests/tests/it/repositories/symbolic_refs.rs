//! Symbolic refs below `refs/`: plain, chained, dangling, and moved to another target.

use packhorse_testkit::{GitRepo, RepoState};

use crate::world::World;

#[test]
fn symbolic_refs_come_back_as_such() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.update_ref("refs/heads/other", &first);
    repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
    repo.symbolic_ref("refs/heads/chain", "refs/heads/alias");
    repo.symbolic_ref("refs/remotes/origin/HEAD", "refs/heads/other");
    let mut points = vec![world.backup(&[])];
    // The target moves: so does everything that leads to it.
    repo.commit("main", &[("a", "2")]);
    points.push(world.backup(&[]));
    // Another target with the same object: no ref moved, and yet it is another state.
    repo.update_ref("refs/heads/twin", &repo.tip("refs/heads/main").expect("main exists"));
    points.push(world.backup(&[]));
    repo.symbolic_ref("refs/heads/alias", "refs/heads/twin");
    points.push(world.backup(&[]));
    assert_eq!(points[3].summary.repositories.backed_up, 1);
    repo.run(&["symbolic-ref", "--delete", "refs/heads/chain"]);
    points.push(world.backup(&[]));
    let symref = points[3].states["a.git"].refs[b"refs/heads/alias".as_slice()].symref.clone();
    assert_eq!(symref.as_deref(), Some(b"refs/heads/twin".as_slice()));
    world.check(&points);
}

#[test]
fn a_symbolic_ref_that_leads_nowhere() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    repo.symbolic_ref("refs/heads/dangling", "refs/heads/nowhere");
    let (id, _) = world.run(&[], 0);
    // Git does not list it and fsck dislikes it, so the rest is compared, and it is asked for by name.
    let restored = GitRepo::open(world.restore(&id).join("a.git"));
    RepoState::assert_same(&repo.state(), &restored.state());
    assert_eq!(restored.run(&["symbolic-ref", "refs/heads/dangling"]), "refs/heads/nowhere");
    // What it leads to is made: now it is a ref.
    repo.commit("nowhere", &[("b", "1")]);
    world.check(&[world.backup(&[])]);
}

#[test]
fn symbolic_refs_in_a_circle() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    // Git itself would refuse to follow these, so they are written as files.
    for (name, target) in [("one", "two"), ("two", "one")] {
        let content = format!("ref: refs/heads/{target}\n");
        std::fs::write(repo.path().join("refs/heads").join(name), content).expect("write ref");
    }
    let (id, summary) = world.run(&[], 0);
    assert_eq!(summary.repositories.backed_up, 1);
    let restored = GitRepo::open(world.restore(&id).join("a.git"));
    assert_eq!(restored.run(&["rev-parse", "main"]), repo.run(&["rev-parse", "main"]));
}
