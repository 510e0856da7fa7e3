//! What a writer tells of its progress: what the store has confirmed, and nothing that is only on its way.
//!
//! Does not own: what is shown of it.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use packhorse_testkit::{FaultyS3, LoggedRequest, Operation, When, wait_until};
use tokio::task::spawn_blocking;

use super::{
    contract::{key, pattern},
    stores,
};
use crate::{ObjectWriter, PartSize, Vault};

const SOON: Duration = Duration::from_secs(60);
const PART: usize = 8 << 20;

fn counted(vault: &Vault, name: &str) -> (ObjectWriter, Arc<AtomicU64>) {
    let arrived = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&arrived);
    let writer = vault.writer(key(name), PartSize::SMALLEST);
    let add = move |bytes| {
        sum.fetch_add(bytes, SeqCst);
    };
    (writer.telling(add), arrived)
}

fn written(mut writer: ObjectWriter, bytes: Vec<u8>) -> tokio::task::JoinHandle<ObjectWriter> {
    spawn_blocking(move || {
        writer.write_all(&bytes).expect("write");
        writer
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_counts_when_the_store_has_it_and_not_when_it_is_handed_over() {
    let server = FaultyS3::start();
    let vault = stores::faulty(&server, Duration::from_secs(30));
    let (writer, arrived) = counted(&vault, "a/parts");
    let is_part = |request: &LoggedRequest| request.operation == Operation::PutPart;
    server.stop_at_where(1, When::Before, is_part);
    let writing = written(writer, pattern(PART + 5));
    let server = spawn_blocking(move || {
        server.wait_until_held(SOON);
        server
    });
    let server = server.await.expect("held");
    let writer = writing.await.expect("written");
    assert_eq!((writer.bytes_written(), arrived.load(SeqCst)), (PART as u64 + 5, 0), "it is only on its way");
    server.release();
    let one = Arc::clone(&arrived);
    let waited = spawn_blocking(move || {
        wait_until("the first part", SOON, || match one.load(SeqCst) {
            all if all == PART as u64 => Ok(()),
            other => Err(other.to_string()),
        });
    });
    waited.await.expect("arrived");
    let digest = writer.complete().await.expect("completed");
    assert_eq!(arrived.load(SeqCst), digest.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_object_counts_with_those_that_belong_to_it_when_all_are_there() {
    let (_folder, in_folder) = stores::folder();
    for vault in [stores::memory(), in_folder] {
        let (writer, arrived) = counted(&vault, "a/small");
        let writer = written(writer, pattern(1000)).await.expect("written");
        assert_eq!(arrived.load(SeqCst), 0);
        let others = vec![(key("a/small.refs"), pattern(20).into())];
        writer.complete_with(others).await.expect("completed");
        assert_eq!(arrived.load(SeqCst), 1020);

        let (writer, arrived) = counted(&vault, "a/small");
        let writer = written(writer, pattern(7)).await.expect("written");
        writer.complete().await.expect_err("the name is taken");
        assert_eq!(arrived.load(SeqCst), 0, "what was refused did not arrive");
    }
}
