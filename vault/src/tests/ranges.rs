//! Large objects by ranges: in order, several at once, within a budget, and never less checked than small ones.

use std::{io::Read as _, time::Duration};

use packhorse_model::{ErrorKind, ObjectDigest};
use packhorse_testkit::{Fault, FaultyS3, Operation, Plan, Rule, assert_stays, wait_until};
use tokio::task::spawn_blocking;

use super::{
    contract::{key, pattern},
    stores,
};
use crate::{
    ObjectReader, Vault, VaultError, digest_of,
    ranges::{AHEAD_MIB, RANGE},
};

/// Seven ranges, the last of them short: one more than are on their way at once.
const SIZE: usize = 6 * RANGE as usize + 12_345;
const BUDGET: Duration = Duration::from_secs(15);

/// A fault store with an object in its place.
fn start() -> (FaultyS3, Vault, ObjectDigest) {
    let server = FaultyS3::start();
    let vault = stores::faulty(&server, BUDGET);
    let bytes = pattern(SIZE);
    let digest = digest_of(&key("large"), &bytes);
    server.put_object("some/prefix/large", bytes);
    (server, vault, digest)
}

async fn open(vault: &Vault, digest: &ObjectDigest) -> Result<ObjectReader, VaultError> {
    vault.reader(&key("large"), Some(digest)).await
}

async fn read(mut reader: ObjectReader) -> std::io::Result<Vec<u8>> {
    let read = move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    };
    spawn_blocking(read).await.expect("no panic")
}

fn gets(server: &FaultyS3) -> usize {
    server.log().iter().filter(|request| request.operation == Operation::Get).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_come_in_order_and_a_few_of_them_ahead() {
    let (server, vault, digest) = start();
    let mut reader = open(&vault, &digest).await.expect("open");
    assert_eq!(gets(&server), 1, "more than one range before anything is read");
    let reader = spawn_blocking(move || reader.next_bytes().map(|first| (reader, first))).await;
    let (reader, first) = reader.expect("no panic").expect("read");
    let ahead = 1 + AHEAD_MIB * (1 << 20) / RANGE as usize;
    let as_many =
        || (gets(&server) == ahead).then_some(()).ok_or_else(|| format!("{} requests", gets(&server)));
    wait_until("ranges ahead", BUDGET, as_many);
    assert_stays("the number of requests", Duration::from_millis(200), as_many);
    // Another one gets on although all of the budget is taken.
    let other = read(open(&vault, &digest).await.expect("open")).await.expect("read");
    assert!(other == pattern(SIZE), "another reader got other bytes");
    let rest = read(reader).await.expect("read");
    assert!([&first[..], &rest].concat() == other, "the first reader got other bytes");
    assert_eq!(vault.read_ahead().available_permits(), AHEAD_MIB);
    assert_eq!((gets(&server), vault.requests().gets), (14, 14));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_dropped_gives_back_what_it_held() {
    let (server, vault, digest) = start();
    let mut reader = open(&vault, &digest).await.expect("open");
    spawn_blocking(move || reader.next_bytes().map(drop)).await.expect("no panic").expect("read");
    wait_until("the whole budget", BUDGET, || match vault.read_ahead().available_permits() {
        AHEAD_MIB => Ok(()),
        free => Err(format!("{free} MiB are free")),
    });
    assert!(gets(&server) < 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_side_by_side_get_on_with_one_budget() {
    let (_server, vault, digest) = start();
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..6 {
        reading.spawn(read(open(&vault, &digest).await.expect("open")));
    }
    for bytes in reading.join_all().await {
        assert!(bytes.expect("read") == pattern(SIZE));
    }
    assert_eq!(vault.read_ahead().available_permits(), AHEAD_MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_requests_are_made_again() {
    let (server, vault, digest) = start();
    let faults =
        [Fault::InternalError, Fault::SlowDown, Fault::ResetBefore, Fault::Truncated, Fault::Latency];
    for seed in 0..3 {
        let rules = faults.map(|fault| Rule::sometimes(fault, 150).on(&[Operation::Get]));
        server.set_faults(rules.into_iter().fold(Plan::new(seed), Plan::with));
        let bytes = read(open(&vault, &digest).await.expect("open")).await.expect("read");
        assert!(bytes == pattern(SIZE), "seed {seed}");
    }
    assert!(server.log().iter().any(|request| request.fault == Some("truncated")), "nothing was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_knows_no_ranges_gives_the_whole() {
    let (server, vault, digest) = start();
    server.forget_ranges();
    let bytes = read(open(&vault, &digest).await.expect("open")).await.expect("read");
    assert!(bytes == pattern(SIZE));
    assert_eq!(gets(&server), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_in_whichever_range_it_is() {
    let (server, vault, digest) = start();
    let outcome = async || match open(&vault, &digest).await {
        Ok(reader) => match read(reader).await {
            Ok(_) => panic!("not found"),
            Err(error) => VaultError::of_io(&error).expect("carries the vault's").clone(),
        },
        Err(error) => error,
    };
    for at in [0, RANGE as usize, SIZE - 1] {
        let mut bytes = pattern(SIZE);
        bytes[at] ^= 1;
        server.put_object("some/prefix/large", bytes);
        assert_eq!(outcome().await.kind(), ErrorKind::Corrupt, "flipped at {at}");
    }
    for len in [0, RANGE as usize, SIZE - 1, SIZE + 1] {
        server.put_object("some/prefix/large", pattern(len));
        let error = outcome().await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{len} bytes: {error}");
        assert!(error.to_string().contains(&len.to_string()), "{error}");
    }
    server.remove_object("some/prefix/large");
    assert_eq!(outcome().await.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn ceph_gives_ranges() {
    let vault = stores::ceph("ranges");
    let bytes = pattern(SIZE);
    let digest = super::contract::write(&vault, "large", bytes.clone()).await.expect("write");
    let before = vault.requests().gets;
    assert!(read(open(&vault, &digest).await.expect("open")).await.expect("read") == bytes);
    assert_eq!(vault.requests().gets - before, 7);
}
