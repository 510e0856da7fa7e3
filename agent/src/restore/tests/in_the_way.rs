//! What a forced restore would remove beside the repository that it replaces: it refuses that place, and so does its plan.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use packhorse_model::ErrorKind;
use packhorse_testkit::{BindMount, GitRepo, RepoState, TreeState, run_checked};
use tokio_util::sync::CancellationToken;

use super::{
    desk::{Desk, run},
    places::{force, written},
    writer::Writer,
};

/// A vault with `a.git` and `b.git`, and a storage that has both.
fn site() -> (tempfile::TempDir, GitRepo, Writer, Desk) {
    let (folder, repo, writer) = written(&["a.git", "b.git"]);
    let desk = Desk::new();
    for path in ["a.git", "b.git"] {
        GitRepo::init(desk.path(path)).fill("main", 2);
    }
    (folder, repo, writer, desk)
}

/// Plan and restore refuse `a.git` with these words, leave everything there as it is, and restore `b.git`.
#[track_caller]
fn assert_refused(desk: &Desk, writer: &mut Writer, words: &str) {
    let before = TreeState::of(desk.path("a.git"));
    let forced = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(force(desk, writer, &["a.git", "b.git"]))
    });
    let (plan, ran) = forced;
    assert_eq!((plan.replaced, plan.refused), (1, 1), "{words}: {:?}", plan.failures);
    assert_eq!(ran.result.expect("restore").restored, 1, "{words}");
    for failures in [&plan.failures, &ran.failures] {
        assert_eq!(failures.len(), 1, "{words}: {failures:?}");
        assert_eq!(failures[0].item, "a.git");
        assert!(failures[0].problem.to_string().contains(words), "{words}: {failures:?}");
        assert!(failures[0].problem.next.is_some(), "{words}: {failures:?}");
    }
    TreeState::assert_same(&before, &TreeState::of(desk.path("a.git")));
    desk.assert_tidy();
}

/// Git's own folders are no place to hide in.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_another_one_in_any_of_its_folders_is_not_replaced() {
    let (_folder, repo, mut writer, desk) = site();
    for folder in [
        "lfs",
        "objects",
        "objects/x",
        "objects/aa",
        "objects/pack",
        "hooks",
        "info",
        "logs",
        "branches",
        "worktrees",
        "refs",
        "refs/heads",
        "custom_hooks",
        "modules",
        "x/y/z",
    ] {
        let inner = desk.path("a.git").join(folder).join("inner");
        fs::create_dir_all(inner.parent().expect("a parent")).expect("create folder");
        GitRepo::init(&inner);
        assert_refused(&desk, &mut writer, &format!("another repository lies in it: {folder}/inner"));
        // What is left of one may be all that there is.
        fs::remove_file(inner.join("HEAD")).expect("remove");
        assert_refused(&desk, &mut writer, &format!("another repository lies in it: {folder}/inner"));
        fs::remove_dir_all(&inner).expect("remove");
    }
    let (_, ran) = force(&desk, &mut writer, &["a.git"]).await;
    assert_eq!((ran.failures, ran.result.expect("restore").restored), (Vec::new(), 1));
    RepoState::assert_same(&repo.state(), &desk.repo("a.git").state());
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_and_worktrees_may_be_called_like_the_parts_of_a_repository() {
    let (_folder, repo, mut writer, desk) = site();
    let old = GitRepo::open(desk.path("a.git"));
    let tip = old.run(&["rev-parse", "main"]);
    old.run(&["config", "core.logAllRefUpdates", "always"]);
    for name in
        ["HEAD", "objects/pack/x", "refs/heads/y", "config", "packed-refs", "x.git/HEAD", "x.git/config"]
    {
        old.update_ref(format!("refs/heads/evil.git/{name}"), &tip);
    }
    assert!(desk.path("a.git/logs/refs/heads/evil.git/HEAD").exists());
    let (plan, ran) = force(&desk, &mut writer, &["a.git"]).await;
    assert_eq!((plan.replaced, plan.failures), (1, Vec::new()));
    assert_eq!((ran.failures, ran.result.expect("restore").restored), (Vec::new(), 1));
    RepoState::assert_same(&repo.state(), &desk.repo("a.git").state());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_a_linked_worktree_is_not_replaced() {
    let (folder, _repo, mut writer, desk) = site();
    let old = GitRepo::open(desk.path("a.git"));
    let worktree = folder.path().join("worktree.git");
    old.run(&["worktree", "add", "--detach", &worktree.display().to_string(), "main"]);
    assert_refused(&desk, &mut writer, &format!("a linked worktree works with it: {}", worktree.display()));
    fs::remove_dir_all(&worktree).expect("remove");
    let (_, ran) = force(&desk, &mut writer, &["a.git"]).await;
    assert_eq!((ran.failures, ran.result.expect("restore").restored), (Vec::new(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_place_of_a_repository_is_not_replaced_and_a_link_is() {
    let (folder, repo, mut writer, desk) = site();
    let elsewhere = folder.path().join("elsewhere.git");
    fs::rename(desk.path("a.git"), &elsewhere).expect("move away");
    run_checked(
        packhorse_testkit::hermetic_command("git")
            .arg("--git-dir")
            .arg(&elsewhere)
            .args(["bundle", "create", "-q"])
            .arg(desk.path("a.git"))
            .arg("--all"),
    );
    let before = fs::read(desk.path("a.git")).expect("bundle");
    let (plan, ran) = force(&desk, &mut writer, &["a.git"]).await;
    assert_eq!((plan.refused, ran.result.expect("restore").restored), (1, 0));
    for failures in [&plan.failures, &ran.failures] {
        assert!(failures[0].problem.to_string().contains("it is a file, and no repository"), "{failures:?}");
    }
    assert_eq!(fs::read(desk.path("a.git")).expect("bundle"), before);
    fs::remove_file(desk.path("a.git")).expect("remove");
    symlink(&elsewhere, desk.path("a.git")).expect("make link");
    let before = TreeState::of(&elsewhere);
    let (plan, ran) = force(&desk, &mut writer, &["a.git"]).await;
    assert_eq!((plan.replaced, ran.result.expect("restore").restored), (1, 1));
    RepoState::assert_same(&repo.state(), &desk.repo("a.git").state());
    TreeState::assert_same(&before, &TreeState::of(&elsewhere));
    desk.assert_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_in_a_repository_is_not_removed() {
    let (folder, _repo, mut writer, desk) = site();
    let precious = folder.path().join("precious");
    fs::create_dir_all(precious.join("sub")).expect("create folder");
    fs::write(precious.join("sub/file"), "precious").expect("write file");
    fs::create_dir(desk.path("a.git/custom_hooks")).expect("create folder");
    let mounts: [(PathBuf, &str); 3] = [
        (precious.clone(), "custom_hooks"),
        (precious.clone(), "objects/pack"),
        (precious.join("sub/file"), "config"),
    ];
    for (from, to) in mounts {
        let to = desk.path("a.git").join(to);
        let Some(_mount) = BindMount::new(from, &to) else { return };
        assert_refused(&desk, &mut writer, &format!("a file system is mounted in it, at {}", to.display()));
        assert_eq!(fs::read(precious.join("sub/file")).expect("kept"), b"precious");
    }
    let (_, ran) = force(&desk, &mut writer, &["a.git"]).await;
    assert_eq!((ran.failures, ran.result.expect("restore").restored), (Vec::new(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_in_what_a_dead_restore_left_is_named_and_stays() {
    let (folder, _repo, mut writer) = written(&["a.git"]);
    let desk = Desk::new();
    let precious = folder.path().join("precious");
    fs::create_dir(&precious).expect("create folder");
    fs::write(precious.join("file"), "precious").expect("write file");
    let left = desk.path("+packhorse/restore-dead-x/1.git/custom_hooks");
    fs::create_dir_all(&left).expect("create folder");
    let Some(mount) = BindMount::new(&precious, &left) else { return };
    let problem = desk.restore(&mut writer).await.result.expect_err("mounted");
    assert!(problem.to_string().contains(&format!("is mounted at {}", left.display())), "{problem}");
    assert!(problem.next.as_ref().is_some_and(|next| next.contains("umount")), "{problem:?}");
    assert_eq!(fs::read(precious.join("file")).expect("kept"), b"precious");
    drop(mount);
    desk.restore_all(&mut writer).await;
    assert!(precious.join("file").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_into_a_repository() {
    let (_folder, _repo, mut writer) = written(&["g/a.git", "h/b.git"]);
    let desk = Desk::new();
    GitRepo::init(desk.path("g"));
    let (plan, ran) = force(&desk, &mut writer, &["g/a.git", "h/b.git"]).await;
    assert_eq!((plan.added, plan.refused, ran.result.expect("restore").restored), (1, 1, 1));
    for failures in [&plan.failures, &ran.failures] {
        assert!(failures[0].problem.to_string().contains("inside another repository"), "{failures:?}");
    }
    assert!(!desk.path("g/a.git").exists());
    // The storage's own folder is one, or lies in one.
    for root in ["g", "g/objects"] {
        let mut job = desk.job(writer.catalogue().await);
        job.root = desk.path(root);
        let before = TreeState::of(desk.path("g"));
        let cancel = CancellationToken::new;
        let planned = crate::restore::plan_storage(&writer.vault, job.clone(), cancel()).await.expect("plan");
        let refused = run(&writer.vault, job, cancel()).await.result.expect_err("a repository");
        for problem in [&planned.problems[0], &refused] {
            assert_eq!(problem.kind, ErrorKind::Invalid);
            assert!(problem.to_string().contains("not a folder of repositories"), "{problem}");
        }
        TreeState::assert_same(&before, &TreeState::of(desk.path("g")));
    }
}
