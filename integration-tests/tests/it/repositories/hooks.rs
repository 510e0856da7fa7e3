//! Custom hooks: modes, folders and links, changes of hooks alone, and hooks that go away.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
};

use crate::world::{World, assert_is};

#[test]
fn hooks_with_modes_folders_and_links() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    repo.set_hook("pre-receive.d/10-check", "#!/bin/sh\nexit 0\n", 0o755);
    repo.set_hook("pre-receive.d/data", [0_u8, 255, 10], 0o640);
    repo.set_hook("update", "#!/bin/sh\n", 0o700);
    let hooks = repo.path().join("custom_hooks");
    symlink("pre-receive.d/10-check", hooks.join("link")).expect("link");
    symlink("/nonexistent/place", hooks.join("dangling")).expect("link");
    fs::create_dir(hooks.join("empty.d")).expect("create folder");
    let long = "n".repeat(200);
    repo.set_hook(&format!("{long}/{long}"), "a path longer than a tar header takes", 0o755);
    fs::set_permissions(hooks.join("empty.d"), fs::Permissions::from_mode(0o750)).expect("chmod");
    let points = [world.backup(&[]), world.backup(&[])];
    assert_eq!(points[1].summary.repositories.unchanged, 1);
    world.check(&points);
}

#[test]
fn hooks_alone_change_and_go() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let mut points = vec![world.backup(&[])];
    let hooks = repo.path().join("custom_hooks");
    repo.set_hook("update", "#!/bin/sh\n", 0o755);
    points.push(world.backup(&[]));
    // The same length, another content.
    repo.set_hook("update", "#!/bin/ks\n", 0o755);
    points.push(world.backup(&[]));
    fs::set_permissions(hooks.join("update"), fs::Permissions::from_mode(0o600)).expect("chmod");
    points.push(world.backup(&[]));
    fs::remove_file(hooks.join("update")).expect("remove hook");
    points.push(world.backup(&[]));
    fs::remove_dir(&hooks).expect("remove hooks");
    points.push(world.backup(&[]));
    assert!(points.iter().all(|point| point.summary.repositories.backed_up == 1));
    repo.commit("main", &[("a", "2")]);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn hooks_of_a_repository_without_commits() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.set_hook("update", "#!/bin/sh\n", 0o755);
    let mut points = vec![world.backup(&[])];
    repo.set_hook("update", "#!/bin/sh\nexit 1\n", 0o755);
    points.push(world.backup(&[]));
    world.check(&points);
}

#[test]
fn a_hooks_entry_that_is_nothing_to_store_is_named() {
    let world = World::new();
    let repo = world.repo("a.git");
    repo.commit("main", &[("a", "1")]);
    let states = world.states();
    let _socket = UnixListener::bind(repo.path().join("custom_hooks")).expect("bind");
    let (id, summary) = world.run(&[], 3);
    assert_eq!(summary.failures[0].item, "a.git");
    assert!(summary.failures[0].problem.to_string().contains("custom_hooks"), "{:?}", summary.failures);
    // Everything else of it is there.
    let (folder, _) = world.restore_with(&id, &[], 3);
    assert_is(&folder, &states, &id);
}
