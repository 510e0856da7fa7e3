//! Every kind of repository and chain comes back as it was.

use packhorse_testkit::{GitRepo, RepoState};
use tempfile::TempDir;

use super::{
    desk::Desk,
    writer::{Writer, nobody},
};

fn source(options: &[&str]) -> (TempDir, GitRepo) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init_with(folder.path().join("source.git"), options);
    (folder, repo)
}

/// A file that does not compress, and whose next version is a small delta on this one.
fn long_file(version: usize) -> String {
    let word = |line: usize| (line as u64 + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(line as u32);
    (0..400).map(|line| format!("{:x}\n", word(if line == version { 1000 } else { line }))).collect()
}

async fn comes_back(repo: &GitRepo, writer: &mut Writer) -> (Desk, GitRepo) {
    let desk = Desk::new();
    desk.restore_all(writer).await;
    let restored = desk.repo("a/b.git");
    RepoState::assert_same(&repo.state(), &restored.state());
    (desk, restored)
}

async fn grows_and_comes_back(options: &[&str], table: bool) {
    let (_folder, repo) = source(options);
    let mut writer = Writer::new(table);
    repo.commit("main", &[("big", long_file(0)), ("small", "1".into())]);
    repo.fill("main", 60);
    repo.tag_annotated("v1", "main");
    repo.set_hook("pre-receive.d/check", "#!/bin/sh\n", 0o755);
    repo.repack();
    writer.step(&repo, "a/b.git");
    comes_back(&repo, &mut writer).await;
    for version in 1..5 {
        repo.commit("main", &[("big", long_file(version))]);
        repo.update_ref(format!("refs/heads/old-{version}"), &repo.run(&["rev-parse", "main~3"]));
        repo.commit(&format!("side-{version}"), &[("other", long_file(version * 7))]);
        repo.set_hook("update", format!("#!/bin/sh\n# {version}\n"), 0o755);
        repo.repack();
        writer.step(&repo, "a/b.git");
        comes_back(&repo, &mut writer).await;
    }
    // Nothing but a removed branch, then nothing at all: bundles without a pack.
    repo.delete_ref("refs/heads/side-1");
    writer.step(&repo, "a/b.git");
    writer.step(&repo, "a/b.git");
    comes_back(&repo, &mut writer).await;
    // A rewritten branch on top of that.
    let rewritten = repo.commit_on(None, &[("new", "root")]);
    repo.update_ref("refs/heads/main", &rewritten);
    writer.step(&repo, "a/b.git");
    comes_back(&repo, &mut writer).await;
}

fn can_make_reftables() -> bool {
    let can = GitRepo::can_make_reftables();
    if !can {
        packhorse_testkit::skipped("reftables need git 2.45 or newer");
    }
    can
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_increments_with_digests() {
    grows_and_comes_back(&[], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_increments_of_gitaly() {
    grows_and_comes_back(&[], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sha256() {
    grows_and_comes_back(&["--object-format=sha256"], true).await;
    grows_and_comes_back(&["--object-format=sha256"], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reftable() {
    if !can_make_reftables() {
        return;
    }
    grows_and_comes_back(&["--ref-format=reftable"], true).await;
    grows_and_comes_back(&["--ref-format=reftable", "--object-format=sha256"], true).await;
    let (_folder, repo) = source(&["--ref-format=reftable"]);
    let tip = repo.commit("main", &[("a", "1")]);
    repo.symbolic_ref("refs/remotes/origin/HEAD", "refs/heads/main");
    repo.update_ref(b"refs/heads/caf\xe9", &tip);
    repo.detach_head(&tip);
    let mut writer = Writer::new(true);
    writer.step(&repo, "a/b.git");
    let (_desk, restored) = comes_back(&repo, &mut writer).await;
    assert_eq!(restored.run(&["rev-parse", "--show-ref-format"]), "reftable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_without_reftables_gets_ref_files() {
    let old = std::path::Path::new("/usr/bin/git");
    let version = packhorse_testkit::run_checked(packhorse_testkit::hermetic_command(old).arg("version"));
    if !String::from_utf8_lossy(&version.stdout).contains("version 2.3") {
        packhorse_testkit::skipped("/usr/bin/git is not older than reftables");
        return;
    }
    if !can_make_reftables() {
        return;
    }
    let (_folder, repo) = source(&["--ref-format=reftable"]);
    repo.commit("main", &[("a", "1")]);
    repo.symbolic_ref("refs/remotes/origin/HEAD", "refs/heads/main");
    let mut writer = Writer::new(true);
    writer.step(&repo, "a/b.git");
    let desk = Desk::new();
    let mut job = desk.job(writer.catalogue().await);
    job.git = old.into();
    let ran = super::desk::run(&writer.vault, job, tokio_util::sync::CancellationToken::new()).await;
    assert_eq!((ran.failures, ran.result.map(|result| result.restored)), (Vec::new(), Ok(1)));
    RepoState::assert_same(&repo.state(), &desk.repo("a/b.git").state());
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_what_became_of_it() {
    for table in [false, true] {
        let (_folder, repo) = source(&[]);
        repo.set_head("refs/heads/trunk");
        repo.set_hook("update", "#!/bin/sh\n", 0o755);
        let mut writer = Writer::new(table);
        writer.step(&repo, "a/b.git");
        assert!(writer.manifest("a/b.git").empty);
        comes_back(&repo, &mut writer).await;
        // The writer inherits `empty`, as others do: it is stale from here on.
        repo.commit("trunk", &[("a", "1")]);
        writer.step(&repo, "a/b.git");
        assert!(writer.manifest("a/b.git").empty);
        comes_back(&repo, &mut writer).await;
        repo.delete_ref("refs/heads/trunk");
        writer.step(&repo, "a/b.git");
        comes_back(&repo, &mut writer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_refs_of_every_kind() {
    for table in [false, true] {
        let (_folder, repo) = source(&[]);
        let mut writer = Writer::new(table);
        let tip = repo.fill("main", 20);
        repo.many_refs("refs/keep-around", 500, &tip);
        repo.update_ref(b"refs/heads/caf\xe9", &tip);
        repo.update_ref("refs/heads/ü'\"$%;#&", &tip);
        repo.update_ref("refs/heads/feature.x/y-z", &tip);
        repo.update_ref("refs/tags/blob", &repo.blob("a blob"));
        repo.update_ref("refs/tags/tree", &repo.run(&["rev-parse", "main^{tree}"]));
        repo.tag_annotated("nested", &repo.tag_annotated("v1", "main~2"));
        repo.detach_head(&repo.commit_on(Some(&tip), &[("only", "HEAD")]));
        writer.step(&repo, "a/b.git");
        comes_back(&repo, &mut writer).await;
        repo.set_head("refs/heads/unborn");
        repo.delete_ref("refs/heads/feature.x/y-z");
        repo.update_ref("refs/heads/feature.x", &tip);
        writer.step(&repo, "a/b.git");
        comes_back(&repo, &mut writer).await;
        if table {
            repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
            repo.symbolic_ref("refs/remotes/origin/HEAD", "refs/heads/caf");
            writer.step(&repo, "a/b.git");
            comes_back(&repo, &mut writer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_detached_head() {
    let (_folder, repo) = source(&[]);
    repo.detach_head(&repo.commit_on(None, &[("only", "HEAD")]));
    for table in [false, true] {
        let mut writer = Writer::new(table);
        writer.step(&repo, "a/b.git");
        comes_back(&repo, &mut writer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_exist_is_left_alone() {
    let (_folder, repo) = source(&[]);
    let mut writer = Writer::new(false);
    writer.step(&repo, "a/b.git");
    writer.edit("a/b.git", |manifest| {
        manifest.non_existent = true;
        manifest.object_format = String::new();
    });
    let desk = Desk::new();
    assert_eq!(desk.restore_all(&mut writer).await.restored, 0);
    desk.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_on_bases_of_earlier_steps() {
    let (_folder, repo) = source(&[]);
    let mut writer = Writer::new(true);
    repo.commit("main", &[("big", long_file(0))]);
    writer.step(&repo, "a/b.git");
    for version in 1..8 {
        repo.commit("main", &[("big", long_file(version))]);
        repo.repack();
        writer.step(&repo, "a/b.git");
    }
    let bundles: Vec<_> = writer.manifest("a/b.git").steps.iter().map(|s| s.bundle_path.clone()).collect();
    let (_desk, _) = comes_back(&repo, &mut writer).await;
    // A step that is not there leaves the next one without its base.
    writer.edit("a/b.git", |manifest| {
        manifest.steps.remove(3);
    });
    let desk = Desk::new();
    let ran = desk.restore(&mut writer).await;
    assert_eq!(ran.failures.len(), 1, "{bundles:?}");
    assert!(ran.failures[0].problem.to_string().contains("no earlier step"), "{}", ran.failures[0]);
    desk.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain() {
    let (_folder, repo) = source(&[]);
    let mut writer = Writer::new(true);
    for number in 0..40 {
        repo.commit(&format!("branch-{number}"), &[("file", number.to_string())]);
        writer.step(&repo, "a/b.git");
    }
    comes_back(&repo, &mut writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ref_to_an_object_that_no_bundle_holds_is_refused() {
    let (_folder, repo) = source(&[]);
    let mut writer = Writer::new(false);
    repo.commit("main", &[("a", "1")]);
    writer.step(&repo, "a/b.git");
    let refs = writer.manifest("a/b.git").steps[0].ref_path.clone();
    let file = writer.file(&refs);
    let mut text = std::fs::read_to_string(&file).expect("read refs");
    text.push_str(&format!("{} refs/heads/zz\n", nobody()));
    std::fs::write(&file, text).expect("write refs");
    let desk = Desk::new();
    let ran = desk.restore(&mut writer).await;
    assert!(ran.failures[0].problem.to_string().contains("no bundle holds it"), "{}", ran.failures[0]);
    desk.assert_untouched();
}

/// As backups from before this was looked at have it: git lists both, where a copy brought one packed and one as a file.
#[tokio::test(flavor = "multi_thread")]
async fn refs_in_each_others_way_keep_nothing_else_back() {
    for table in [true, false] {
        let (_folder, repo) = source(&[]);
        let tip = repo.commit("main", &[("one", "1")]);
        repo.update_ref("refs/heads/d", &tip);
        repo.update_ref("refs/heads/d-x", &tip);
        repo.run(&["symbolic-ref", "refs/heads/s", "refs/heads/d"]);
        repo.pack_refs();
        std::fs::create_dir_all(repo.path().join("refs/heads/d")).expect("create folder");
        std::fs::write(repo.path().join("refs/heads/d/e"), format!("{tip}\n")).expect("write ref");
        repo.set_head("refs/heads/d");
        let mut writer = Writer::new(table);
        writer.step(&repo, "a/b.git");
        let desk = Desk::new();
        let ran = desk.restore(&mut writer).await;
        assert_eq!(ran.result.expect("restored").restored, 1);
        let [failure] = ran.failures.as_slice() else { panic!("{:?}", ran.failures) };
        let said = failure.to_string();
        assert!(said.contains("a/b.git") && said.contains("refs/heads/d: it cannot stand beside"), "{said}");
        assert_eq!(said.contains("refs/heads/s: it leads to refs/heads/d"), table, "{said}");
        let names = desk.repo("a/b.git").run(&["for-each-ref", "--format=%(refname)"]);
        // A manifest without our table knows no symbolic refs.
        let expected = ["refs/heads/d-x", "refs/heads/d/e", "refs/heads/main"];
        let expected: Vec<&str> = expected.into_iter().chain((!table).then_some("refs/heads/s")).collect();
        assert_eq!(names.lines().collect::<Vec<_>>(), expected);
        let found = desk.repo("a/b.git").run(&["symbolic-ref", "HEAD"]);
        assert_eq!(found, "refs/heads/d", "it leads nowhere, and is in nobody's way");
        desk.assert_tidy();
    }
}
