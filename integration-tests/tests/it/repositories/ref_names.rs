//! Names of refs: every byte that git allows, and names as long as a file system takes.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use packhorse_testkit::{GitRepo, run_with_input};

use crate::world::{World, has_reftables};

/// Names with each single byte that git allows alone, first, in the middle and last.
fn names_of_every_byte(repo: &GitRepo) -> Vec<Vec<u8>> {
    let forms: [fn(u8) -> Vec<u8>; 3] = [|b| vec![b], |b| vec![b'a', b, b'z'], |b| vec![b'z', b]];
    let mut names = Vec::new();
    for byte in 1..=255_u8 {
        for (number, form) in forms.iter().enumerate() {
            let folder = format!("refs/heads/{number}/");
            let name = [folder.as_bytes(), &form(byte)].concat();
            let mut check = repo.command();
            check.args(["check-ref-format"]).arg(OsStr::from_bytes(&name));
            if check.output().expect("git starts").status.success() {
                names.push(name);
            }
        }
    }
    names
}

fn create(repo: &GitRepo, names: &[Vec<u8>], oid: &str) {
    let mut commands = Vec::new();
    for name in names {
        commands.extend([b"update ", name.as_slice(), b"\0", oid.as_bytes(), b"\0\0"].concat());
    }
    run_with_input(repo.command().args(["update-ref", "-z", "--stdin"]), &commands);
}

fn every_byte(world: &World, repo: &GitRepo) {
    let first = repo.commit("main", &[("a", "1")]);
    let names = names_of_every_byte(repo);
    assert!(names.len() > 3 * 200, "git allows only {} names", names.len());
    assert!(names.iter().any(|name| std::str::from_utf8(name).is_err()));
    let (some, others) = names.split_at(names.len() / 2);
    create(repo, some, &first);
    let mut points = vec![world.backup(&[])];
    repo.pack_refs();
    create(repo, others, &first);
    points.push(world.backup(&[]));
    let second = repo.commit("main", &[("a", "2")]);
    create(repo, &names, &second);
    points.push(world.backup(&[]));
    for name in some.iter().step_by(2) {
        repo.delete_ref(name);
    }
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn every_byte_that_git_allows() {
    let world = World::new();
    let repo = world.repo("a.git");
    every_byte(&world, &repo);
}

#[test]
fn every_byte_that_git_allows_in_a_reftable() {
    if has_reftables() {
        let world = World::new();
        let repo = world.repo_with("a.git", &["--ref-format=reftable"]);
        every_byte(&world, &repo);
    }
}

#[test]
fn very_long_names() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    let longest_part = "x".repeat(255 - ".lock".len());
    let deep = vec!["d".repeat(100); 30].join("/");
    let wide = "ü".repeat(120);
    for name in [&longest_part, &deep, &wide] {
        repo.update_ref(format!("refs/heads/{name}"), &first);
    }
    let mut points = vec![world.backup(&[])];
    repo.commit(&deep, &[("a", "2")]);
    repo.pack_refs();
    points.push(world.backup(&[]));
    repo.delete_ref(format!("refs/heads/{longest_part}"));
    repo.set_head(&format!("refs/heads/{wide}"));
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn head_on_a_name_that_is_not_utf8() {
    let world = World::new();
    let repo = world.repo("a.git");
    let first = repo.commit("main", &[("a", "1")]);
    repo.update_ref(b"refs/heads/caf\xe9", &first);
    std::fs::write(repo.path().join("HEAD"), b"ref: refs/heads/caf\xe9\n").expect("write HEAD");
    let (id, _) = world.run(&[], 0);
    let restored = world.restore(&id).join("a.git/HEAD");
    assert_eq!(std::fs::read(restored).expect("read HEAD"), b"ref: refs/heads/caf\xe9\n");
}
