//! What every store must do for us: create-only, read back, detect damage, multipart all or nothing, odd names.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use packhorse_model::{ErrorKind, ObjectDigest};
use packhorse_testkit::CephGateway;
use tokio::task::spawn_blocking;

use super::stores;
use crate::{ObjectKey, PartSize, Vault, VaultError, digest_of};

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::from_stored(text).expect("plain key")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("no panic")
}

pub async fn write(vault: &Vault, name: &str, bytes: Vec<u8>) -> Result<ObjectDigest, VaultError> {
    let (vault, key) = (vault.clone(), key(name));
    blocking(move || {
        let mut writer = vault.writer(key, PartSize::SMALLEST);
        // In pieces, as a stream comes.
        bytes.chunks(100_000).for_each(|piece| writer.write_all(piece).expect("write"));
        writer.finish()
    })
    .await
}

async fn read(vault: &Vault, digest: &ObjectDigest) -> std::io::Result<Vec<u8>> {
    let reader = vault.reader(&key(&digest.path), Some(digest)).await.expect("object exists");
    blocking(move || {
        let (mut reader, mut bytes) = (reader, Vec::new());
        reader.read_to_end(&mut bytes).map(|_| bytes)
    })
    .await
}

pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

pub async fn keeps_the_contract(vault: &Vault) {
    // Create-only: another content is refused, our own earlier success is recognised.
    let first = vault.create(&key("a/one"), "first".into()).await.expect("create");
    assert_eq!(vault.create(&key("a/one"), "first".into()).await.expect("same bytes"), first);
    let refused = vault.create(&key("a/one"), "other".into()).await.expect_err("taken");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(&vault.get(&key("a/one")).await.expect("read")[..], b"first");

    // Nothing there is NotFound, not an outage.
    assert_eq!(vault.get(&key("a/none")).await.expect_err("absent").kind(), ErrorKind::NotFound);
    assert_eq!(vault.head(&key("a/none")).await.expect("answered"), None);
    assert_eq!(vault.head(&key("a/one")).await.expect("answered"), Some(5));

    // Small, exactly one part, and several parts, all read back with their digest.
    const PART: usize = 8 << 20;
    for (name, len) in [
        ("b/empty", 0),
        ("b/small", 10_000),
        ("b/part", PART),
        ("b/parts", 20_000_001),
        ("b/parts and a byte", PART + 1),
        ("b/parts and a little", 2 * PART + 300_000),
    ] {
        let bytes = pattern(len);
        let digest = write(vault, name, bytes.clone()).await.expect(name);
        assert_eq!(digest, digest_of(&key(name), &bytes), "{name}");
        assert_eq!(read(vault, &digest).await.expect(name), bytes, "{name}");
    }

    // Several at once: their digests in order, and what is taken is refused by name.
    let several = |names: [&str; 3]| {
        names.into_iter().map(|name| (key(name), name.to_owned().into())).collect::<Vec<(ObjectKey, Bytes)>>()
    };
    let digests = vault.create_all(several(["s/1", "s/2", "s/3"])).await.expect("create all");
    let expected: Vec<ObjectDigest> =
        several(["s/1", "s/2", "s/3"]).iter().map(|(key, bytes)| digest_of(key, bytes)).collect();
    assert_eq!(digests, expected);
    vault.create(&key("s/5"), "taken".into()).await.expect("create");
    let refused = vault.create_all(several(["s/4", "s/5", "s/6"])).await.expect_err("taken");
    assert!(refused.kind() == ErrorKind::AlreadyExists && refused.to_string().contains("s/5"), "{refused}");
    assert_eq!(&vault.get(&key("s/5")).await.expect("read")[..], b"taken");

    // A name that an earlier try may have taken, and a copy under a name that may exist.
    for text in ["one", "two"] {
        let (new, latest) = (key(&format!("l/{text}")), key("l/latest"));
        for _ in 0..2 {
            let created = vault.create_or_find(new.clone(), text.into()).await.expect(text);
            assert_eq!(created, digest_of(&new, text.as_bytes()));
        }
        vault.write_latest(&latest, text.into()).await.expect(text);
        assert_eq!(&vault.get(&latest).await.expect("read")[..], text.as_bytes());
    }
    let refused = vault.create_or_find(key("l/one"), "three".into()).await;
    assert_eq!(refused.expect_err("taken").kind(), ErrorKind::AlreadyExists);
    assert_eq!(&vault.get(&key("l/one")).await.expect("read")[..], b"one");

    // A reader with a digest never ends cleanly on other bytes.
    let mut wrong = vault.create(&key("c/x"), "content".into()).await.expect("create");
    wrong.sha256 = first.sha256.clone();
    assert_eq!(vault.get_checked(&wrong).await.expect_err("damaged").kind(), ErrorKind::Corrupt);
    let error = read(vault, &wrong).await.expect_err("damaged");
    assert_eq!(VaultError::of_io(&error).map(VaultError::kind), Some(ErrorKind::Corrupt));

    // A writer that is dropped leaves nothing under its name.
    let (dropped, long) = (vault.clone(), pattern(20 << 20));
    blocking(move || {
        let mut writer = dropped.writer(key("d/dropped"), PartSize::SMALLEST);
        writer.write_all(&long).expect("write");
    })
    .await;
    assert_eq!(vault.head(&key("d/dropped")).await.expect("answered"), None);

    // Names with characters that stores and URLs treat specially.
    for odd in
        ["e/a b+c@d.git/x", "e/%41/x", "e/ä/x", "e/[a]{b}~^#/x", "e/a&b=c?d;e,f!g'h(i)*/x", "e/a:b\\c/x"]
    {
        let digest = vault.create(&key(odd), odd.to_owned().into()).await.expect(odd);
        assert_eq!(vault.get_checked(&digest).await.expect(odd), odd.as_bytes());
    }

    // What is there is known to be there, with its size, be it many or few.
    let mut many = Vec::new();
    for number in 0..12 {
        let name = key(&format!("p/{}/{number}", number % 3));
        many.push(vault.create(&name, pattern(number).into()).await.expect("create"));
    }
    for objects in [&many[..], &many[..2], &[]] {
        vault.check_present(objects).await.expect("all are there");
    }
    for (at, kind) in [(3, ErrorKind::NotFound), (4, ErrorKind::Corrupt)] {
        let mut wrong = many.clone();
        match kind {
            ErrorKind::NotFound => wrong[at].path.push('x'),
            _ => wrong[at].size += 1,
        }
        let error = vault.check_present(&wrong).await.expect_err("one is not there");
        assert!(error.kind() == kind && error.to_string().contains(&wrong[at].path), "{error}");
        assert_eq!(vault.check_present(&wrong[at..][..1]).await.expect_err("the same").kind(), kind);
    }

    // A listing names folders and objects directly below, and only those.
    let mut names = vault.list_names(&key("b")).await.expect("list");
    names.sort();
    assert_eq!(names, ["empty", "part", "parts", "parts and a byte", "parts and a little", "small"]);
    assert_eq!(vault.list_names(&key("e")).await.expect("list").len(), 6);
    assert_eq!(vault.list_names(&key("none")).await.expect("list"), Vec::<String>::new());
    assert_eq!(vault.list_names(&key("a/on")).await.expect("list"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract() {
    let (folder, vault) = stores::folder();
    keeps_the_contract(&vault).await;
    // All or none, and nothing that was staged stays.
    let mut names = vault.list_names(&key("s")).await.expect("list");
    names.sort();
    assert_eq!(names, ["1", "2", "3", "5"]);
    for kind in ["s", "l"] {
        let entries = std::fs::read_dir(folder.path().join("vault").join(kind)).expect("read folder");
        let names: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains('#')), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    keeps_the_contract(&stores::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceph_gateway_keeps_the_contract() {
    let vault = blocking(|| stores::ceph("vault-contract")).await;
    keeps_the_contract(&vault).await;
    // The upload that was dropped was aborted, so there is nothing to pay for.
    packhorse_testkit::wait_until("abort of the dropped upload", std::time::Duration::from_secs(20), || {
        match CephGateway::shared().list_uploads("vault-contract") {
            open if open.is_empty() => Ok(()),
            open => Err(format!("still open: {open:?}")),
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted() {
    let vault = stores::memory();
    write(&vault, "x/small", pattern(100)).await.expect("write");
    assert_eq!(vault.requests().puts, 1);
    write(&vault, "x/parts", pattern(17 << 20)).await.expect("write");
    // Start, three parts, completion.
    assert_eq!(vault.requests().puts, 6);
    vault.head(&key("x/small")).await.expect("answered");
    vault.get(&key("x/small")).await.expect("read");
    vault.list_names(&key("x")).await.expect("list");
    let counts = vault.requests();
    assert_eq!((counts.heads, counts.gets, counts.lists, counts.total()), (1, 1, 1, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_in_a_folder_do_not_hide_ours() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let (folder, vault) = stores::folder();
    vault.create(&key("folder/1/x"), "x".into()).await.expect("create");
    let place = folder.path().join("vault/folder");
    for name in [&b"a\x1bb"[..], b"n\xff", b"a#1", b"a\x7f", b"a b"] {
        std::fs::write(place.join(OsStr::from_bytes(name)), "x").expect("write");
    }
    std::os::unix::fs::symlink("/nowhere", place.join("dangling")).expect("link");
    let mut names = vault.list_names(&key("folder")).await.expect("list");
    names.sort();
    assert_eq!(names, ["1", "a b", "dangling"]);
}
