//! SHA-256 repositories and reftables, alone and together.

use packhorse_testkit::GitRepo;

use crate::world::{World, has_reftables};

const SHA256: &str = "--object-format=sha256";
const REFTABLE: &str = "--ref-format=reftable";

fn through_its_life(options: &[&str]) {
    let world = World::new();
    let repo = world.repo_with("group/a.git", options);
    repo.set_head("refs/heads/trunk");
    let mut points = vec![world.backup(&[])];
    let first = repo.commit("trunk", &[("a", "1")]);
    repo.tag_annotated("v1", &first);
    repo.symbolic_ref("refs/heads/alias", "refs/heads/trunk");
    points.push(world.backup(&[]));
    repo.fill("trunk", 20);
    repo.update_ref("refs/heads/old", &first);
    repo.set_hook("pre-receive.d/check", "#!/bin/sh\n", 0o755);
    points.push(world.backup(&[]));
    repo.gc();
    repo.pack_refs();
    repo.commit("trunk", &[("a", "2")]);
    repo.delete_ref("refs/tags/v1");
    repo.detach_head(&first);
    points.push(world.backup(&[]));
    repo.set_head("refs/heads/nowhere");
    points.push(world.backup(&[]));
    repo.delete_ref("refs/heads/old");
    repo.commit("old/now-a-folder", &[("b", "1")]);
    points.push(world.backup(&[]));
    points.push(world.backup(&[]));
    assert_eq!(points[6].summary.repositories.unchanged, 1);
    world.check(&points);
    // How refs are stored is kept too.
    let restored = GitRepo::open(world.restore(&points[6].id).join("group/a.git"));
    let storage =
        |repo: &GitRepo| repo.run(&["config", "--default", "files", "--get", "extensions.refstorage"]);
    assert_eq!(storage(&restored), storage(&repo));
}

#[test]
fn sha1_and_files() {
    through_its_life(&[]);
}

#[test]
fn sha256_and_files() {
    through_its_life(&[SHA256]);
}

#[test]
fn sha1_and_reftable() {
    if has_reftables() {
        through_its_life(&[REFTABLE]);
    }
}

#[test]
fn sha256_and_reftable() {
    if has_reftables() {
        through_its_life(&[SHA256, REFTABLE]);
    }
}

#[test]
fn a_repository_that_was_made_again_in_another_format() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let mut points = vec![world.backup(&[])];
    std::fs::remove_dir_all(repo.path()).expect("remove repository");
    let repo = world.repo_with("a.git", &[SHA256]);
    repo.commit("main", &[("a", "1")]);
    points.push(world.backup(&[]));
    assert_eq!(world.manifest(&points[1].id, "a.git").steps().len(), 1, "a chain has one format");
    repo.commit("main", &[("a", "2")]);
    points.push(world.backup(&[]));
    world.check(&points);
}
