//! What a restore leaves alone: exclusions, other places, what it cannot bring; and what goes with the old tree.

use super::*;

/// A directory's exclusions of the next test.
const EXCLUDED: [&str; 3] = ["tmp", "sub/cache", "*.local"];

#[tokio::test]
async fn what_a_directory_excludes_stays_when_it_is_replaced() {
    let world = World::new();
    let src = world.path("src");
    fill(&src, &[("keep", "stored"), ("sub/file", "stored"), ("tmp/x", "then"), ("sub/cache/y", "then")]);
    let summary = world.backed_up(&EXCLUDED).await;
    assert_eq!(summary.exclude, EXCLUDED);
    let read = |path: &str| fs::read_to_string(world.path("target").join(path)).ok();
    let target = world.path("target");
    // By what is configured now, and by what was when the backup was made.
    for exclude in [&EXCLUDED[..], &[]] {
        fill(
            &target,
            &[("keep", "changed"), ("newer", "x"), ("sub/newer", "x"), ("sub/lost+found/f", "kept")],
        );
        fill(&target, &[("tmp/x", "now"), ("sub/cache/deep/y", "now"), ("a/b/c.local", "now")]);
        fs::set_permissions(target.join("a"), Permissions::from_mode(0o710)).expect("set mode");
        let (old, time) = (fs::metadata(target.join("tmp")).expect("there").ino(), Duration::from_secs(77));
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + time);
        File::open(target.join("a/b")).and_then(|folder| folder.set_times(times)).expect("set time");
        assert_eq!(world.replace(excluding(&target, exclude), &summary).await.expect("restored"), None);
        assert_eq!((read("keep").as_deref(), read("sub/file").as_deref()), (Some("stored"), Some("stored")));
        assert_eq!((read("newer"), read("sub/newer")), (None, None));
        for (path, text) in [
            ("tmp/x", "now"),
            ("sub/cache/deep/y", "now"),
            ("a/b/c.local", "now"),
            ("sub/lost+found/f", "kept"),
        ] {
            assert_eq!(read(path).as_deref(), Some(text), "{path}");
        }
        let metadata = |path: &str| fs::metadata(world.path(path)).expect("metadata");
        assert_eq!(metadata("target/tmp").ino(), old, "it is moved, not copied");
        assert_eq!(metadata("target/a").mode() & 0o7777, 0o710);
        assert_eq!(metadata("target/a/b").mtime(), 77);
        for folder in ["", "/sub"] {
            let time = |root: &str| metadata(&format!("{root}{folder}")).mtime_nsec();
            assert_eq!(time("src"), time("target"), "{folder}");
        }
        world.assert_no_leftovers();
    }
}

#[tokio::test]
async fn what_is_excluded_but_in_the_backup_stops_a_restore_before_it_touches_anything() {
    let world = World::new();
    fill(&world.path("src"), &[("cache/x", "stored"), ("flat", "stored"), ("gone/x", "stored")]);
    fs::create_dir(world.path("src/empty")).expect("create folder");
    let summary = world.backed_up(&[]).await;
    let target = world.path("target");
    fill(&target, &[("cache/x", "now"), ("flat/deep/x.tmp", "now"), ("empty/x", "now")]);
    let before = TreeState::of(&target);
    for (exclude, named) in [("cache", "target/cache"), ("*.tmp", "flat/deep/x.tmp")] {
        // A dry run does not read the archive, and says which paths it could not compare.
        let planned = plan_one(excluding(&target, &[exclude]), &summary).await.expect("planned");
        let unseen = planned.unseen.expect("said").to_string();
        assert!(unseen.contains(named) && unseen.contains("not looked at"), "{unseen}");
        let problem = world.replace(excluding(&target, &[exclude]), &summary).await.expect_err(exclude);
        assert_eq!((problem.kind, problem.subject), (ErrorKind::Invalid, Subject::Directory));
        assert!(problem.to_string().contains(named), "{problem}");
        TreeState::assert_same(&before, &TreeState::of(&target));
        world.assert_no_leftovers();
    }
    // A folder that the backup holds empty is no obstacle, and neither is what is not in the target.
    world.replace(excluding(&target, &["empty", "gone"]), &summary).await.expect("restored");
    assert_eq!(fs::read_to_string(target.join("empty/x")).expect("kept"), "now");
    assert_eq!(fs::read_to_string(target.join("gone/x")).expect("restored"), "stored");
}

#[tokio::test]
async fn a_restore_that_died_after_its_swap_is_finished_by_the_next() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "stored"), ("sub/b", "stored")]);
    let summary = world.backed_up(&["tmp"]).await;
    let target = world.path("target");
    let kept = kept::Kept::new(vec!["tmp".into(), "sub/tmp".into()], []);
    for tree in ["new", "old"] {
        let working = world.path(".target.packhorse-restore-b0");
        // The trees have changed places, one path is carried over, the other one not yet.
        fill(&working.join(tree), &[("a", "old"), ("sub/tmp/y", "precious")]);
        kept.record(&working, &working.join(tree)).expect("recorded");
        fill(&target, &[("a", "stored"), ("sub/b", "stored"), ("tmp/x", "precious")]);
        let problem = world.restore(&target, &summary, false).await.expect_err("not empty");
        assert_eq!(problem.kind, ErrorKind::AlreadyExists, "{problem}");
        for (path, text) in [("a", "stored"), ("tmp/x", "precious"), ("sub/tmp/y", "precious")] {
            assert_eq!(fs::read_to_string(target.join(path)).expect("there"), text, "{path}");
        }
        world.assert_no_leftovers();
        fs::remove_dir_all(&target).expect("remove");
    }
    // Died before the swap: the old tree is where it was, and what was unpacked goes.
    fill(&target, &[("tmp/x", "precious")]);
    let working = world.path(".target.packhorse-restore-b0");
    fill(&working.join("new"), &[("a", "stored")]);
    kept.record(&working, &target).expect("recorded");
    world.replace(excluding(&target, &["tmp"]), &summary).await.expect("restored");
    assert_eq!(fs::read_to_string(target.join("tmp/x")).expect("kept"), "precious");
    world.assert_no_leftovers();
    // What cannot be carried over is never deleted, and does not keep the next restore.
    fill(&working.join("new"), &[("tmp/x", "more precious")]);
    kept.record(&working, &working.join("new")).expect("recorded");
    world.replace(excluding(&target, &["tmp"]), &summary).await.expect("restored");
    assert_eq!(fs::read_to_string(target.join("tmp/x")).expect("kept"), "precious");
    assert_eq!(fs::read_to_string(working.join("new/tmp/x")).expect("kept"), "more precious");
}

#[tokio::test]
async fn other_places_in_the_target_or_in_leftovers_stop_a_restore() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "stored")]);
    let summary = world.backed_up(&[]).await;
    let target = world.path("target");
    fill(&target, &[("mine", "x"), ("git/team/a.git/HEAD", "x")]);
    symlink(target.join("git"), world.path("link")).expect("make link");
    let leftovers = world.path(".target.packhorse-restore-b0");
    fill(&leftovers, &[("storage/a.git/HEAD", "x")]);
    let storage = "default".parse().expect("valid name");
    for place in [
        target.clone(),
        target.join("git"),
        world.path("link/team"),
        leftovers.join("storage"),
        leftovers.clone(),
    ] {
        let others = vec![Place::vault(&world.path("vault")), Place::storage(&storage, &place)];
        let problem =
            world.replace(Target { others, ..to(&target) }, &summary).await.expect_err("another place");
        assert_eq!(problem.kind, ErrorKind::Invalid);
        assert!(problem.to_string().contains("[[storage]] default"), "{problem}");
        assert!(format!("{problem:?}").contains("left as it was"), "{problem:?}");
        assert!(target.join("git/team/a.git/HEAD").exists() && leftovers.join("storage/a.git/HEAD").exists());
    }
}

#[tokio::test]
async fn what_a_restore_cannot_bring_is_named_and_what_was_there_stays() {
    use EntryType as T;
    let world = World::new();
    let target = world.path("target");
    fill(&target, &[("bad", "live"), ("sub/worse/x", "live"), ("unread", "live"), ("gone", "live")]);
    let odd = b"22 GNU.sparse.major=7\n".to_vec();
    let members = [
        member(T::Regular, "./a", "", b"stored"),
        member(T::new(b'Z'), "./bad", "", b"contents that are skipped"),
        member(T::Directory, "./sub/", "", b""),
        member(T::XHeader, "x", "", &odd),
        member(T::Regular, "./sub/worse", "", b"0\n"),
        member(T::Regular, "./unread", "", b"zeros"),
        member(T::Regular, "./z", "", b"stored"),
    ];
    let summary = world.store(&archive(&members));
    let restored = world
        .restore_in_part(Target { unread: vec![b"unread".to_vec()], ..to(&target) }, &summary)
        .await
        .expect("restored in part");
    let items: Vec<&str> = restored.missing.iter().map(|missing| missing.item.as_str()).collect();
    assert_eq!(items, ["bad", "sub/worse"]);
    for (path, text) in
        [("a", "stored"), ("z", "stored"), ("bad", "live"), ("sub/worse/x", "live"), ("unread", "live")]
    {
        assert_eq!(fs::read_to_string(target.join(path)).expect(path), text, "{path}");
    }
    assert!(!target.join("gone").exists());
    world.assert_no_leftovers();
}

#[tokio::test]
async fn what_is_immutable_goes_with_the_old_tree() {
    use rustix::fs::{IFlags, ioctl_setflags};
    let world = World::new();
    fill(&world.path("src"), &[("a", "1")]);
    let summary = world.backed_up(&["tmp"]).await;
    let target = world.path("target");
    fill(&target, &[("sub/file", "x"), ("tmp/kept", "y")]);
    let mark =
        |path: &str, flags| File::open(target.join(path)).and_then(|file| Ok(ioctl_setflags(&file, flags)?));
    for (path, flags) in [
        ("sub/file", IFlags::IMMUTABLE),
        ("sub", IFlags::APPEND),
        ("tmp/kept", IFlags::IMMUTABLE),
        ("tmp", IFlags::IMMUTABLE),
    ] {
        if mark(path, flags).is_err() {
            packhorse_testkit::skipped("files cannot be made immutable");
            return;
        }
    }
    assert_eq!(world.replace(to(&target), &summary).await.expect("restored"), None);
    assert!(!target.join("sub").exists());
    assert_eq!(fs::read_to_string(target.join("tmp/kept")).expect("kept"), "y");
    // What is kept is as protected as it was.
    let protected = fs::write(target.join("tmp/new"), "").expect_err("still immutable");
    assert_eq!(protected.kind(), std::io::ErrorKind::PermissionDenied);
    world.assert_no_leftovers();
    for path in ["tmp", "tmp/kept"] {
        mark(path, IFlags::empty()).expect("unmark");
    }
}

#[tokio::test]
async fn a_dry_run_finds_what_it_can_without_the_archive() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "stored"), ("tmp/x", "excluded")]);
    let summary = world.backed_up(&["tmp"]).await;
    let target = world.path("target");
    fill(&target, &[("a", "now"), ("tmp/x", "now"), ("closed/x", "now")]);
    let planned = plan_one(excluding(&target, &["tmp"]), &summary).await.expect("planned");
    assert!(planned.unseen.is_none(), "what was excluded then cannot be in the archive: {planned:?}");
    let planned = plan_one(to(&world.path("nowhere")), &summary).await.expect("planned");
    assert!(planned.unseen.is_none(), "{planned:?}");
    if !is_root() {
        return;
    }
    // What cannot be looked into stops the restore, and so it does the plan.
    let hidden = target.join("closed/link");
    fs::create_dir(&hidden).expect("create folder");
    let Some(_mount) = Mount::new(&hidden) else { return };
    let planned = plan_one(to(&target), &summary).await.expect_err("a mount");
    let restored = world.replace(to(&target), &summary).await.expect_err("a mount");
    assert_eq!(Some(planned.to_string()), Some(restored.to_string()));
}
