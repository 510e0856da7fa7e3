//! Objects that are missing or damaged: refs that lead to them are left out, in full steps and in increments.

use std::fs;

use packhorse_testkit::GitRepo;

use super::{assert_last_good, assert_left_out, line_of, loose, rewrite, without, world_with};
use crate::world::{World, assert_is, has_reftables};

/// What is done to an object's file.
type Harm = fn(&std::path::Path);

const HARMS: [(&str, Harm); 4] = [
    ("missing", |path| fs::remove_file(path).expect("remove")),
    ("empty", |path| rewrite(path, Vec::clear)),
    ("torn", |path| rewrite(path, |bytes| bytes.truncate(bytes.len() - 3))),
    ("flipped", |path| {
        rewrite(path, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x20;
        });
    }),
];

/// The objects of the side branch's newest commit, and of a tag of it.
fn objects_of(repo: &GitRepo, salt: &str) -> Vec<(&'static str, String)> {
    let commit = repo.commit("side", &[("folder/side", salt)]);
    let tag = repo.tag_annotated(&format!("t{salt}"), &commit);
    let named = |name: &str| repo.run(&["rev-parse", &format!("{commit}{name}")]).trim().to_owned();
    vec![
        ("commit", commit.clone()),
        ("tree", named("^{tree}")),
        ("subtree", named(":folder")),
        ("blob", named(":folder/side")),
        ("tag", tag),
    ]
}

/// Damages one object after another; each time a full backup and an increment must have all but the refs that need it, and
/// everything once it is healed.
fn each_kind_of_object(options: &[&str], harms: &[(&str, Harm)]) {
    let (world, repo) = world_with(options);
    for (number, (harm, damage)) in harms.iter().enumerate() {
        for (kind, oid) in objects_of(&repo, &format!("of-{number}")) {
            // Where nothing is left of the file, all kinds are looked for; how it is damaged matters for few of them.
            if *harm != "missing" && !matches!(kind, "commit" | "blob") {
                continue;
            }
            eprintln!("{harm} {kind}");
            let tag = format!("refs/tags/tof-{number}");
            let names = match kind {
                "tag" => vec![tag.as_str()],
                _ => vec!["refs/heads/side", tag.as_str()],
            };
            let good = world.backup(&["--full"]);
            // What is damaged is new since the backup, and so is something else.
            repo.commit("main", &[("main", format!("{number} {kind}"))]);
            let path = loose(&repo, &oid);
            let intact = fs::read(&path).expect("loose object");
            let expected = without(&world, &names);
            damage(&path);
            let nights = [
                assert_left_out(&world, &["--full"], &names, &expected),
                assert_left_out(&world, &[], &names, &expected),
            ];
            nights.iter().for_each(|id| assert_last_good(&world, id, &good));
            if path.exists() {
                fs::remove_file(&path).expect("remove");
            }
            fs::write(&path, intact).expect("heal");
            let healed = world.backup(&[]);
            assert_eq!(healed.summary.repositories.damaged, 0);
            world.check(&[healed]);
        }
    }
}

#[test]
fn each_kind_of_object_in_files() {
    each_kind_of_object(&[], &HARMS);
}

#[test]
fn each_kind_of_object_in_a_reftable_of_sha256() {
    if has_reftables() {
        each_kind_of_object(&["--ref-format=reftable", "--object-format=sha256"], &HARMS[..1]);
    }
}

/// A world whose side branch lost what it got since a good backup.
fn increment_with_lost_blob() -> (World, GitRepo, crate::world::Point, String) {
    let (world, repo) = world_with(&[]);
    repo.repack();
    let good = world.backup(&[]);
    repo.commit("main", &[("main", "2")]);
    repo.commit("side", &[("lost", "object")]);
    let oid = repo.blob("object");
    (world, repo, good, oid)
}

#[test]
fn every_night_says_so_and_examines_again_only_what_changed() {
    let (world, repo, good, oid) = increment_with_lost_blob();
    let names = ["refs/heads/side"];
    let expected = without(&world, &names);
    fs::rename(loose(&repo, &oid), world.path("lost")).expect("take away");
    let first = assert_left_out(&world, &[], &names, &expected);
    assert_eq!(world.manifest(&first, "b.git").steps().len(), 2);
    assert!(line_of(&world, &first)["damage"]["left_out"][0]["object"] == oid.as_str());
    // Nothing changed: the same is told, and nothing is written.
    let second = assert_left_out(&world, &[], &names, &expected);
    assert_eq!(line_of(&world, &second)["bytes_new"], 0);
    assert_eq!(line_of(&world, &second)["manifest"], line_of(&world, &first)["manifest"]);
    // The whole branch goes on.
    repo.commit("main", &[("main", "3")]);
    fs::rename(world.path("lost"), loose(&repo, &oid)).expect("put back");
    let expected = without(&world, &names);
    fs::rename(loose(&repo, &oid), world.path("lost")).expect("take away");
    let third = assert_left_out(&world, &[], &names, &expected);
    for id in [&first, &second, &third] {
        assert_last_good(&world, id, &good);
    }
    // A file that comes back heals it although no ref has moved.
    fs::rename(world.path("lost"), loose(&repo, &oid)).expect("put back");
    let healed = world.backup(&[]);
    assert_eq!(healed.summary.repositories.backed_up, 1);
    let quiet = world.backup(&[]);
    assert_eq!(quiet.summary.repositories.unchanged, 2);
    world.check(&[good, healed, quiet]);
}

#[test]
fn a_repository_without_a_whole_ref_fails_every_night_until_it_is_healed() {
    let (world, repo) = world_with(&[]);
    let good = world.backup(&[]);
    let (objects, aside) = (repo.path().join("objects"), world.path("aside"));
    let folders = || fs::read_dir(&objects).expect("read").map(|entry| entry.expect("entry").path());
    fs::create_dir(&aside).expect("create");
    for folder in folders() {
        fs::rename(&folder, aside.join(folder.file_name().expect("a name"))).expect("take away");
    }
    // As long as nobody reads it, nobody knows.
    assert_eq!(world.run(&[], 0).1.repositories.unchanged, 2);
    for extra in [&["--full"][..], &[], &[]] {
        let (id, summary) = world.run(extra, 3);
        assert_eq!((summary.repositories.failed, summary.repositories.damaged), (1, 0), "{extra:?}");
        let restored = world.restore_with(&id, &[], 3).0;
        assert_is(&restored, &good.states, &id);
    }
    // A night on which it fails for another reason, or is away, does not make it whole.
    let (head, elsewhere) = (repo.path().join("HEAD"), world.path("elsewhere"));
    for (from, code) in [(head.as_path(), 3), (repo.path(), 0)] {
        fs::rename(from, &elsewhere).expect("take away");
        world.run(&[], code);
        fs::rename(&elsewhere, from).expect("put back");
        let summary = world.run(&[], 3).1;
        assert_eq!(summary.repositories.failed, 1, "{}", from.display());
    }
    for folder in fs::read_dir(&aside).expect("read").map(|entry| entry.expect("entry").path()) {
        let _ = fs::remove_dir_all(objects.join(folder.file_name().expect("a name")));
        fs::rename(&folder, objects.join(folder.file_name().expect("a name"))).expect("put back");
    }
    let healed = world.backup(&[]);
    assert_eq!(healed.summary.repositories.backed_up, 1);
    assert_eq!(world.backup(&[]).summary.repositories.unchanged, 2);
    world.check(&[good, healed]);
}

#[test]
fn what_the_chain_holds_may_be_lost_in_the_repository() {
    let (world, repo) = world_with(&[]);
    let old = repo.blob("x");
    let good = world.backup(&[]);
    // Both branches have this blob in the backup; the new damage is on the side branch only.
    repo.commit("main", &[("main", "2")]);
    repo.commit("side", &[("lost", "object")]);
    let names = ["refs/heads/side"];
    let expected = without(&world, &names);
    for oid in [&old, &repo.blob("object")] {
        fs::remove_file(loose(&repo, oid)).expect("remove");
    }
    let id = assert_left_out(&world, &[], &names, &expected);
    assert_last_good(&world, &id, &good);
}

#[test]
fn damage_of_what_nothing_reaches_is_none_of_the_backup() {
    let (world, repo) = world_with(&[]);
    repo.repack();
    let garbage = repo.commit_on(None, &[("garbage", "x".repeat(5000))]);
    repo.update_ref("refs/heads/garbage", &garbage);
    repo.repack();
    repo.delete_ref("refs/heads/garbage");
    let packs = fs::read_dir(repo.path().join("objects/pack")).expect("packs");
    let packs = packs
        .map(|file| file.expect("pack").path())
        .filter(|path| path.extension().is_some_and(|e| e == "pack"));
    let verified = packs.map(|pack| {
        let listed = repo.run(&["verify-pack".as_ref(), "-v".as_ref(), pack.as_os_str()]);
        (pack, listed)
    });
    let blob = repo.run(&["rev-parse", &format!("{garbage}:garbage")]);
    let (pack, line) = verified
        .filter_map(|(pack, listed)| {
            let line = listed.lines().find(|line| line.starts_with(blob.trim()))?.to_owned();
            Some((pack, line))
        })
        .next()
        .expect("it is packed");
    let fields: Vec<usize> =
        line.split_whitespace().skip(2).take(3).map(|n| n.parse().expect("number")).collect();
    rewrite(&pack, |bytes| bytes[fields[2] + fields[1] / 2] ^= 0x40);
    let point = world.backup(&[]);
    world.check(&[point]);
}

#[test]
fn bits_that_flip_in_a_pack() {
    let (world, repo) = world_with(&[]);
    repo.repack();
    let good = world.backup(&[]);
    let packed: Vec<_> = fs::read_dir(repo.path().join("objects/pack")).expect("packs").collect();
    // Everything of main is in its own pack; what is new on side is in another one.
    for number in 0..20 {
        repo.commit("side", &[("side", format!("{number} {}", "random ".repeat(number)))]);
    }
    repo.run(&["repack", "-d", "-q"]);
    repo.commit("main", &[("main", "2")]);
    let names = ["refs/heads/side"];
    let expected = without(&world, &names);
    let fresh =
        fs::read_dir(repo.path().join("objects/pack")).expect("packs").map(|file| file.expect("file").path());
    let old: Vec<_> = packed.iter().map(|file| file.as_ref().expect("file").path()).collect();
    let pack =
        fresh.filter(|path| !old.contains(path)).find(|path| path.extension().is_some_and(|e| e == "pack"));
    let pack = pack.expect("a new pack");
    let intact = fs::read(&pack).expect("pack");
    for part in 1..8 {
        let at = (intact.len() - 1) * part / 8;
        rewrite(&pack, |bytes| {
            bytes.clone_from(&intact);
            bytes[at] ^= 0x10;
        });
        let id = assert_left_out(&world, &[], &names, &expected);
        assert_last_good(&world, &id, &good);
    }
    rewrite(&pack, |bytes| bytes.truncate(intact.len() / 2));
    assert_left_out(&world, &["--full"], &names, &expected);
    rewrite(&pack, |bytes| *bytes = intact);
    world.check(&[world.backup(&[])]);
}

#[test]
fn a_loose_object_with_the_content_of_another() {
    for by_git in [false, true] {
        let (world, repo) = world_with(&[]);
        if by_git {
            world.leave_to_git(&repo);
        }
        let good = world.backup(&[]);
        // Enough that git is asked for the increment, too.
        for number in 0..80 {
            repo.commit("main", &[("main", number.to_string())]);
        }
        repo.commit("side", &[("one", "one's content"), ("other", "other's content")]);
        let names = ["refs/heads/side"];
        let expected = without(&world, &names);
        let [one, other] =
            ["one's content", "other's content"].map(|content| loose(&repo, &repo.blob(content)));
        let content = fs::read(other).expect("loose object");
        rewrite(&one, |bytes| *bytes = content);
        for extra in [&[][..], &["--full"]] {
            let id = assert_left_out(&world, extra, &names, &expected);
            assert_last_good(&world, &id, &good);
        }
    }
}

#[test]
fn a_repository_that_was_never_whole_has_no_last_good_state() {
    let (world, repo) = world_with(&[]);
    let lost = repo.commit("side", &[("lost", "object")]);
    let names = ["refs/heads/side"];
    let expected = without(&world, &names);
    fs::remove_file(loose(&repo, &lost)).expect("remove");
    let id = assert_left_out(&world, &[], &names, &expected);
    assert!(line_of(&world, &id)["damage"]["last_good"].is_null());
    let (folder, restored) = world.restore_with(&id, &["--as-of-last-good"], 3);
    assert_eq!(restored.failures[0].item, "b.git");
    crate::world::assert_is(&folder, &expected, &id);
}

#[test]
fn a_detached_head_on_a_lost_commit() {
    let (world, repo) = world_with(&[]);
    let lost = repo.commit_on(None, &[("lost", "object")]);
    let head = repo.run(&["symbolic-ref", "HEAD"]);
    assert_eq!(head.trim(), "refs/heads/main");
    let expected = world.states();
    repo.detach_head(&lost);
    fs::remove_file(loose(&repo, &lost)).expect("remove");
    assert_left_out(&world, &[], &["HEAD"], &expected);
}
