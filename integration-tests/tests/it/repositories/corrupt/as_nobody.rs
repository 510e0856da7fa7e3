//! Folders that the program may not read. Root may read everything, so under root it runs as a user without rights.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Output, Stdio},
};

use packhorse_model::RunSummary;
use packhorse_testkit::{Binary, GitRepo, RepoState, hermetic_command, run_checked};

use super::world_with_bad;
use crate::world::World;

/// `nobody` on most systems; any user without rights will do.
const ID: u32 = 65534;

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("Linux").uid() == 0
}

/// Backs up as somebody who may read no more than the modes say.
fn create_as_nobody(world: &World, id: &str, json: bool) -> Output {
    // The programs may lie in a folder that only root can enter.
    let program = world.path("backupctl");
    if !program.exists() {
        fs::hard_link(Binary::Backupctl.path(), &program)
            .or_else(|_| fs::copy(Binary::Backupctl.path(), &program).map(drop))
            .expect("copy backupctl");
    }
    let mut command = hermetic_command(&program);
    command.args(["create", "--embedded", "--no-progress", "--backup-id", id]);
    command.arg("--vault").arg(format!("file://{}", world.vault().display()));
    command.arg("--storage").arg(format!("default={}", world.storage().display()));
    if json {
        command.arg("--json");
    }
    if is_root() {
        let owner = format!("{ID}:{ID}");
        run_checked(hermetic_command("chown").args(["-R", &owner]).args([world.storage(), world.vault()]));
        run_checked(hermetic_command("chown").arg(&owner).arg(world.path("")));
        command.uid(ID).gid(ID);
    }
    command.stdin(Stdio::null()).output().expect("backupctl starts")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// With this path below the storage unreadable, a run must name the item and have everything else.
#[track_caller]
fn assert_named(unreadable: &str, item: &str) {
    let (world, _) = world_with_bad();
    let path = world.storage().join(unreadable);
    let mode = path.metadata().expect("exists").permissions().mode();
    set_mode(&path, 0o000);
    let json = create_as_nobody(&world, "0001", true);
    let text = create_as_nobody(&world, "0002", false);
    set_mode(&path, mode);
    assert_eq!((json.status.code(), text.status.code()), (Some(3), Some(3)), "{json:?}\n{text:?}");
    let summary: RunSummary = serde_json::from_slice(&json.stdout).expect("a run summary");
    assert_eq!(summary.failures_total, 1, "{:?}", summary.failures);
    let failure = summary.failures[0].to_string();
    assert_eq!(summary.failures[0].item, item, "{failure}");
    assert_eq!(summary.repositories.backed_up, 2, "{failure}");
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("FAILED") && text.contains(item), "{text}");
}

#[test]
fn an_unreadable_repository() {
    assert_named("bad.git", "bad.git");
}

#[test]
fn an_unreadable_folder_of_repositories() {
    let (world, bad) = world_with_bad();
    fs::create_dir(world.storage().join("group")).expect("create folder");
    fs::rename(bad.path(), world.storage().join("group/bad.git")).expect("move");
    let group = world.storage().join("group");
    set_mode(&group, 0o000);
    let output = create_as_nobody(&world, "0001", true);
    set_mode(&group, 0o755);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let summary: RunSummary = serde_json::from_slice(&output.stdout).expect("a run summary");
    assert_eq!(summary.failures[0].item, "group");
    assert_eq!(summary.repositories.backed_up, 2);
}

#[test]
fn repositories_below_a_folder_that_cannot_be_read_any_more_keep_their_last_good_state() {
    let (world, bad) = world_with_bad();
    fs::create_dir(world.storage().join("group")).expect("create folder");
    fs::rename(bad.path(), world.storage().join("group/bad.git")).expect("move");
    let first = create_as_nobody(&world, "0001", true);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let group = world.storage().join("group");
    let state = GitRepo::open(group.join("bad.git")).state();
    set_mode(&group, 0o000);
    // Not once, but each night.
    for id in ["0002", "0003"] {
        let output = create_as_nobody(&world, id, true);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let summary: RunSummary = serde_json::from_slice(&output.stdout).expect("a run summary");
        let mut items: Vec<&str> = summary.failures.iter().map(|failure| failure.item.as_str()).collect();
        items.sort_unstable();
        assert_eq!(items, ["group", "group/bad.git"]);
        assert_eq!((summary.repositories.failed, summary.repositories.unchanged), (1, 2));
    }
    set_mode(&group, 0o755);
    let (place, restored) = world.restore_with("0003", &[], 3);
    RepoState::assert_same(&state, &GitRepo::open(place.join("group/bad.git")).state());
    let told = format!("{:?}", restored.failures);
    assert!(told.contains("restored as of an older backup") && !told.contains("never"), "{told}");
}

#[test]
fn unreadable_refs_objects_or_packs() {
    for inside in ["refs/heads", "packed-refs", "objects", "objects/pack", "HEAD"] {
        eprintln!("unreadable: {inside}");
        assert_named(&format!("bad.git/{inside}"), "bad.git");
    }
}
