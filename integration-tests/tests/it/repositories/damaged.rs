//! Damaged repositories of which something is whole: that is backed up, the rest is named, night after night, until it is
//! healed; and what was good before stays within reach.
//!
//! Does not own: repositories of which nothing is whole (`corrupt`).

mod objects;
mod refs;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use packhorse_testkit::GitRepo;
use serde_json::Value;

use crate::world::{States, World, assert_is};

/// A repository with two branches that share a history, one of which is going to be damaged.
fn world_with(options: &[&str]) -> (World, GitRepo) {
    let world = World::new();
    world.repo("a.git").commit("main", &[("a", "1")]);
    let repo = world.repo_with("b.git", options);
    repo.fill("main", 20);
    repo.commit("main", &[("shared", "x")]);
    let tip = repo.tip("refs/heads/main").expect("has one");
    repo.update_ref("refs/heads/side", &tip);
    repo.commit("side", &[("side", "1")]);
    (world, repo)
}

/// The states of all repositories, when b.git had no refs of these names.
fn without(world: &World, names: &[&str]) -> States {
    let mut states = world.states();
    let whole = tempfile::tempdir().expect("temporary folder");
    let path = whole.path().join("b.git");
    // Git itself takes what can be reached from the other refs.
    let source = GitRepo::open(world.storage().join("b.git"));
    let format = source.run(&["rev-parse", "--show-object-format"]);
    let copy = GitRepo::init_with(&path, &[&format!("--object-format={format}")]);
    let mut fetch =
        vec!["fetch".to_owned(), "-q".into(), "--no-tags".into(), source.path().display().to_string()];
    let refs = source.run(&["for-each-ref", "--format=%(refname)"]);
    for name in refs.lines().filter(|name| !names.contains(name)) {
        fetch.push(format!("+{name}:{name}"));
    }
    copy.run(&fetch);
    let head = source.run(&["symbolic-ref", "HEAD"]);
    copy.set_head(&head);
    states.insert("b.git".into(), copy.state());
    states
}

/// Makes a backup in which b.git is damaged and these names are left out of it, restores it, and gives its ID.
#[track_caller]
fn assert_left_out(world: &World, extra: &[&str], names: &[&str], expected: &States) -> String {
    let (id, summary) = world.run(extra, 3);
    assert_eq!(summary.failures_total, 1, "{:?}", summary.failures);
    let (counts, failure) = (summary.repositories, &summary.failures[0]);
    assert_eq!((counts.damaged, counts.failed, failure.item.as_str()), (1, 0, "b.git"), "{failure}");
    for name in names {
        assert!(failure.to_string().contains(name), "{name} is not named: {failure}");
    }
    let line = line_of(world, &id);
    assert_eq!((&line["outcome"], &line["damage"]["total"]), (&"damaged".into(), &names.len().into()));
    let (folder, restored) = world.restore_with(&id, &[], 3);
    assert_eq!((restored.failures.len(), restored.failures[0].item.as_str()), (1, "b.git"));
    assert_is(&folder, expected, &id);
    world.replay(&id, "b.git", &expected["b.git"]);
    id
}

/// The line of b.git as `show` has it, also when only failures are asked for.
#[track_caller]
fn line_of(world: &World, id: &str) -> Value {
    let show = |extra: &[&str]| {
        let call = world.call("show").args([id, "--json"]).args(extra);
        let shown: Value = serde_json::from_str(&call.run().expect_success().stdout).expect("JSON");
        let lines = shown["storages"][0]["repositories"].as_array().cloned().unwrap_or_default();
        lines.into_iter().find(|line| line["path"] == "b.git").unwrap_or_default()
    };
    let line = show(&["--storage", "default"]);
    assert_eq!(show(&["--failed"]), line);
    line
}

/// The last good state that a backup names must come back, without a failure.
#[track_caller]
fn assert_last_good(world: &World, id: &str, good: &crate::world::Point) {
    let named = line_of(world, id)["damage"]["last_good"]["manifest"].clone();
    assert_eq!(named, format!("manifests/default/b.git/{}.toml", good.id));
    let (folder, _) = world.restore_with(id, &["--repository", "b.git", "--as-of-last-good"], 0);
    let only_b = States::from([("b.git".to_owned(), good.states["b.git"].clone())]);
    assert_is(&folder, &only_b, id);
}

fn loose(repo: &GitRepo, oid: &str) -> PathBuf {
    repo.path().join("objects").join(&oid[..2]).join(&oid[2..])
}

/// Changes a file that git made read-only.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).expect("read file");
    change(&mut content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::write(path, content).expect("write file");
}
