//! A reader beside a restore sees no repository, the old one or the new one, and never half of one.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use packhorse_testkit::GitRepo;

use crate::world::World;

/// Reads the repository as a server would; says whether it was there all the time.
fn read(place: &Path, refs: usize) -> bool {
    let Some(found) = answer(place, &["for-each-ref", "--format=%(refname)"]) else { return false };
    assert_eq!(found.lines().count(), refs);
    answer(place, &["cat-file", "-e", "HEAD^{tree}"]).is_some()
        && answer(place, &["rev-list", "--objects", "--all", "--quiet"]).is_some()
}

/// What git says; none when the folder that it was started in has been replaced and removed meanwhile.
fn answer(place: &Path, args: &[&str]) -> Option<String> {
    if !place.exists() {
        return None;
    }
    let output = GitRepo::open(place).try_run(args);
    let told = String::from_utf8_lossy(&output.stderr);
    if told.contains("current working directory") {
        return None;
    }
    assert!(output.status.success(), "{args:?}: {told}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_reader_never_sees_half_a_repository() {
    let world = World::new();
    let repo = world.repo("a.git");
    let tip = repo.fill("main", 30);
    for number in 0..150 {
        repo.update_ref(format!("refs/heads/topic-{number}"), &tip);
    }
    world.backup(&[]);
    repo.fill("main", 30);
    let backup = world.backup(&[]);
    let refs = repo.run(&["for-each-ref"]).lines().count();
    let folder = world.path("beside");
    fs::create_dir(&folder).expect("create folder");
    let storage = format!("default={}", folder.display());
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(SeqCst) {
                reads.fetch_add(u64::from(read(&folder.join("a.git"), refs)), SeqCst);
            }
        });
        for round in 0..8 {
            // The same backup each time: a reader that reads on while another state takes the place is not our matter.
            let force = if round == 0 { "--quiet" } else { "--force" };
            world.call("restore").args([&backup.id, "--storage", &storage, force]).run().expect_success();
            let before = reads.load(SeqCst);
            // At least one read of what is there now, or the reader's panic.
            packhorse_testkit::wait_until("a read", std::time::Duration::from_secs(60), || {
                if reads.load(SeqCst) > before || reader.is_finished() { Ok(()) } else { Err("none".into()) }
            });
        }
        stop.store(true, SeqCst);
    });
    assert!(read(&folder.join("a.git"), refs));
}
