//! Chains: what an increment holds, how long a chain grows, and when a new one starts.

use std::fs;

use packhorse_testkit::run_with_input;

use crate::world::World;

#[test]
fn an_increment_holds_only_what_is_new() {
    let world = World::new();
    let repo = world.repo("a.git");
    let old = repo.fill("main", 300);
    let mut points = vec![world.backup(&[])];
    let new = repo.fill("main", 30);
    points.push(world.backup(&[]));
    let mut pack = repo.command();
    pack.args(["pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "-q"]);
    let pack = run_with_input(&mut pack, format!("{new}\n^{old}\n").as_bytes()).stdout.len() as u64;
    let objects = world.vault_objects();
    let manifest = world.manifest(&points[1].id, "a.git");
    let (full, increment) = (objects[manifest.bundle(1)], objects[manifest.bundle(2)]);
    assert!(increment.abs_diff(pack) < 500 + pack / 20, "bundle {increment}, git's thin pack {pack}");
    assert!(increment < full / 4, "full {full}, increment {increment}");
    world.check(&points);
}

#[test]
fn max_chain_starts_a_new_chain() {
    let world = World::new();
    world.configure("[agent_service]\nmax_chain = 3\n");
    let repo = world.repo("a.git");
    let mut points = Vec::new();
    for round in 0..8 {
        repo.commit("main", &[("a", round.to_string())]);
        points.push(world.backup(&[]));
    }
    let steps: Vec<usize> =
        points.iter().map(|point| world.manifest(&point.id, "a.git").steps().len()).collect();
    assert_eq!(steps, [1, 2, 3, 1, 2, 3, 1, 2]);
    world.check(&points);
}

#[test]
fn a_manifest_in_every_run_for_other_readers() {
    let world = World::new();
    world.configure("[agent_service]\ngitaly_manifests = \"every-run\"\n");
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let mut points = vec![world.backup(&[]), world.backup(&[])];
    repo.commit("main", &[("a", "2")]);
    points.extend([world.backup(&[]), world.backup(&[]), world.backup(&[])]);
    let read = |name: &str| fs::read_to_string(world.vault().join("manifests/default/a.git").join(name));
    let manifest = |id: &str| read(&format!("{id}.toml")).expect("every run has a manifest");
    assert_eq!(manifest(&points[1].id), manifest(&points[0].id));
    assert_eq!(manifest(&points[4].id), manifest(&points[2].id));
    assert_eq!(manifest(&points[4].id), read("+latest.toml").expect("there is a newest"));
    assert_eq!(points[1].summary.repositories.unchanged, 1);
    assert_eq!(points[1].summary.storages[0].bytes_new, manifest(&points[1].id).len() as u64);
    world.check(&points);
}

#[test]
fn full_starts_new_chains_also_for_what_is_unchanged() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let mut points = vec![world.backup(&[]), world.backup(&["--full"])];
    assert_eq!(points[1].summary.repositories.backed_up, 1);
    assert_eq!(world.manifest(&points[1].id, "a.git").steps().len(), 1);
    repo.commit("main", &[("a", "2")]);
    points.push(world.backup(&["--incremental"]));
    assert_eq!(world.manifest(&points[2].id, "a.git").steps().len(), 2);
    assert_eq!(
        points[2].summary.base_backup_id.as_ref().map(ToString::to_string),
        Some(points[1].id.clone())
    );
    world.check(&points);
}

#[test]
fn an_increment_of_nothing_is_refused() {
    let world = World::new();
    world.repo("a.git").commit("main", &[("a", "1")]);
    let (id, call) = world.create();
    let output = call.arg("--incremental").run().expect_code(2);
    assert!(output.stderr.contains("no backup of this storage"), "{output:?}");
    let left: Vec<String> = world.vault_objects().into_keys().filter(|key| key.contains(&id)).collect();
    assert!(left.is_empty(), "a refused run leaves {left:?}");
    world.check(&[world.backup(&[])]);
}

#[test]
fn a_chain_with_a_hole_is_not_continued() {
    let world = World::new();
    let repo = world.repo("a.git");
    let mut points = Vec::new();
    for (round, suffix) in ["", "bundle", "refs", "custom_hooks.tar"].iter().enumerate() {
        if !suffix.is_empty() {
            let object = world.manifest(&points_id(&points), "a.git").bundle(1).replace("bundle", suffix);
            fs::remove_file(world.vault().join(object)).expect("remove object of the chain");
            points.clear();
        }
        repo.commit("main", &[("a", round.to_string())]);
        repo.set_hook("update", round.to_string(), 0o755);
        points.push(world.backup(&[]));
        assert_eq!(world.manifest(&points_id(&points), "a.git").steps().len(), 1, "{suffix}");
        repo.commit("main", &[("a", format!("{round} and more"))]);
        points.push(world.backup(&[]));
        assert_eq!(world.manifest(&points_id(&points), "a.git").steps().len(), 2, "{suffix}");
        world.check(&points);
    }
}

fn points_id(points: &[crate::world::Point]) -> String {
    points.last().expect("a backup was made").id.clone()
}
