//! Two coordinators at once, over the same agents and on the same vault: neither does the other harm.
//!
//! Does not own: coordinators that die (`crashes`). Runs overlap for certain, because packs are held until both are there.

use std::time::Duration;

use packhorse_testkit::{RepoState, assert_stays};

use super::{
    super::{
        daemons::SOON,
        site::{assert_restored, listed},
    },
    Post,
    counted_git::CountedGit,
};

/// Two coordinators over two agents, whose repositories have changed since the backup `0001`.
fn rivals(git: &CountedGit) -> Post {
    let mut post = Post::started(&[&["first", "back"], &["second"]], &git.line(), "");
    post.start(&post.addresses.clone(), "");
    for storage in ["first", "second"] {
        post.fill(storage, 3);
    }
    post.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    for storage in ["first", "second"] {
        post.change(storage, 3);
    }
    post
}

fn states(post: &Post, storage: &str) -> Vec<RepoState> {
    (0..3).map(|number| post.repo(&format!("{storage}/{number:02}.git")).state()).collect()
}

/// Restores a storage of a backup elsewhere and compares.
#[track_caller]
fn assert_holds(post: &Post, id: &str, storage: &str, expected: &[RepoState]) {
    let pair = format!("{storage}=back");
    post.ctl(["restore", id, "--storage", storage, "--to-storage", &pair]).run().expect_success();
    for (number, state) in expected.iter().enumerate() {
        let path = post.site.path(&format!("back/{number:02}.git"));
        assert_restored(state, &path);
        std::fs::remove_dir_all(&path).expect("remove what was restored");
    }
}

#[test]
fn one_backup_id_goes_to_one_of_them() {
    let git = CountedGit::new();
    let post = rivals(&git);
    git.close("");
    let mut runs = [0, 1].map(|number| post.ctl_at(number, ["create", "--backup-id", "0002"]).spawn());
    git.wait_for(1);
    let late = post.ctl_at(1, ["create", "--backup-id", "0002"]).run();
    assert_eq!(late.code, 1, "{late:#?}");
    git.open();
    let codes: Vec<i32> = runs.iter_mut().map(|run| run.wait(SOON)).collect();
    let told: Vec<String> = runs.iter().map(|run| run.lines().join("\n")).collect();
    let won = codes.iter().position(|code| *code == 0).unwrap_or_else(|| panic!("{codes:?}\n{told:#?}"));
    assert_eq!(codes[1 - won], 1, "{told:#?}");
    assert!(told[1 - won].contains("the backup ID is taken"), "{told:#?}");
    for number in [0, 1] {
        assert_eq!(listed(post.ctl_at(number, [])), ["0002", "0001"]);
    }
    for storage in ["first", "second"] {
        assert_holds(&post, "0002", storage, &states(&post, storage));
    }
}

#[test]
fn different_storages_are_backed_up_beside_each_other() {
    let git = CountedGit::new();
    let post = rivals(&git);
    git.close("");
    let storages = ["first", "second"];
    let mut runs = [0, 1].map(|number| {
        let (id, storage) = (format!("000{}", number + 2), storages[number]);
        post.ctl_at(number, ["create", "--backup-id", &id, "--storage", storage]).spawn()
    });
    git.wait_for(2);
    git.open();
    for run in &mut runs {
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    }
    for (number, storage) in storages.into_iter().enumerate() {
        assert_holds(&post, &format!("000{}", number + 2), storage, &states(&post, storage));
    }
}

#[test]
fn the_same_storages_are_backed_up_by_one_after_the_other() {
    let git = CountedGit::new();
    let post = rivals(&git);
    git.close("");
    let create =
        |number: usize| post.ctl_at(number, ["create", "--backup-id", &format!("000{}", number + 2)]);
    let mut first = create(0).spawn();
    git.wait_for(2);
    let mut second = create(1).spawn();
    post.coordinators[1].wait_for_line("busy with backup 0002", SOON);
    git.open();
    for run in [&mut first, &mut second] {
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    }
    for storage in ["first", "second"] {
        for id in ["0002", "0003"] {
            assert_holds(&post, id, storage, &states(&post, storage));
        }
    }
}

#[test]
fn a_storage_is_kept_for_a_coordinator_that_is_killed_and_comes_back() {
    let git = CountedGit::new();
    let mut post = rivals(&git);
    git.close("");
    let create = |post: &Post, number: usize| {
        post.ctl_at(number, ["create", "--backup-id", &format!("000{}", number + 2)]).spawn()
    };
    let mut first = create(&post, 0);
    git.wait_for(2);
    post.coordinators[0].kill();
    let mut second = create(&post, 1);
    post.coordinators[1].wait_for_line("busy with backup 0002", SOON);
    post.start_again(0);
    post.coordinators[0].wait_for_line("resuming run", SOON);
    git.open();
    for run in [&mut first, &mut second] {
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    }
    assert_eq!(
        git.started(),
        6,
        "nothing was begun again, and the second run uses what the first has stored"
    );
    for (id, storage) in [("0002", "first"), ("0003", "second")] {
        assert_holds(&post, id, storage, &states(&post, storage));
    }
}

#[test]
fn a_run_that_has_to_wait_changes_no_limits_of_the_one_that_is_at_work() {
    let git = CountedGit::new();
    let mut post = Post::new(&[&["first"]], &format!("jobs = 4\n{}", git.line()));
    post.start(&post.addresses.clone(), "jobs = 1");
    post.start(&post.addresses.clone(), "");
    post.fill("first", 6);
    post.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    post.change("first", 6);
    git.close("");
    let mut first = post.ctl_at(0, ["create", "--backup-id", "0002"]).spawn();
    git.wait_for(1);
    let mut waiting = post.ctl_at(1, ["create", "--backup-id", "0003"]).spawn();
    post.coordinators[1].wait_for_line("busy with backup 0002", SOON);
    assert_stays("the limit of the run that is at work", Duration::from_millis(1500), || {
        match git.started() {
            1 => Ok(()),
            many => Err(format!("{many} at once")),
        }
    });
    git.open();
    for run in [&mut first, &mut waiting] {
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    }
}
