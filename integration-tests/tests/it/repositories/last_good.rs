//! A repository that fails after good backups keeps its last good manifest, and a restore says so.

use std::fs;

use crate::world::{States, World, assert_is};

#[test]
fn one_bad_night_does_not_lose_a_repository() {
    let world = World::new();
    world.repo("a.git").commit("main", &[("a", "1")]);
    let repo = world.repo("b.git");
    repo.commit("main", &[("b", "1")]);
    let mut points = vec![world.backup(&[])];
    repo.commit("main", &[("b", "2")]);
    points.push(world.backup(&[]));
    let good: States = points[1].states.clone();
    // Two bad nights, each of another kind; the other repository goes on.
    let broken = repo.path().join("shallow");
    fs::write(&broken, "").expect("write shallow file");
    let (first_bad, summary) = world.run(&[], 3);
    assert_eq!((summary.repositories.unchanged, summary.repositories.failed), (1, 1));
    fs::remove_file(&broken).expect("remove shallow file");
    let lost = repo.commit("main", &[("b", "3")]);
    let object = repo.path().join("objects").join(&lost[..2]).join(&lost[2..]);
    fs::rename(&object, world.path("object")).expect("take object away");
    let (second_bad, summary) = world.run(&[], 3);
    assert!(summary.failures[0].problem.state.as_ref().is_some_and(|state| state.contains("last good")));
    for id in [first_bad, second_bad] {
        let (folder, restored) = world.restore_with(&id, &[], 3);
        assert_is(&folder, &good, &id);
        assert_eq!(restored.failures.len(), 1);
        let failure = &restored.failures[0];
        assert_eq!(failure.item, "b.git");
        let said = failure.problem.state.clone().unwrap_or_default();
        assert!(said.contains("older backup") && said.contains(&points[1].id), "{failure:?}");
        let call = world.call("restore").args([id.as_str(), "--storage"]);
        let storage = format!("default={}", world.path(&format!("text-{id}")).display());
        fs::create_dir(world.path(&format!("text-{id}"))).expect("create folder");
        let text = call.arg(storage).run().expect_code(3);
        assert!(text.stdout.contains("b.git"), "{text:?}");
    }
    // Repaired, all of it is read again: a step on top would not tell whether what is below is whole.
    fs::rename(world.path("object"), &object).expect("put object back");
    points.push(world.backup(&[]));
    assert_eq!(world.manifest(&points[2].id, "b.git").steps().len(), 1);
    world.check(&points);
}

#[test]
fn a_full_backup_that_fails_keeps_it_too() {
    let world = World::new();
    let repo = world.repo("b.git");
    repo.commit("main", &[("b", "1")]);
    let good = world.backup(&[]);
    fs::write(repo.path().join("shallow"), "").expect("write shallow file");
    let (id, _) = world.run(&["--full"], 3);
    let (folder, _) = world.restore_with(&id, &[], 3);
    assert_is(&folder, &good.states, &id);
    fs::remove_file(repo.path().join("shallow")).expect("remove shallow file");
    let again = world.backup(&[]);
    assert_eq!(again.summary.repositories.unchanged, 1);
    world.check(&[good, again]);
}

#[test]
fn a_repository_that_was_removed_is_gone_from_the_next_backup_only() {
    let world = World::new();
    world.repo("a.git").commit("main", &[("a", "1")]);
    let repo = world.repo("b.git");
    repo.commit("main", &[("b", "1")]);
    let mut points = vec![world.backup(&[])];
    fs::remove_dir_all(repo.path()).expect("remove repository");
    points.push(world.backup(&[]));
    // Another one under the old name.
    world.repo("b.git").commit("main", &[("other", "1")]);
    points.push(world.backup(&[]));
    fs::rename(world.storage().join("a.git"), world.storage().join("c.git")).expect("rename");
    points.push(world.backup(&[]));
    world.check(&points);
}
