//! What is proven of full steps: at once, later, and what is remembered of it.
//!
//! Does not own: when a copy may rely on what (`agent::backup::copy`). Here the whole program says what it did.

use std::fs;

use packhorse_model::RunState;
use serde_json::Value;

use crate::{system::site::noise, world::World};

fn shown(world: &World, id: &str) -> Value {
    let output = world.call("show").args([id, "--json", "--storage", "default"]).run().expect_success();
    serde_json::from_str(&output.stdout).expect("show prints JSON")
}

#[test]
fn what_is_left_for_later_is_said_wherever_a_backup_is_shown() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.fill("main", 20);
    repo.repack();
    world.leave_to_git(&{
        let other = world.repo("by-git.git");
        other.fill("main", 3);
        other
    });
    let first = world.backup(&["--prove", "later"]);
    // Git misses what is missing, so what it packs is proven.
    assert_eq!((first.summary.state, first.summary.unproven), (RunState::Unproven, 1));
    repo.commit("main", &[("a", "more")]);
    let increment = world.backup(&[]);
    assert_eq!((increment.summary.state, increment.summary.unproven), (RunState::Unproven, 1));
    for point in [&first, &increment] {
        let shown = shown(&world, &point.id);
        assert_eq!(shown["information"]["state"], "unproven");
        assert_eq!((&shown["information"]["unproven"], &shown["report"]["unproven"]), (&1.into(), &1.into()));
        let lines = shown["storages"][0]["repositories"].as_array().cloned().expect("lines");
        let unproven: Vec<bool> = lines.iter().map(|line| line["unproven"] == true).collect();
        assert_eq!(unproven, [true, false]);
    }
    let list = world.call("list").run().expect_success().stdout;
    assert_eq!(list.matches("unproven").count(), 2, "{list}");
    let text = world.call("show").args([&first.id, "--storage", "default"]).run().expect_success().stdout;
    assert!(text.contains("unproven      1: verify") && text.contains("a.git  (unproven)"), "{text}");
    let proven = world.backup(&["--full"]);
    assert_eq!((proven.summary.state, proven.summary.unproven), (RunState::Complete, 0));
    world.check(&[first, increment, proven]);
}

/// A large repository of one pack without a bitmap, so that a walk would take long.
#[test]
fn what_was_proven_of_a_large_pack_is_remembered_along_the_chain() {
    let world = World::new();
    let repo = world.repo("large.git");
    let names: Vec<String> = (0..10_000).map(|number| format!("{}/{number}", number % 100)).collect();
    let files: Vec<(&str, Vec<u8>)> = names
        .iter()
        .enumerate()
        .map(|(number, name)| (name.as_str(), noise(number as u64, if number == 0 { 17 << 20 } else { 8 })))
        .collect();
    repo.commit("main", &files);
    repo.run(&["repack", "-a", "-d", "-q", "--no-write-bitmap-index"]);
    let pack = pack_of(&repo);
    let closed = |point: &crate::world::Point| {
        let path = world.vault().join("manifests/default/large.git").join(format!("{}.toml", point.id));
        let manifest = fs::read_to_string(path).expect("read manifest");
        manifest.contains(&format!("[[packhorse.closed_packs]]\npack = '{pack}'\nneeds = []\n"))
    };
    let mut points = vec![world.backup(&[])];
    repo.commit("main", &[("a", "more")]);
    points.push(world.backup(&[]));
    // What it knows it need not assume, so it is proven although nothing was to be.
    points.push(world.backup(&["--full", "--prove", "later"]));
    assert!(points.iter().all(closed), "{pack} is not remembered");
    assert!(points.iter().all(|point| point.summary.state == RunState::Complete));
    // Another pack is not known.
    repo.run(&["repack", "-a", "-d", "-q", "--no-write-bitmap-index"]);
    assert_ne!(pack_of(&repo), pack);
    points.push(world.backup(&["--full", "--prove", "later"]));
    assert_eq!(points[3].summary.state, RunState::Unproven);
    for point in &points {
        world.assert_restores(&point.id, &point.states);
    }
}

/// The hash in the name of the repository's only pack.
fn pack_of(repo: &packhorse_testkit::GitRepo) -> String {
    let entries = fs::read_dir(repo.path().join("objects/pack")).expect("read packs");
    let names = entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned());
    let mut packs =
        names.filter_map(|name| name.strip_suffix(".pack")?.strip_prefix("pack-").map(str::to_owned));
    let pack = packs.next().expect("a pack");
    assert_eq!(packs.next(), None, "one pack");
    pack
}
