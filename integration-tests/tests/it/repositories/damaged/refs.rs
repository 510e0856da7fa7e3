//! Refs, HEADs, `packed-refs` and hooks that cannot be read: they are left out by name, and everything else is there.

use std::{fs, os::unix::fs::symlink};

use super::{assert_last_good, assert_left_out, line_of, world_with};
use crate::world::{World, has_reftables};

#[test]
fn files_that_are_no_refs() {
    let tip = "4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    let contents = [
        ("refs/heads/broken", "", "refs/heads/broken"),
        ("refs/heads/broken", "no object id\n", "refs/heads/broken"),
        ("refs/heads/broken", "0123456789012345678901234567890123456789\n", "refs/heads/broken"),
        ("refs/heads/two words", tip, "refs/heads/two%20words"),
        ("refs/heads/symbolic", "ref: refs/heads/two words\n", "refs/heads/symbolic"),
        ("refs/heads/outside", "ref: ../config\n", "refs/heads/outside"),
        ("refs/desktop.ini", "[.ShellClassInfo]\r\n", "refs/desktop.ini"),
        ("refs/heads/desktop.ini", "[.ShellClassInfo]\r\n", "refs/heads/desktop.ini"),
    ];
    let (world, repo) = world_with(&[]);
    for (file, content, name) in contents {
        eprintln!("{file}: {content:?}");
        let good = world.backup(&["--full"]);
        fs::write(repo.path().join(file), content).expect("write ref");
        for extra in [&[][..], &["--full"]] {
            let id = assert_left_out(&world, extra, &[name], &good.states);
            assert_last_good(&world, &id, &good);
        }
        fs::remove_file(repo.path().join(file)).expect("remove ref");
        // The same refs as in the last step: a manifest that lacks nothing is written all the same.
        let healed = world.backup(&[]);
        assert_eq!(healed.summary.repositories.damaged, 0);
        world.check(&[healed]);
    }
}

#[test]
fn a_broken_ref_is_not_taken_from_packed_refs() {
    let (world, repo) = world_with(&[]);
    repo.pack_refs();
    repo.commit("side", &[("side", "2")]);
    let good = world.backup(&[]);
    let expected = super::without(&world, &["refs/heads/side"]);
    fs::write(repo.path().join("refs/heads/side"), "").expect("write ref");
    let id = assert_left_out(&world, &[], &["refs/heads/side"], &expected);
    assert_last_good(&world, &id, &good);
}

#[test]
fn lines_of_packed_refs_that_are_none() {
    let (world, repo) = world_with(&[]);
    repo.pack_refs();
    let good = world.backup(&[]);
    let path = repo.path().join("packed-refs");
    let intact = fs::read_to_string(&path).expect("packed-refs");
    let side = intact.lines().find(|line| line.ends_with("refs/heads/side")).expect("is packed");
    let expected = super::without(&world, &["refs/heads/side"]);
    for bad in [intact.replace(side, "no object id"), intact.replace(&format!("{side}\n"), side)] {
        fs::write(&path, bad).expect("write");
        let id = assert_left_out(&world, &[], &["packed-refs"], &expected);
        assert_last_good(&world, &id, &good);
    }
    fs::write(&path, intact).expect("write");
    world.check(&[world.backup(&[])]);
}

/// Git writes at least a header: what a crash emptied is not a repository without packed refs.
#[test]
fn packed_refs_that_are_empty_or_a_link_to_nowhere() {
    let (world, repo) = world_with(&[]);
    repo.pack_refs();
    repo.commit("loose", &[("loose", "1")]);
    let good = world.backup(&[]);
    let names: Vec<String> = repo.state().refs.keys().map(|name| name.escape_ascii().to_string()).collect();
    let packed: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| *name != "refs/heads/loose").collect();
    let expected = super::without(&world, &packed);
    let path = repo.path().join("packed-refs");
    fs::write(&path, "").expect("empty it");
    let id = assert_left_out(&world, &[], &["packed-refs"], &expected);
    assert_last_good(&world, &id, &good);
    fs::remove_file(&path).expect("remove");
    symlink("/nowhere", &path).expect("link");
    assert_left_out(&world, &[], &["packed-refs"], &expected);
}

#[test]
fn a_pipe_among_refs_is_not_waited_for() {
    let (world, repo) = world_with(&[]);
    let good = world.backup(&[]);
    let pipe = repo.path().join("refs/heads/pipe");
    packhorse_testkit::run_checked(packhorse_testkit::hermetic_command("mkfifo").arg(&pipe));
    assert_left_out(&world, &[], &["refs/heads/pipe"], &good.states);
}

#[test]
fn heads_that_are_none() {
    for content in ["", "ref: refs/heads/.invalid\n", "ref: config\n"] {
        eprintln!("{content:?}");
        let (world, repo) = world_with(&[]);
        let states = world.states();
        fs::write(repo.path().join("HEAD"), content).expect("write HEAD");
        // HEAD of what is restored is the default of both.
        assert_left_out(&world, &[], &["HEAD"], &states);
        assert_left_out(&world, &["--full"], &["HEAD"], &states);
        fs::write(repo.path().join("HEAD"), "ref: refs/heads/main\n").expect("write HEAD");
        world.check(&[world.backup(&[])]);
    }
}

#[test]
fn hooks_that_cannot_be_read_do_not_keep_the_refs_back() {
    let (world, repo) = world_with(&[]);
    let good = world.backup(&[]);
    repo.commit("main", &[("main", "2")]);
    let expected = world.states();
    let hooks = repo.path().join("custom_hooks");
    fs::create_dir(&hooks).expect("create folder");
    let large = fs::File::create(hooks.join("large")).expect("create file");
    large.set_len(65 << 20).expect("enlarge");
    let id = assert_left_out(&world, &[], &["custom_hooks"], &expected);
    assert_last_good(&world, &id, &good);
}

#[test]
fn extensions_that_git_refuses_are_named() {
    let (world, repo) = world_with(&[]);
    repo.run(&["config", "core.repositoryformatversion", "1"]);
    fs::write(repo.path().join("config"), {
        let config = fs::read_to_string(repo.path().join("config")).expect("config");
        format!("{config}[extensions]\n\tfromTheFuture = true\n")
    })
    .expect("write config");
    let (_, summary) = world.run(&[], 3);
    assert_eq!((summary.repositories.failed, summary.repositories.damaged), (1, 0));
    assert!(summary.failures[0].to_string().contains("\"fromthefuture\""), "{:?}", summary.failures);
}

#[test]
fn a_partial_clone_is_named_as_one() {
    let world = World::new();
    let source = world.repo("a.git");
    source.fill("main", 5);
    source.run(&["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", source.path().display());
    let target = world.storage().join("b.git");
    source.run(&["clone", "-q", "--bare", "--filter=blob:none", &url, target.to_str().expect("UTF-8")]);
    let (id, summary) = world.run(&[], 3);
    let failure = &summary.failures[0];
    assert!(failure.to_string().contains("partial clone"), "{failure}");
    assert_eq!((failure.item.as_str(), &line_of(&world, &id)["outcome"]), ("b.git", &"failed".into()));
}

#[test]
fn a_link_to_hooks_comes_back_as_a_link() {
    let (world, repo) = world_with(&[]);
    fs::create_dir(world.path("shared")).expect("create folder");
    fs::write(world.path("shared/update"), "#!/bin/sh\n").expect("write hook");
    symlink("../../hooks", repo.path().join("custom_hooks")).expect("link");
    let point = world.backup(&[]);
    let folder = world.restore(&point.id);
    let link = fs::read_link(folder.join("b.git/custom_hooks")).expect("a link");
    assert_eq!(link.to_str(), Some("../../hooks"));
    let again = world.backup(&[]);
    assert_eq!(again.summary.repositories.unchanged, 2);
}

/// Git refuses to make them, and lists both where a copy of a repository brought one packed and the other as a file.
#[test]
fn refs_in_each_others_way() {
    let (world, repo) = world_with(&[]);
    let tip = repo.run(&["rev-parse", "main"]);
    repo.update_ref("refs/heads/d/e", &tip);
    repo.update_ref("refs/heads/d-x", &tip);
    // A HEAD that leads nowhere is in nobody's way.
    repo.set_head("refs/heads/d");
    let good = world.backup(&[]);
    let packed = format!("# pack-refs with: peeled fully-peeled sorted \n{tip} refs/heads/d\n");
    let path = repo.path().join("packed-refs");
    fs::write(&path, packed).expect("write");
    let listed = repo.run(&["for-each-ref", "--format=%(refname)", "refs/heads/d", "refs/heads/d/"]);
    assert!(listed.lines().any(|name| name == "refs/heads/d"), "{listed}");
    for extra in [&[][..], &["--full"]] {
        let id = assert_left_out(&world, extra, &["refs/heads/d"], &good.states);
        assert_last_good(&world, &id, &good);
    }
    fs::remove_file(&path).expect("remove");
    let healed = world.backup(&[]);
    assert_eq!(healed.summary.repositories.damaged, 0);
    world.check(&[healed]);
}

#[test]
fn a_head_without_a_ref_is_in_nobodys_way_in_reftables() {
    if !has_reftables() {
        return;
    }
    let (world, repo) = world_with(&["--ref-format=reftable"]);
    let tip = repo.run(&["rev-parse", "main"]);
    repo.update_ref("refs/heads/d/e", &tip);
    repo.set_head("refs/heads/d");
    world.check(&[world.backup(&[])]);
}
