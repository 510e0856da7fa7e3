//! Archives that stay inside, and archives that try to get out.

use std::os::unix::fs::MetadataExt;

use tar::{Builder, Header};

use super::*;

fn member(archive: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, mode: u32, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(data.len() as u64);
    // Written by hand: the crate's own setters refuse what these tests are about.
    let name = &mut header.as_gnu_mut().expect("just made").name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_gnu_mut().expect("just made").linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    archive.append(&header, data).expect("append to memory");
}

/// Kind, path, link, mode and data.
type Member<'a> = (EntryType, &'a str, &'a str, u32, &'a [u8]);

fn unpacked(members: &[Member<'_>]) -> (tempfile::TempDir, Result<(), Problem>) {
    let mut archive = Builder::new(Vec::new());
    for (kind, path, link, mode, data) in members {
        member(&mut archive, *kind, path, link, *mode, data);
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::create_dir(folder.path().join("repo.git")).expect("create folder");
    let result = unpack(&folder.path().join("repo.git"), &archive.into_inner().expect("archive in memory"));
    (folder, result)
}

use EntryType as T;

#[test]
fn modes_links_and_contents_come_back() {
    let (folder, result) = unpacked(&[
        (T::Directory, "custom_hooks/", "", 0o755, b""),
        (T::Directory, "custom_hooks/pre-receive.d", "", 0o555, b""),
        (T::Regular, "custom_hooks/pre-receive.d/one", "", 0o755, b"#!/bin/sh\n"),
        (T::Regular, "./custom_hooks/data", "", 0o640, b"x"),
        (T::Symlink, "custom_hooks/link", "/somewhere/else", 0o777, b""),
        (T::Link, "custom_hooks/same", "custom_hooks/data", 0o640, b""),
        (T::Regular, "beside", "", 0o644, b"not a hook"),
    ]);
    result.expect("unpack");
    let hooks = folder.path().join("repo.git/custom_hooks");
    let mode = |path: &str| fs::metadata(hooks.join(path)).expect("metadata").mode() & 0o7777;
    assert_eq!(mode("pre-receive.d"), 0o555);
    assert_eq!(mode("pre-receive.d/one"), 0o755);
    assert_eq!(mode("data"), 0o640);
    assert_eq!(fs::read(hooks.join("same")).expect("read"), b"x");
    assert_eq!(fs::read_link(hooks.join("link")).expect("link"), Path::new("/somewhere/else"));
    assert!(!folder.path().join("repo.git/beside").exists());
}

/// Whoever can write to a vault must not get programs that run as another user.
#[test]
fn bits_that_lend_rights_are_dropped() {
    let (folder, result) = unpacked(&[
        (T::Directory, "custom_hooks/", "", 0o7755, b""),
        (T::Regular, "custom_hooks/update", "", 0o6755, b"#!/bin/sh\n"),
    ]);
    result.expect("unpack");
    for path in ["custom_hooks", "custom_hooks/update"] {
        let found = fs::metadata(folder.path().join("repo.git").join(path)).expect("metadata");
        assert_eq!(found.mode() & 0o7777, 0o755, "{path}");
    }
}

#[test]
fn an_empty_archive_is_no_hooks() {
    let folder = tempfile::tempdir().expect("temporary folder");
    unpack(folder.path(), b"").expect("unpack nothing");
    assert!(!folder.path().join("custom_hooks").exists());
}

#[test]
fn what_would_escape_is_refused() {
    let outside = tempfile::tempdir().expect("temporary folder");
    let link = outside.path().to_str().expect("UTF-8");
    let attempts: [&[Member<'_>]; 7] = [
        &[(T::Regular, "custom_hooks/../../out", "", 0o644, b"x")],
        &[(T::Regular, "/custom_hooks/out", "", 0o644, b"x")],
        &[(T::Symlink, "custom_hooks", link, 0o777, b""), (T::Regular, "custom_hooks/out", "", 0o644, b"x")],
        &[
            (T::Symlink, "custom_hooks/d", link, 0o777, b""),
            (T::Regular, "custom_hooks/d/out", "", 0o644, b"x"),
        ],
        &[(T::Symlink, "custom_hooks/d", link, 0o777, b""), (T::Directory, "custom_hooks/d", "", 0o755, b"")],
        &[(T::Link, "custom_hooks/h", "../../../../etc/hostname", 0o644, b"")],
        &[(T::Char, "custom_hooks/dev", "", 0o644, b"")],
    ];
    for attempt in attempts {
        let (folder, result) = unpacked(attempt);
        let problem = result.expect_err(attempt[0].1);
        assert_eq!(problem.kind, packhorse_model::ErrorKind::Corrupt, "{problem}");
        assert!(!folder.path().join("out").exists());
        assert_eq!(fs::read_dir(outside.path()).expect("read folder").count(), 0, "{problem}");
    }
}
