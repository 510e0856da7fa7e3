//! Damaged repositories of which nothing is whole: each fails by name, is not passed on, and does not stop the others.
//!
//! Does not own: those of which something is whole (`damaged`).

mod as_nobody;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use packhorse_testkit::GitRepo;

use crate::world::World;

/// A world with a repository on either side of the one to damage.
fn world_with_bad() -> (World, GitRepo) {
    let world = World::new();
    world.repo("a.git").commit("main", &[("a", "1")]);
    let bad = world.repo("bad.git");
    bad.fill("main", 60);
    bad.repack();
    bad.pack_refs();
    world.repo("z.git").commit("main", &[("z", "1")]);
    (world, bad)
}

/// The run must name `item`, in JSON and as text, store nothing of it, and have the others.
#[track_caller]
fn assert_fails(world: &World, item: &str, why: &str) {
    let (id, summary) = world.run(&[], 3);
    assert_eq!(summary.failures_total, 1, "{:?}", summary.failures);
    let failure = &summary.failures[0];
    assert_eq!(failure.item, item);
    assert!(failure.to_string().contains(why), "{failure}");
    let counts = summary.repositories;
    assert_eq!((counts.backed_up + counts.unchanged, counts.failed), (2, 1));
    let stored: Vec<String> =
        world.vault_objects().into_keys().filter(|key| key.contains("bad.git/")).collect();
    assert!(stored.is_empty(), "{stored:?}");
    let (_, call) = world.create();
    let text = call.run().expect_code(3);
    assert!(text.stdout.contains("FAILED") && text.stdout.contains(item), "{text:?}");
    // The others are there; the restore says what is not.
    let (folder, restored) = world.restore_with(&id, &[], 3);
    assert_eq!(restored.failures[0].item, item);
    assert!(folder.join("a.git/HEAD").exists() && folder.join("z.git/HEAD").exists());
    assert!(!folder.join("bad.git").exists());
}

fn pack_files(repo: &GitRepo, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repo.path().join("objects/pack")).expect("read packs");
    let files = entries.map(|entry| entry.expect("read packs").path());
    files.filter(|path| path.extension().is_some_and(|found| found == kind)).collect()
}

fn only_file(repo: &GitRepo, kind: &str) -> PathBuf {
    let files = pack_files(repo, kind);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// Changes a file that git made read-only.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(path).expect("read file");
    change(&mut content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::write(path, content).expect("write file");
}

#[test]
fn a_missing_object() {
    let (world, bad) = world_with_bad();
    let oid = bad.blob("to be lost");
    bad.commit("main", &[("lost", "to be lost")]);
    fs::remove_file(bad.path().join("objects").join(&oid[..2]).join(&oid[2..])).expect("remove object");
    assert_fails(&world, "bad.git", &oid);
}

#[test]
fn a_truncated_pack() {
    let (world, bad) = world_with_bad();
    rewrite(&only_file(&bad, "pack"), |pack| pack.truncate(pack.len() / 2));
    assert_fails(&world, "bad.git", "pack");
}

#[test]
fn a_flipped_bit_anywhere_in_a_pack() {
    let (world, bad) = world_with_bad();
    let pack = only_file(&bad, "pack");
    let intact = fs::read(&pack).expect("read pack");
    for part in 0..=8 {
        let at = (intact.len() - 1) * part / 8;
        rewrite(&pack, |bytes| {
            bytes.clone_from(&intact);
            bytes[at] ^= 0x10;
        });
        assert_fails(&world, "bad.git", "pack");
    }
    // Had the repository been given up for good, this would fail.
    rewrite(&pack, |bytes| *bytes = intact);
    world.check(&[world.backup(&[])]);
}

#[test]
fn a_pack_without_its_index() {
    let (world, bad) = world_with_bad();
    fs::remove_file(only_file(&bad, "idx")).expect("remove index");
    assert_fails(&world, "bad.git", "");
}

#[test]
fn a_damaged_loose_object() {
    let (world, bad) = world_with_bad();
    let oid = bad.commit("main", &[("loose", "object")]);
    let path = bad.path().join("objects").join(&oid[..2]).join(&oid[2..]);
    let middle = fs::metadata(&path).expect("loose object").len() as usize / 2;
    rewrite(&path, |bytes| bytes[middle] ^= 1);
    assert_fails(&world, "bad.git", &oid);
}

#[test]
fn refs_all_of_which_are_broken() {
    let (world, bad) = world_with_bad();
    fs::write(bad.path().join("packed-refs"), "no object id\n").expect("write refs");
    assert_fails(&world, "bad.git", "packed-refs");
}

#[test]
fn a_repository_without_head() {
    let (world, bad) = world_with_bad();
    fs::remove_file(bad.path().join("HEAD")).expect("remove HEAD");
    assert_fails(&world, "bad.git", "has no HEAD");
    let (_, summary) = world.run(&[], 3);
    let next = summary.failures[0].problem.next.as_deref().unwrap_or_default();
    assert!(next.contains("restore ID --repository bad.git --force") && !next.contains("remove"), "{next}");
}

#[test]
fn a_shallow_repository() {
    let (world, bad) = world_with_bad();
    fs::write(bad.path().join("shallow"), format!("{}\n", bad.run(&["rev-parse", "main~1"]))).expect("write");
    assert_fails(&world, "bad.git", "shallow");
}

#[test]
fn damage_to_what_is_new_since_a_good_backup() {
    let (world, bad) = world_with_bad();
    let good = world.backup(&[]);
    let old = pack_files(&bad, "pack");
    bad.fill("main", 60);
    let new: Vec<PathBuf> = pack_files(&bad, "pack").into_iter().filter(|pack| !old.contains(pack)).collect();
    rewrite(&new[0], |pack| {
        let middle = pack.len() / 2;
        pack[middle] ^= 1;
    });
    let (_, summary) = world.run(&[], 3);
    assert_eq!(summary.failures[0].item, "bad.git");
    assert_eq!((summary.repositories.unchanged, summary.repositories.failed), (2, 1));
    world.check(&[good]);
}
