//! Which entries are restored, and what is told about the others.

use packhorse_model::{ErrorKind, Outcome, Problem, RepoFilter, Subject};
use packhorse_testkit::GitRepo;
use tokio_util::sync::CancellationToken;

use super::{
    desk::{Desk, run},
    writer::Writer,
};

fn written() -> (tempfile::TempDir, Writer) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    repo.fill("main", 3);
    let mut writer = Writer::new(true);
    for path in ["group/one.git", "group/two.git", "other/three.git"] {
        writer.step(&repo, path);
    }
    (folder, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_and_patterns_without_match_are_told() {
    let (_folder, mut writer) = written();
    let desk = Desk::new();
    let mut job = desk.job(writer.catalogue().await);
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("valid pattern")).collect();
    job.filter = RepoFilter::new(patterns(&["group", "absent.git"]), patterns(&["group/two.git"]));
    let ran = run(&writer.vault, job, CancellationToken::new()).await;
    let result = ran.result.expect("restore");
    // A pattern may match in another storage, so it is told to the coordinator and is no failure here.
    assert_eq!((result.restored, result.failures), (1, 0));
    assert_eq!(result.unmatched, ["absent.git"]);
    assert!(desk.path("group/one.git").exists() && !desk.path("group/two.git").exists());
    assert!(ran.failures.is_empty());
    assert_eq!((ran.last.known, ran.last.done, ran.last.failed), (1, 1, 0));
    assert!(result.bytes > 0 && ran.last.working_on.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_missing_entries() {
    let (_folder, mut writer) = written();
    writer.entry("group/one.git").outcome = Outcome::Failed;
    writer.entry("group/one.git").error =
        Some(Problem::new(ErrorKind::Corrupt, Subject::Repository, "read pack").answered("is damaged"));
    writer.entry("group/two.git").outcome = Outcome::Missing;
    writer.entry("never.git").outcome = Outcome::Failed;
    let desk = Desk::new();
    let ran = desk.restore(&mut writer).await;
    assert_eq!(ran.result.expect("restore").restored, 2);
    let mut failures = ran.failures;
    failures.sort_by(|a, b| a.item.cmp(&b.item));
    assert_eq!(failures.len(), 2);
    assert_eq!((failures[0].item.as_str(), failures[1].item.as_str()), ("group/one.git", "never.git"));
    let state = failures[0].problem.state.clone().unwrap_or_default();
    assert!(state.contains("older backup"), "{state}");
    assert!(failures[0].problem.to_string().contains("is damaged"));
    assert!(failures[1].problem.to_string().contains("never been backed up"));
    assert!(desk.path("group/one.git").exists() && !desk.path("group/two.git").exists());
    assert!(!desk.path("never.git").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_repository_does_not_stop_the_others() {
    let (_folder, mut writer) = written();
    let bundle = writer.manifest("group/two.git").steps[0].bundle_path.clone();
    std::fs::remove_file(writer.file(&bundle)).expect("remove bundle");
    let desk = Desk::new();
    let ran = desk.restore(&mut writer).await;
    assert_eq!(ran.result.expect("restore").restored, 2);
    assert_eq!((ran.failures.len(), ran.failures[0].item.as_str()), (1, "group/two.git"));
    desk.assert_tidy();
}
