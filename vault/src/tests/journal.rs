//! A run's journal: its start, its end, its parts, and the segments of its catalogues.

use std::sync::Arc;

use jiff::Timestamp;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory};
use packhorse_model::{ErrorKind, Outcome, Problem, Subject};
use tokio::task::spawn_blocking;

use crate::{
    Attempt, CatalogueEntry, ObjectKey, RunAttempt, RunEnd, RunJournal, SegmentReader, SegmentWriter, Vault,
    finished_part, record_part, unfinished,
};

fn journal(id: &str, second: i64) -> RunJournal {
    RunJournal {
        backup_id: id.parse().expect("valid ID"),
        attempt: format!("attempt at {id}"),
        host: "host".into(),
        pid: 1,
        coordinator: None,
        started_at: Timestamp::from_second(second).expect("in range"),
        packhorse_version: "0".into(),
        requested_by: None,
        order: None,
    }
}

fn line(path: &str) -> CatalogueEntry {
    CatalogueEntry {
        path: path.parse().expect("valid path"),
        outcome: Outcome::BackedUp,
        manifest: None,
        manifest_sha256: None,
        fingerprint: None,
        steps: 1,
        refs: 1,
        bytes_new: 1,
        bytes_total: 1,
        unproven: false,
        head: None,
        found_damaged: false,
        damage: None,
        error: None,
    }
}

#[tokio::test]
async fn runs_that_committed_nothing_are_found_the_newest_first() {
    let vault = Vault::in_memory();
    for (id, second) in [("a", 1), ("b", 3), ("c", 2)] {
        journal(id, second).claim(&vault).await.expect("free");
    }
    let taken = journal("a", 9).claim(&vault).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    let problem = Problem::new(ErrorKind::Unavailable, Subject::Agent, "first");
    let end = RunEnd { ended_at: Timestamp::from_second(4).expect("in range"), problem };
    let id = "c".parse().expect("valid ID");
    end.record(&vault, &id).await.expect("recorded");
    let later = RunEnd { ended_at: Timestamp::from_second(5).expect("in range"), ..end.clone() };
    later.record(&vault, &id).await.expect("the first one stays");
    // One that was cut short, and one that lies under another's name.
    vault.create(&ObjectKey::run(&"d".parse().expect("valid ID")), "{".into()).await.expect("created");
    let other = serde_json::to_vec(&journal("a", 1)).expect("JSON");
    vault.create(&ObjectKey::run(&"e".parse().expect("valid ID")), other.into()).await.expect("created");
    let runs = unfinished(&vault, &[]).await.expect("listed");
    let ids: Vec<&str> = runs.iter().map(|run| run.journal.backup_id.as_str()).collect();
    assert_eq!(ids, ["b", "c", "a"]);
    assert_eq!(runs.iter().map(|run| run.end.clone()).collect::<Vec<_>>(), [None, Some(end), None]);
}

#[tokio::test]
async fn a_marker_of_gitaly_s_takes_the_id() {
    let vault = Vault::in_memory();
    let id = "g".parse().expect("valid ID");
    vault.create(&ObjectKey::marker(&id), Vec::new().into()).await.expect("created");
    let taken = journal("g", 1).claim(&vault).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn the_first_record_of_a_part_counts() {
    let (vault, id) = (Vault::in_memory(), "a".parse().expect("valid ID"));
    assert_eq!(finished_part::<u8>(&vault, &id, "databases").await.expect("read"), None);
    assert_eq!(record_part(&vault, &id, "databases", 1_u8).await.expect("recorded"), 1);
    assert_eq!(record_part(&vault, &id, "databases", 2_u8).await.expect("was there"), 1);
    assert_eq!(finished_part::<u8>(&vault, &id, "databases").await.expect("read"), Some(1));
}

/// Writes segments of these lines each.
async fn write(vault: &Vault, attempt: &Attempt, segments: &[&[&str]]) {
    let run = RunAttempt { id: "a".parse().expect("valid ID"), attempt: attempt.clone() };
    let storage = "default".parse().expect("valid name");
    let mut writer = SegmentWriter::new(vault.clone(), run, storage);
    let segments: Vec<Vec<CatalogueEntry>> =
        segments.iter().map(|paths| paths.iter().map(|path| line(path)).collect()).collect();
    spawn_blocking(move || {
        for lines in segments {
            lines.iter().for_each(|line| writer.push(line));
            writer.write();
        }
    })
    .await
    .expect("no panic");
}

async fn read(vault: &Vault) -> Vec<Vec<String>> {
    let (id, storage) = ("a".parse().expect("valid ID"), "default".parse().expect("valid name"));
    let readers = SegmentReader::of_run(vault, &id, &storage).await.expect("listed");
    let reading = move || {
        let paths = |reader: SegmentReader| reader.map(|line| line.path.to_string()).collect();
        readers.into_iter().map(paths).collect()
    };
    spawn_blocking(reading).await.expect("no panic")
}

#[tokio::test]
async fn segments_are_read_in_order_and_the_newest_attempt_first() {
    let vault = Vault::in_memory();
    assert!(read(&vault).await.is_empty());
    let again = Attempt::again(Timestamp::from_second(1_700_000_000).expect("in range"), 7);
    write(&vault, &Attempt::first(), &[&["a.git", "b.git"], &["c.git"]]).await;
    write(&vault, &again, &[&["a.git"], &[], &["d.git"]]).await;
    assert_eq!(read(&vault).await, [vec!["a.git", "d.git"], vec!["a.git", "b.git", "c.git"]]);
}

#[tokio::test]
async fn a_damaged_segment_ends_the_reading_and_nothing_else() {
    let store = Arc::new(InMemory::new());
    let vault = Vault::with_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "memory:");
    write(&vault, &Attempt::first(), &[&["a.git"], &["b.git"], &["c.git"]]).await;
    let run = RunAttempt::first("a".parse().expect("valid ID"));
    let key = ObjectKey::segment(&run, &"default".parse().expect("valid name"), 1);
    let good = vault.get(&key).await.expect("read");
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        store.put(&vault.path(&key), bad.into()).await.expect("replaced");
        let read = read(&vault).await;
        // The magic number's neighbours may only change what a decoder reserves.
        assert!(read[0] == ["a.git"] || read[0] == ["a.git", "b.git", "c.git"], "byte {at}: {read:?}");
    }
    store.put(&vault.path(&key), good.slice(..good.len() / 2).into()).await.expect("replaced");
    assert_eq!(read(&vault).await, [["a.git"]]);
}
