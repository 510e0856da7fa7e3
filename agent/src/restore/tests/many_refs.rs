//! Refs that are read and checked beside the objects, and what is found when something is wrong with either.

use std::fs;

use packhorse_model::{ErrorKind, Problem};
use packhorse_testkit::{GitRepo, RepoState};
use tempfile::TempDir;

use super::{desk::Desk, writer::Writer};

/// A repository of many refs with long names, which together are more than a megabyte.
fn written() -> (TempDir, GitRepo, Writer) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    let tip = repo.fill("main", 20);
    repo.many_refs(&format!("refs/keep-around/{}", "long".repeat(50)), 4500, &tip);
    repo.pack_refs();
    repo.set_head("refs/heads/unborn");
    let mut writer = Writer::new(true);
    writer.step(&repo, "a/b.git");
    (folder, repo, writer)
}

async fn problem(writer: &mut Writer) -> Problem {
    let desk = Desk::new();
    let ran = desk.restore(writer).await;
    desk.assert_untouched();
    assert_eq!(ran.failures.len(), 1, "{:?}", ran.failures);
    ran.failures[0].problem.clone()
}

fn damage(writer: &Writer, key: &str) {
    let file = writer.file(key);
    let mut bytes = fs::read(&file).expect("read object");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(file, bytes).expect("write object");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refs_come_back_and_damage_is_found_by_name() {
    let (_folder, repo, mut writer) = written();
    let step = writer.manifest("a/b.git").steps[0].clone();
    assert!(fs::metadata(writer.file(&step.ref_path)).expect("refs").len() > 1 << 20);
    let desk = Desk::new();
    desk.restore_all(&mut writer).await;
    RepoState::assert_same(&repo.state(), &desk.repo("a/b.git").state());

    damage(&writer, &step.bundle_path);
    let found = problem(&mut writer).await;
    assert_eq!(found.kind, ErrorKind::Corrupt);
    assert!(found.to_string().contains(".bundle"), "{found}");
    // What is wrong with the refs is told first, as it is where there are few.
    damage(&writer, &step.ref_path);
    let found = problem(&mut writer).await;
    assert!(found.to_string().contains(".refs"), "{found}");
    damage(&writer, &step.bundle_path);
    let found = problem(&mut writer).await;
    assert_eq!(found.kind, ErrorKind::Corrupt);
    assert!(found.to_string().contains(".refs"), "{found}");
}

/// All digests are right, and the pack is unfolded in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_ref_to_an_object_that_the_last_pack_does_not_hold_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    repo.fill("main", 20);
    let mut writer = Writer::new(true);
    let earlier = writer.step(&repo, "a/b.git").clone();
    let missing = repo.commit("main", &[("one", "more")]);
    let later = writer.step(&repo, "a/c.git").steps[0].bundle_path.clone();
    let bundle = &earlier.steps[0].bundle_path;
    fs::copy(writer.file(bundle), writer.file(&later)).expect("exchange the bundle");
    let digest = earlier.digest(bundle).expect("has a digest").clone();
    writer.edit("a/c.git", |manifest| {
        let table = manifest.packhorse.as_mut().expect("has our table");
        let object = table.objects.iter_mut().find(|object| object.path == later).expect("is listed");
        (object.size, object.sha256) = (digest.size, digest.sha256);
    });
    let desk = Desk::new();
    let ran = desk.restore(&mut writer).await;
    let [failure] = ran.failures.as_slice() else { panic!("{:?}", ran.failures) };
    assert_eq!(failure.item, "a/c.git");
    let text = failure.problem.to_string();
    assert!(text.contains("no bundle holds it") && text.contains(&missing), "{text}");
    assert_eq!(ran.result.expect("restore").restored, 1);
}
