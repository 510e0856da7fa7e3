//! Tags: annotated, nested and lightweight, on new commits and old ones, and on trees and blobs.

use crate::world::World;

#[test]
fn tags_of_every_kind_also_on_old_commits() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.fill("main", 5);
    let v1 = repo.tag_annotated("v1", &first);
    repo.update_ref("refs/tags/light", &first);
    let mut points = vec![world.backup(&[])];
    // Only tags are new, all of them on what the first step has.
    repo.tag_annotated("v1-signed-off", &v1);
    repo.update_ref("refs/tags/light-later", &first);
    repo.tag_annotated("v2", "main");
    points.push(world.backup(&[]));
    repo.update_ref("refs/tags/light-only", &repo.run(&["rev-parse", "main~2"]));
    points.push(world.backup(&[]));
    // A tag moves, and an old commit is tagged beside new history.
    repo.run(&["tag", "--force", "-a", "-m", "again", "v1", "main"]);
    repo.fill("main", 2);
    repo.tag_annotated("old", &first);
    points.push(world.backup(&[]));
    repo.delete_ref("refs/tags/v2");
    points.push(world.backup(&[]));
    // A tag object that is reachable only through another tag.
    repo.delete_ref("refs/tags/v1-signed-off");
    let inner = repo.tag_annotated("inner", "main");
    repo.tag_annotated("outer", &inner);
    repo.delete_ref("refs/tags/inner");
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn tags_of_trees_and_blobs() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1"), ("sub/b", "2")]);
    repo.update_ref("refs/tags/tree", &repo.tree(None, &[("alone/in/a/tree", "x")]));
    repo.update_ref("refs/tags/blob", &repo.blob("alone"));
    let mut points = vec![world.backup(&[])];
    let tree = repo.tree(None, &[("another", "y")]);
    repo.tag_annotated("tagged-tree", &tree);
    repo.tag_annotated("tagged-blob", &repo.blob("another blob"));
    repo.update_ref("refs/tags/old-tree", &repo.run(&["rev-parse", "main:sub"]));
    points.push(world.backup(&[]));
    repo.delete_ref("refs/heads/main");
    points.push(world.backup(&[]));
    repo.delete_ref("refs/tags/tagged-tree");
    repo.update_ref("refs/tags/blob", &repo.blob("moved"));
    points.push(world.backup(&[]));
    world.check(&points);
}
