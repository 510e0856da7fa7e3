//! What a restore leaves that dies half way, and what backups and restores make of it.

use super::*;

/// The working folder of a restore that died in the middle of its swap of single entries.
struct Dead {
    world: World,
    summary: DirectorySummary,
    target: PathBuf,
    working: PathBuf,
    _mount: Mount,
}

impl Dead {
    /// The backup has `a`, `b` and `new`; `a`, `b` and `mine` were there, and `tmp` is excluded.
    async fn new() -> Option<Self> {
        let world = World::new();
        fill(&world.path("src"), &[("a", "stored"), ("b/x", "stored"), ("new", "stored")]);
        let summary = world.backed_up(&["tmp", "b/tmp"]).await;
        let target = world.path("mounted");
        let Some(mount) = Mount::new(&target) else {
            packhorse_testkit::skipped("nothing can be mounted");
            return None;
        };
        let working = target.join(".packhorse-restore-b0");
        fill(
            &target,
            &[("a", "old"), ("b/x", "old"), ("b/tmp/y", "kept"), ("mine", "old"), ("tmp/z", "kept")],
        );
        Some(Self { world, summary, target, working, _mount: mount })
    }

    /// Dies after so many moves: out go `a`, `b` and `mine`, and in come `a`, `b` and `new`.
    fn die_after(&self, moves: usize) {
        fill(&self.working.join("new"), &[("a", "stored"), ("b/x", "stored"), ("new", "stored")]);
        let old = self.working.join("old");
        fs::create_dir(&old).expect("create folder");
        let kept = kept::Kept::new(vec!["tmp".into(), "b/tmp".into()], []);
        let comes = ["a", "b", "new"].map(|name| name.as_bytes().to_vec()).to_vec();
        kept.record_swap(&self.working, &old, comes).expect("recorded");
        let out = ["a", "b", "mine"].map(|name| (self.target.join(name), old.join(name)));
        let into =
            ["a", "b", "new"].map(|name| (self.working.join("new").join(name), self.target.join(name)));
        for (from, to) in out.into_iter().chain(into).take(moves) {
            fs::rename(from, to).expect("moved");
        }
    }

    fn directory(&self) -> Directory {
        Directory { path: self.target.clone(), ..self.world.directory(&["tmp", "b/tmp"]) }
    }

    async fn back_up(&self, id: &str) -> Result<(DirectorySummary, Vec<ItemFailure>), Problem> {
        let run = RunAttempt::first(id.parse().expect("literal ID"));
        back_up(&self.world.vault, &run, &self.directory(), &self.world.cancel, |_, _| {}).await
    }

    fn target(&self, force: bool) -> Target {
        Target { force, ..excluding(&self.target, &["tmp", "b/tmp"]) }
    }
}

#[tokio::test]
async fn a_backup_of_a_directory_that_is_half_in_place_fails_until_it_is_restored_again() {
    for moves in 0..=6 {
        let Some(dead) = Dead::new().await else { return };
        let before = TreeState::of(&dead.target);
        dead.die_after(moves);
        for night in ["n1", "n2"] {
            let problem = dead.back_up(night).await.expect_err("half in place");
            let said = format!("{problem:?}");
            assert!(said.contains("died half way") && said.contains("--force"), "{moves}: {said}");
        }
        // Nothing but a forced restore undoes it, and a dry run says so.
        let refused = plan_one(dead.target(false), &dead.summary).await.expect_err("needs force");
        assert!(format!("{refused:?}").contains("restore it again with --force"), "{refused:?}");
        dead.world.restore_in_part(dead.target(false), &dead.summary).await.expect_err("needs force");
        plan_one(dead.target(true), &dead.summary).await.expect("goes on");
        // One that fails after that leaves what was there before the one that died.
        let damaged = DirectorySummary { bytes_plain: 1, ..dead.summary.clone() };
        dead.world.restore_in_part(dead.target(true), &damaged).await.expect_err("damaged");
        let mut after = TreeState::of(&dead.target);
        after.entries.insert("".into(), before.entries[Path::new("")].clone());
        TreeState::assert_same(&before, &after);
        dead.world.replace(dead.target(true), &dead.summary).await.expect("restored");
        let read = |path: &str| fs::read_to_string(dead.target.join(path)).ok();
        assert_eq!((read("a").as_deref(), read("b/x").as_deref()), (Some("stored"), Some("stored")));
        assert_eq!((read("new").as_deref(), read("mine")), (Some("stored"), None));
        assert_eq!((read("tmp/z").as_deref(), read("b/tmp/y").as_deref()), (Some("kept"), Some("kept")));
        assert!(!dead.working.exists());
        assert_eq!(dead.back_up("n3").await.expect("whole again").0.files, Some(3));
    }
}

#[tokio::test]
async fn what_was_written_since_or_is_not_proven_is_left_with_what_to_do() {
    let Some(dead) = Dead::new().await else { return };
    dead.die_after(6);
    fill(&dead.target, &[("b/tmp/since", "precious")]);
    let refused = plan_one(dead.target(true), &dead.summary).await.expect_err("not undone");
    assert!(refused.to_string().contains("b/tmp is excluded and was written since"), "{refused}");
    fs::remove_dir_all(dead.target.join("b/tmp")).expect("remove");
    fs::remove_file(dead.working.join("kept.json")).expect("remove");
    let refused = dead.world.restore_in_part(dead.target(true), &dead.summary).await.expect_err("not proven");
    let next = refused.next.expect("a next step");
    let command = next.split('`').nth(1).expect("a command");
    // By hand: what is newer in the directory is moved away, and then the command does the rest.
    for name in ["a", "b", "new"] {
        fs::rename(dead.target.join(name), dead.target.join(format!("{name}-newer"))).expect("move away");
    }
    run_checked(hermetic_command("sh").args(["-c", command]));
    dead.world.replace(dead.target(true), &dead.summary).await.expect("restored");
    assert_eq!(fs::read_to_string(dead.target.join("b/tmp/y")).expect("kept"), "kept");
}

#[tokio::test]
async fn a_backup_fails_while_what_the_restore_had_to_keep_is_still_in_the_old_tree() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1")]);
    let working = world.path(".src.packhorse-restore-b0");
    fill(&working, &[("new/sub/unread", "old"), ("new/a", "old")]);
    let kept = kept::Kept::new(vec![], [b"sub/unread".to_vec()]);
    kept.record(&working, &working.join("new")).expect("recorded");
    let problem = world.not_stored(&world.directory(&[])).await;
    assert!(problem.to_string().contains("died half way"), "{problem}");
    // What is left of the old tree alone belongs nowhere.
    fs::remove_dir_all(working.join("new/sub")).expect("remove");
    world.backed_up(&[]).await;
}
