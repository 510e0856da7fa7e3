//! What a backup does when the folder changes under its hands.

use super::*;

/// Does this in the middle of tar's work, after it has read the first folder's names.
const MIDWAY: &str = "tar --checkpoint=100 --checkpoint-action=exec=\"$0.midway\" \"$@\"";

impl World {
    /// The directory, with a script that runs once while tar reads it.
    fn midway(&self, script: &str) -> Directory {
        let directory = self.scripted(MIDWAY);
        let path = self.path("tar.sh.midway");
        let once = format!(
            "#!/bin/bash\nset -e\ncd '{}'\n[ ! -e done ] || exit 0\ntouch done\n",
            self.folder.path().display()
        );
        fs::write(&path, once + script).expect("write script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("make executable");
        fs::write(self.path("src/+first"), vec![b'x'; 4 << 20]).expect("write file");
        directory
    }
}

#[tokio::test]
async fn a_folder_that_is_replaced_or_removed_while_it_is_read_is_not_stored() {
    for script in ["mv src was; mkdir src; cp was/* src", "mv src was; cp -a was src", "rm -r src"] {
        let world = World::new();
        fill(&world.path("src"), &[("a", "1"), ("b", "2")]);
        let problem = world.not_stored(&world.midway(script)).await;
        assert!(problem.to_string().contains("replaced or removed while it was read"), "{script}: {problem}");
    }
}

#[tokio::test]
async fn a_fifo_in_place_of_the_folder_is_no_folder_and_is_not_waited_for() {
    let world = World::new();
    fs::remove_dir_all(world.path("src")).expect("remove folder");
    packhorse_testkit::run_checked(packhorse_testkit::hermetic_command("mkfifo").arg(world.path("src")));
    assert_eq!(world.not_stored(&world.directory(&[])).await.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn more_than_a_few_files_that_go_away_while_they_are_read_are_a_failure() {
    for (script, fewer, lost) in [
        ("rm src/f1*", 11, Some("11 of 34 files")),
        ("rm src/f10 src/f11", 2, None),
        // What is in a folder that goes away has no line of tar's.
        ("rm -r src/sub", 10, Some("10 of 34 files")),
        ("mv src/sub src/0sub", 10, Some("10 of 34 files")),
        ("mv src/sub/1 src/1; mv src/sub/2 src/2", 2, None),
    ] {
        let world = World::new();
        let src = world.path("src");
        for number in 0..23 {
            fill(&src, &[(&format!("f{number}"), "x")]);
        }
        for number in 0..10 {
            fill(&src, &[(&format!("sub/{number}"), "x")]);
        }
        let (summary, failures) = world.back_up(&world.midway(script)).await.expect("archived");
        let told: Vec<String> = failures.iter().map(|failure| failure.problem.to_string()).collect();
        assert_eq!(told.len(), usize::from(lost.is_some()), "{script}: {told:?}");
        assert!(lost.is_none_or(|lost| told[0].contains(lost)), "{script}: {told:?}");
        assert_eq!(summary.fewer_files, fewer, "{script}");
        // Files of a folder that tar has not listed yet are not known by name.
        assert_eq!(summary.removed_while_read.is_empty(), script.contains("sub/"), "{script}");
        // It is no path in the directory, so nothing of that name is kept by a restore.
        assert!(failures.iter().all(|failure| failure.problem.what != UNREAD), "{script}");
    }
}

#[tokio::test]
async fn a_backup_and_a_restore_of_one_folder_exclude_each_other() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1"), ("b", "2")]);
    let summary = world.backed_up(&[]).await;
    let src = world.path("src");
    let (patient, hasty) = (world.directory(&[]), Duration::ZERO);
    let take = |how| Claim::take(&src, how, hasty, &world.cancel);
    // Whatever path leads to the folder.
    symlink(&src, world.path("link")).expect("link");
    let reading = take(Use::Reading).await.expect("free").expect("there");
    take(Use::Reading).await.expect("two backups may read it");
    for target in [&src, &world.path("link")] {
        let problem = world.restore(target, &summary, true).await.expect_err("being read");
        assert!(problem.to_string().contains("a backup of it is under way"), "{problem}");
        let problem = plan_one(to(target), &summary).await.expect_err("being read");
        assert!(problem.to_string().contains("a backup of it is under way"), "{problem}");
    }
    drop(reading);
    let replacing = take(Use::Replacing).await.expect("free").expect("there");
    let problem = world.back_up(&Directory { patience: hasty, ..patient.clone() }).await.expect_err("busy");
    assert!(problem.to_string().contains("a restore of it is under way"), "{problem}");
    let problem = world.restore(&src, &summary, true).await.expect_err("being replaced");
    assert!(problem.to_string().contains("another restore of it is under way"), "{problem}");
    // Who waits reads what is there then, not what was replaced.
    let again = RunAttempt::first("b2".parse().expect("literal ID"));
    let waiting = back_up(&world.vault, &again, &patient, &world.cancel, |_, _| {});
    let ending = async {
        tokio::task::yield_now().await;
        fs::rename(&src, world.path("was")).expect("move away");
        fill(&src, &[("new", "3")]);
        drop(replacing);
    };
    let (backed_up, ()) = tokio::join!(waiting, ending);
    assert_eq!(backed_up.expect("archived").0.files, Some(1));
}

#[tokio::test]
async fn a_restore_that_is_under_way_keeps_backups_away_until_its_end() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1"), ("b", "2")]);
    let summary = world.backed_up(&[]).await;
    let (src, looked) = (world.path("src"), std::sync::atomic::AtomicBool::new(false));
    let looked = std::sync::Arc::new(looked);
    let seen = (src.clone(), std::sync::Arc::clone(&looked));
    let progress = move |_: &str, _| {
        let busy = File::open(&seen.0).is_ok_and(|folder| {
            rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
        });
        seen.1.fetch_or(busy, std::sync::atomic::Ordering::SeqCst);
    };
    restore_one(&world.vault, &world.run.id, to(&src), &summary, &world.cancel, progress)
        .await
        .expect("restored");
    assert!(looked.load(std::sync::atomic::Ordering::SeqCst), "claimed while the archive is read");
    let free = Claim::take(&src, Use::Reading, Duration::ZERO, &world.cancel).await;
    assert!(free.expect("free again").is_some());
}
