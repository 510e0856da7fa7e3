//! Whatever is changed in the vault is found before the target is touched.

use std::fs;

use packhorse_model::ErrorKind;
use packhorse_testkit::GitRepo;

use super::{desk::Desk, writer::Writer};

async fn is_found(writer: &mut Writer, what: &str) {
    let desk = Desk::new();
    let ran = desk.restore(writer).await;
    let problem = match (&ran.result, ran.failures.as_slice()) {
        (Err(problem), _) => problem.clone(),
        (Ok(_), [failure]) => failure.problem.clone(),
        (Ok(result), failures) => panic!("{what}: not found: {result:?} {failures:?}"),
    };
    assert_eq!(problem.kind, ErrorKind::Corrupt, "{what}: {problem}");
    desk.assert_untouched();
}

fn written() -> (tempfile::TempDir, Writer) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    let mut writer = Writer::new(true);
    repo.fill("main", 30);
    repo.set_hook("update", "#!/bin/sh\n", 0o755);
    writer.step(&repo, "a/b.git");
    repo.fill("main", 5);
    writer.step(&repo, "a/b.git");
    (folder, writer)
}

fn objects(writer: &Writer) -> Vec<String> {
    let manifest = writer.manifest("a/b.git");
    let table = manifest.packhorse.as_ref().expect("has our table");
    let read = |path: &String| !path.ends_with("001.refs") && !path.ends_with("001.custom_hooks.tar");
    let manifest = "manifests/default/a/b.git/run002.toml".to_owned();
    table.objects.iter().map(|object| object.path.clone()).filter(read).chain([manifest]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_are_found() {
    let (_folder, mut writer) = written();
    for object in objects(&writer) {
        let file = writer.file(&object);
        let good = fs::read(&file).expect("read object");
        let step = (good.len() / 12).max(1);
        for at in (0..good.len()).step_by(step).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&file, bad).expect("write object");
            is_found(&mut writer, &format!("{object} byte {at}")).await;
        }
        fs::write(&file, good).expect("write object");
    }
    Desk::new().restore_all(&mut writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_lengthened_emptied_and_removed_objects_are_found() {
    let (_folder, mut writer) = written();
    for object in objects(&writer) {
        let file = writer.file(&object);
        let good = fs::read(&file).expect("read object");
        let longer = [good.as_slice(), b"\n"].concat();
        for bad in [&good[..good.len() - 1], &good[..good.len() / 2], &longer, b""] {
            fs::write(&file, bad).expect("write object");
            is_found(&mut writer, &format!("{object} of {} bytes", bad.len())).await;
        }
        fs::remove_file(&file).expect("remove object");
        is_found(&mut writer, &format!("{object} removed")).await;
        fs::write(&file, good).expect("write object");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_objects_are_found() {
    let (_folder, mut writer) = written();
    let objects = objects(&writer);
    for (one, other) in objects.iter().zip(objects.iter().skip(1)) {
        let (one, other) = (writer.file(one), writer.file(other));
        let exchange = || {
            let (a, b) = (fs::read(&one).expect("read"), fs::read(&other).expect("read"));
            fs::write(&one, b).and_then(|()| fs::write(&other, a)).expect("write");
        };
        exchange();
        is_found(&mut writer, &format!("{} and {}", one.display(), other.display())).await;
        exchange();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_catalogue_stops_the_restore() {
    let (_folder, mut writer) = written();
    let catalogue = writer.catalogue().await;
    let file = writer.file(&catalogue.path);
    let mut bytes = fs::read(&file).expect("read catalogue");
    bytes[10] ^= 4;
    fs::write(&file, bytes).expect("write catalogue");
    let desk = Desk::new();
    let job = desk.job(catalogue);
    let ran = super::desk::run(&writer.vault, job, tokio_util::sync::CancellationToken::new()).await;
    assert_eq!(ran.result.expect_err("damaged").kind, ErrorKind::Corrupt);
    desk.assert_untouched();
}

/// Without digests the pack's own hash and the missing objects are all there is.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_bundles_of_gitaly_are_found() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    let mut writer = Writer::new(false);
    repo.fill("main", 30);
    writer.step(&repo, "a/b.git");
    repo.fill("main", 5);
    writer.step(&repo, "a/b.git");
    let steps = writer.manifest("a/b.git").steps.clone();
    for step in steps {
        let file = writer.file(&step.bundle_path);
        let good = fs::read(&file).expect("read bundle");
        let pack = good.windows(4).position(|bytes| bytes == b"PACK").expect("has a pack");
        for at in (pack..good.len()).step_by((good.len() - pack) / 10) {
            let mut bad = good.clone();
            bad[at] ^= 16;
            fs::write(&file, bad).expect("write bundle");
            is_found(&mut writer, &format!("{} byte {at}", step.bundle_path)).await;
        }
        fs::write(&file, &good[..good.len() - 30]).expect("write bundle");
        is_found(&mut writer, "cut").await;
        fs::write(&file, [good.as_slice(), b"more"].concat()).expect("write bundle");
        is_found(&mut writer, "lengthened").await;
        fs::remove_file(&file).expect("remove bundle");
        is_found(&mut writer, "removed").await;
        fs::write(&file, good).expect("write bundle");
    }
    Desk::new().restore_all(&mut writer).await;
}

/// A manifest whose digests are right, but which says something else than what was backed up.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_leads_elsewhere_is_found() {
    let (_folder, mut writer) = written();
    writer.edit("a/b.git", |manifest| manifest.head_reference = Some(b"refs/heads/other".to_vec()));
    is_found(&mut writer, "HEAD").await;
    writer.edit("a/b.git", |manifest| {
        manifest.head_reference = Some(b"refs/heads/main".to_vec());
        manifest.steps.truncate(1);
    });
    is_found(&mut writer, "last step").await;
}
