//! Where repositories go: what is there already, who owns them, and what a stop leaves.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

use packhorse_model::{ErrorKind, Subject};
use packhorse_testkit::{GitRepo, RepoState, TreeState};
use tokio_util::sync::CancellationToken;

use super::{
    desk::{Desk, run},
    writer::Writer,
};

pub(super) fn written(paths: &[&str]) -> (tempfile::TempDir, GitRepo, Writer) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    repo.fill("main", 10);
    repo.set_hook("update", "#!/bin/sh\n", 0o755);
    let mut writer = Writer::new(true);
    paths.iter().for_each(|path| drop(writer.step(&repo, path).clone()));
    (folder, repo, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_stays_unless_forced() {
    let (_folder, repo, mut writer) = written(&["a/b.git", "a/c.git"]);
    let desk = Desk::new();
    let old = GitRepo::init(desk.path("a/b.git"));
    old.commit("old", &[("old", "1")]);
    let before = TreeState::of(desk.path("a/b.git"));
    let gets = writer.vault.requests().gets;
    let ran = desk.restore(&mut writer).await;
    // Catalogue, and one repository's manifest, bundle, refs and hooks.
    assert_eq!(writer.vault.requests().gets - gets, 5);
    assert_eq!(ran.result.expect("restore").restored, 1);
    assert_eq!(ran.failures[0].problem.kind, ErrorKind::AlreadyExists);
    assert_eq!((ran.failures[0].item.as_str(), ran.failures.len()), ("a/b.git", 1));
    TreeState::assert_same(&before, &TreeState::of(desk.path("a/b.git")));
    RepoState::assert_same(&repo.state(), &desk.repo("a/c.git").state());

    let mut job = desk.job(writer.catalogue().await);
    job.force = true;
    let ran = run(&writer.vault, job, CancellationToken::new()).await;
    assert_eq!((ran.failures, ran.result.expect("restore").restored), (Vec::new(), 2));
    RepoState::assert_same(&repo.state(), &desk.repo("a/b.git").state());
    desk.assert_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_restore_that_fails_leaves_the_old_one() {
    let (_folder, _repo, mut writer) = written(&["a/b.git"]);
    let desk = Desk::new();
    GitRepo::init(desk.path("a/b.git")).commit("old", &[("old", "1")]);
    let before = TreeState::of(desk.path("a/b.git"));
    let bundle = writer.file(&writer.manifest("a/b.git").steps[0].bundle_path);
    let mut bytes = fs::read(&bundle).expect("read bundle");
    bytes[200] ^= 1;
    fs::write(&bundle, bytes).expect("write bundle");
    let mut job = desk.job(writer.catalogue().await);
    job.force = true;
    let ran = run(&writer.vault, job, CancellationToken::new()).await;
    assert_eq!(ran.failures[0].problem.kind, ErrorKind::Corrupt);
    TreeState::assert_same(&before, &TreeState::of(desk.path("a/b.git")));
    desk.assert_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_not_followed() {
    let (_folder, _repo, mut writer) = written(&["a/b.git"]);
    let (desk, outside) = (Desk::new(), tempfile::tempdir().expect("temporary folder"));
    symlink(outside.path(), desk.path("a")).expect("make link");
    for force in [false, true] {
        let mut job = desk.job(writer.catalogue().await);
        job.force = force;
        let ran = run(&writer.vault, job, CancellationToken::new()).await;
        assert_eq!(ran.failures[0].problem.kind, ErrorKind::Invalid);
        assert_eq!(fs::read_dir(outside.path()).expect("read folder").count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_and_modes_are_those_of_the_storage() {
    let (_folder, _repo, mut writer) = written(&["a/b.git"]);
    let desk = Desk::new();
    let root = rustix::process::geteuid().is_root();
    let ids = if root { (1234, 1235) } else { (rustix::process::geteuid().as_raw(), 0) };
    if root {
        chown(desk.folder.path(), Some(ids.0), Some(ids.1)).expect("change owner");
    }
    fs::set_permissions(desk.folder.path(), fs::Permissions::from_mode(0o2750)).expect("change mode");
    desk.restore_all(&mut writer).await;
    for (path, entry) in &TreeState::of(desk.path("a")).entries {
        let hook = path.components().any(|part| part.as_os_str() == "custom_hooks");
        let pack = path.extension().is_some_and(|e| e == "pack" || e == "idx");
        let expected = match (path.is_dir() || desk.path("a").join(path).is_dir(), hook, pack) {
            (_, true, _) => entry.mode,
            (true, ..) => 0o750,
            (_, _, true) => 0o440,
            _ => 0o640,
        };
        assert_eq!(entry.mode & 0o777, expected, "{}", path.display());
        assert!(!root || (entry.uid, entry.gid) == ids, "{}", path.display());
    }
    assert_eq!(fs::metadata(desk.path("a/b.git/custom_hooks/update")).expect("hook").mode() & 0o777, 0o755);
    if !root {
        packhorse_testkit::skipped("only root gives repositories to their storage's owner");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_dead_restores_go_and_living_ones_stay() {
    let (_folder, _repo, mut writer) = written(&["a/b.git"]);
    let desk = Desk::new();
    for name in ["restore-dead-x", "restore-alive-x", "something-else"] {
        fs::create_dir_all(desk.path("+packhorse").join(name).join("1.git")).expect("create folder");
    }
    let lock = fs::File::create(desk.path("+packhorse/restore-alive-x/lock")).expect("create lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let problem = desk.restore(&mut writer).await.result.expect_err("busy");
    let said = problem.to_string();
    assert!(said.contains("busy with another restore of alive, which another process"), "{said}");
    assert_eq!((problem.kind, problem.subject), (ErrorKind::Unavailable, Subject::Agent));
    let there = |name: &str| Path::exists(&desk.path(name));
    assert!(!there("a") && !there("+packhorse/restore-dead-x"));
    assert!(there("+packhorse/restore-alive-x/1.git") && there("+packhorse/something-else/1.git"));
    drop(lock);
    assert_eq!(desk.restore(&mut writer).await.result.expect("restore").restored, 1);
    assert!(!there("+packhorse/restore-alive-x") && there("+packhorse/something-else/1.git"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_restores_at_once_into_one_storage_one_goes_on_and_the_others_touch_nothing() {
    let (_folder, repo, mut writer) = written(&["a/0.git", "a/1.git", "a/2.git", "a/3.git"]);
    let (desk, catalogue) = (Desk::new(), writer.catalogue().await);
    let job = |number: usize| {
        let mut job = desk.job(catalogue.clone());
        let pattern = format!("a/{number}.git").parse().expect("valid pattern");
        job.filter = packhorse_model::RepoFilter::new(vec![pattern], Vec::new());
        job
    };
    let vault = &writer.vault;
    let one = |number| run(vault, job(number), CancellationToken::new());
    let all = tokio::join!(one(0), one(1), one(2), one(3));
    let mut done = 0;
    for (number, ran) in [all.0, all.1, all.2, all.3].into_iter().enumerate() {
        let path = format!("a/{number}.git");
        match ran.result {
            Ok(result) => {
                assert_eq!((ran.failures, result.restored), (Vec::new(), 1));
                RepoState::assert_same(&repo.state(), &desk.repo(&path).state());
                done += 1;
            }
            Err(problem) => {
                assert!(problem.to_string().contains("busy with another restore of run001"), "{problem}");
                assert!(!desk.path(&path).exists());
            }
        }
    }
    assert!(done > 0);
    desk.assert_tidy();
}

/// A storage with a/lender.git, from which a/middle.git borrows, from which a/borrower.git borrows: none of the last two has an
/// object of its own.
fn chain_of_borrowers(desk: &Desk) {
    let lender = GitRepo::init(desk.path("a/lender.git"));
    lender.fill("main", 5);
    let tip = lender.run(&["rev-parse", "main"]);
    for (name, alternates) in [
        ("a/middle.git", "../../lender.git/objects\n".to_owned()),
        ("a/borrower.git", format!("# a comment\n{}\n", desk.path("a/middle.git/objects").display())),
    ] {
        let repo = GitRepo::init(desk.path(name));
        fs::write(repo.path().join("objects/info/alternates"), alternates).expect("write alternates");
        repo.update_ref("refs/heads/main", &tip);
        repo.fsck();
    }
}

pub(super) async fn force(
    desk: &Desk,
    writer: &mut Writer,
    only: &[&str],
) -> (crate::restore::StoragePlan, super::desk::Ran) {
    let mut job = desk.job(writer.catalogue().await);
    job.force = true;
    let patterns = only.iter().map(|path| path.parse().expect("valid pattern")).collect();
    job.filter = packhorse_model::RepoFilter::new(patterns, Vec::new());
    let cancel = CancellationToken::new;
    let plan = crate::restore::plan_storage(&writer.vault, job.clone(), cancel()).await.expect("plan");
    (plan, run(&writer.vault, job, cancel()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_lends_objects_is_not_taken_from_its_borrowers() {
    let (_folder, repo, mut writer) = written(&["a/lender.git", "a/middle.git"]);
    let desk = Desk::new();
    chain_of_borrowers(&desk);
    // The first borrows itself, and its borrower is in no backup.
    for only in [&["a/lender.git"][..], &["a/middle.git"], &["a/lender.git", "a/middle.git"]] {
        let before = TreeState::of(desk.path("a"));
        let (plan, ran) = force(&desk, &mut writer, only).await;
        assert_eq!(
            (plan.replaced, plan.refused, plan.failures_total),
            (0, only.len() as u64, only.len() as u64)
        );
        assert_eq!(ran.result.expect("restore").restored, 0);
        for failures in [&plan.failures, &ran.failures] {
            assert_eq!(failures.len(), only.len(), "{failures:?}");
            assert!(
                failures.iter().all(|failure| failure.to_string().contains("a/borrower.git")),
                "{failures:?}"
            );
        }
        assert_eq!((ran.last.done, ran.last.working_on.len()), (only.len() as u64, 0));
        TreeState::assert_same(&before, &TreeState::of(desk.path("a")));
    }
    desk.repo("a/borrower.git");
    // All of them together, although the one that lends comes before those that wait for it.
    writer.step(&repo, "a/borrower.git");
    let (plan, ran) = force(&desk, &mut writer, &[]).await;
    assert_eq!((plan.replaced, plan.refused), (3, 0));
    assert_eq!((ran.failures, ran.result.expect("restore").restored), (Vec::new(), 3));
    for path in ["a/lender.git", "a/middle.git", "a/borrower.git"] {
        RepoState::assert_same(&repo.state(), &desk.repo(path).state());
    }
    desk.assert_tidy();
}

/// That it was to be replaced is no reason to take away what it borrows.
#[tokio::test(flavor = "multi_thread")]
async fn a_borrower_that_cannot_be_restored_keeps_what_it_borrows() {
    let (_folder, _repo, mut writer) = written(&["a/borrower.git", "a/lender.git", "a/middle.git"]);
    let desk = Desk::new();
    chain_of_borrowers(&desk);
    let bundle = writer.file(&writer.manifest("a/borrower.git").steps[0].bundle_path);
    fs::write(bundle, "damaged").expect("write bundle");
    let (plan, ran) = force(&desk, &mut writer, &[]).await;
    assert_eq!((plan.replaced, plan.refused), (3, 0));
    assert_eq!((ran.failures.len(), ran.result.expect("restore").restored), (3, 0));
    desk.repo("a/borrower.git");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_behind_a_link_are_borrowed_too() {
    let (_folder, _repo, mut writer) = written(&["a/lender.git"]);
    let desk = Desk::new();
    GitRepo::init(desk.path("a/lender.git")).fill("main", 2);
    fs::create_dir_all(desk.path("b/w.git")).expect("create folder");
    symlink("../../a/lender.git/objects", desk.path("b/w.git/objects")).expect("make link");
    let (plan, ran) = force(&desk, &mut writer, &[]).await;
    assert_eq!((plan.refused, ran.result.expect("restore").restored), (1, 0));
    assert!(ran.failures[0].to_string().contains("b/w.git"), "{:?}", ran.failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_restore_leaves_nothing_half_done() {
    let paths: Vec<String> = (0..40).map(|number| format!("a/{number}.git")).collect();
    let (_folder, repo, mut writer) = written(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let catalogue = writer.catalogue().await;
    for delay in [0, 5, 20, 60] {
        let (desk, cancel) = (Desk::new(), CancellationToken::new());
        let stop = async {
            tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
            cancel.cancel();
        };
        let (ran, ()) = tokio::join!(run(&writer.vault, desk.job(catalogue.clone()), cancel.clone()), stop);
        assert_eq!(ran.failures, []);
        assert!(ran.result.is_ok() || ran.result.expect_err("error").kind == ErrorKind::Cancelled);
        desk.assert_tidy();
        for path in &paths {
            if desk.path(path).exists() {
                RepoState::assert_same(&repo.state(), &desk.repo(path).state());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_without_folder_is_refused() {
    let (_folder, _repo, mut writer) = written(&["a/b.git"]);
    let desk = Desk::new();
    let mut job = desk.job(writer.catalogue().await);
    job.root = desk.path("missing");
    let problem = run(&writer.vault, job, CancellationToken::new()).await.result.expect_err("no folder");
    assert_eq!(problem.kind, ErrorKind::Invalid);
    assert!(problem.next.is_some());
}
