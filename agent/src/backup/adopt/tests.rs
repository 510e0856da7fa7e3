//! A run uses the objects of an unfinished one only when all of them are there. The tests remove or cut each object of a
//! step, in full and incremental runs, before the next run and before another attempt at the same run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use packhorse_model::{ObjectDigest, Outcome};
use packhorse_testkit::GitRepo;
use packhorse_vault::{Attempt, CatalogueEntry, CatalogueReader, Manifest, ObjectKey, Vault};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backup::{
    BackupJob, Progress, back_up_storage,
    tests::{job, open},
};

/// How an object is spoiled.
const WAYS: [fn(&Path); 2] = [
    |file| fs::remove_file(file).expect("remove object"),
    |file| fs::File::options().write(true).open(file).and_then(|file| file.set_len(7)).expect("cut object"),
];

struct Bench {
    folder: tempfile::TempDir,
    committed: ObjectDigest,
}

impl Bench {
    /// Two repositories. Backup 0001 has both. Run 0002 stored their new commits and did not commit.
    async fn new(has_journal: bool) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let (root, vault) = (folder.path().join("storage"), open(&folder.path().join("vault")));
        for name in ["a", "b"] {
            let repo = GitRepo::init(root.join(format!("{name}.git")));
            repo.fill("main", 2);
            repo.set_hook("post-receive.d/1", "#!/bin/sh\n", 0o755);
        }
        let (_, committed) = back_up(&vault, job(&root, "0001", None)).await;
        for name in ["a", "b"] {
            GitRepo::open(root.join(format!("{name}.git"))).fill("more", 2);
        }
        let mut full = job(&root, "0002", Some(committed.clone()));
        full.rules.full = true;
        let (_, catalogue) = back_up(&vault, full).await;
        if has_journal {
            let segments = folder.path().join("vault/packhorse/runs/0002/segments/default");
            fs::create_dir_all(&segments).expect("create");
            let catalogue = folder.path().join("vault").join(&catalogue.path);
            fs::copy(catalogue, segments.join("0-000000.jsonl.zst")).expect("copy");
        }
        Self { folder, committed }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A vault that is as the run left it, but for one object.
    fn spoiled(&self, object: &str, way: fn(&Path)) -> Vault {
        let copy = self.path("copy");
        let _ = fs::remove_dir_all(&copy);
        let copied = std::process::Command::new("cp").arg("-a").arg(self.path("vault")).arg(&copy).status();
        assert!(copied.expect("run cp").success());
        way(&copy.join(object));
        open(&copy)
    }

    fn job(&self, id: &str, full: bool) -> BackupJob {
        let mut job = job(&self.path("storage"), id, Some(self.committed.clone()));
        job.unfinished = vec!["0002".parse().expect("valid ID")];
        job.rules.full = full;
        job
    }

    /// All that the run stored of a repository.
    fn objects(&self) -> Vec<String> {
        let step = fs::read_dir(self.path("vault/default/a.git/0002")).expect("read folder");
        let names = step.map(|entry| entry.expect("entry").file_name().into_string().expect("a name"));
        let mut objects: Vec<String> = names.map(|name| format!("default/a.git/0002/{name}")).collect();
        objects.push("manifests/default/a.git/0002.toml".to_owned());
        objects.sort();
        objects
    }
}

async fn back_up(vault: &Vault, job: BackupJob) -> (Vec<CatalogueEntry>, ObjectDigest) {
    let (events, _told) = mpsc::channel(64);
    let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
    let result = back_up_storage(vault.clone(), job, progress, events, cancel).await.expect("backup");
    let (digest, storage) = (result.catalogue.expect("a catalogue"), "default".parse().expect("valid name"));
    let lines = CatalogueReader::open(vault, &digest, &storage).await.expect("open catalogue");
    (lines.map(|line| line.expect("a whole line")).collect(), digest)
}

/// Panics unless everything that a line names is there.
async fn assert_whole(vault: &Vault, line: &CatalogueEntry) {
    let key = ObjectKey::from_stored(line.manifest.as_ref().expect("a manifest")).expect("a key");
    let manifest = Manifest::parse(&vault.get(&key).await.expect("read"), &key).expect("a manifest");
    let objects = manifest.packhorse.expect("ours").objects;
    vault
        .check_present(&objects)
        .await
        .unwrap_or_else(|lack| panic!("{} names what is lost: {lack}", line.path));
}

fn is_of(line: &CatalogueEntry, run: &str) -> bool {
    line.manifest.as_ref().is_some_and(|manifest| manifest.ends_with(&format!("/{run}.toml")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_stores_again_what_is_not_whole_and_takes_the_rest_over() {
    for has_journal in [true, false] {
        let bench = Bench::new(has_journal).await;
        let objects = bench.objects();
        assert_eq!(objects.len(), 5, "bundle, hooks, index, refs, manifest: {objects:?}");
        for (object, way, full) in cases(&objects) {
            let vault = bench.spoiled(object, way);
            let (lines, _) = back_up(&vault, bench.job("0003", full)).await;
            let case = format!("{object}, full {full}, journal {has_journal}");
            assert!(is_of(&lines[0], "0003"), "{case}: {:?}", lines[0]);
            assert!(is_of(&lines[1], "0002"), "{case}: {:?}", lines[1]);
            for line in &lines {
                assert_eq!(line.outcome, Outcome::BackedUp, "{case}");
                assert_whole(&vault, line).await;
            }
        }
    }
}

fn cases(objects: &[String]) -> impl Iterator<Item = (&String, fn(&Path), bool)> {
    let ways = objects.iter().flat_map(|object| WAYS.map(|way| (object, way)));
    ways.flat_map(|(object, way)| [true, false].map(|full| (object, way, full)))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_attempt_at_the_run_never_says_that_it_has_what_is_not_whole() {
    for has_journal in [true, false] {
        let bench = Bench::new(has_journal).await;
        for (object, way, full) in cases(&bench.objects()) {
            let vault = bench.spoiled(object, way);
            let mut again = bench.job("0002", full);
            again.attempt.attempt = Attempt::again(jiff::Timestamp::now(), 7);
            let (lines, _) = back_up(&vault, again).await;
            let case = format!("{object}, full {full}, journal {has_journal}");
            assert_eq!((lines[1].outcome, is_of(&lines[1], "0002")), (Outcome::BackedUp, true), "{case}");
            // The run cannot write a manifest of that name again.
            let manifest = bench.path("copy/manifests/default/a.git/0002.toml");
            let is_lost = object.ends_with(".toml") && lines[0].outcome == Outcome::BackedUp;
            if is_lost {
                assert!(manifest.exists(), "{case}");
            } else {
                assert_eq!(lines[0].outcome, Outcome::Failed, "{case}");
                let said = lines[0].error.as_ref().expect("a problem").to_string();
                assert!(said.contains("earlier attempt at this run"), "{case}: {said}");
                assert!(is_of(&lines[0], "0001"), "{case}: the last good one: {:?}", lines[0]);
            }
            for line in &lines {
                assert_whole(&vault, line).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_fails_keeps_what_an_unfinished_run_stored_only_if_it_is_whole() {
    let bench = Bench::new(true).await;
    fs::write(bench.path("storage/a.git/shallow"), "").expect("write");
    let (vault, bundle) = (open(&bench.path("vault")), &bench.objects()[0]);
    let (lines, _) = back_up(&vault, bench.job("0003", false)).await;
    assert_eq!((lines[0].outcome, is_of(&lines[0], "0002")), (Outcome::Failed, true));
    for way in WAYS {
        let (lines, _) = back_up(&bench.spoiled(bundle, way), bench.job("0004", false)).await;
        assert_eq!((lines[0].outcome, is_of(&lines[0], "0001")), (Outcome::Failed, true));
    }
}
