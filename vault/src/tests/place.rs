//! What is a vault and what is not: places that are empty, missing, somebody else's, or another vault's.

use std::{fs, os::unix::fs::MetadataExt as _};

use packhorse_model::{ErrorKind, Problem, VaultSettings};
use packhorse_testkit::skipped;

use super::stores::{folder, memory};
use crate::{FormatMarker, ObjectKey, Vault, VaultError, make_place, open};

fn at(path: &std::path::Path) -> VaultSettings {
    VaultSettings::new(format!("file://{}", path.display()))
}

#[track_caller]
fn refused<T>(result: Result<T, VaultError>, kind: ErrorKind, named: &str) {
    let problem = Problem::from(result.err().expect("refused"));
    assert_eq!(problem.kind, kind, "{problem}");
    assert!(problem.to_string().contains(named), "{problem}");
    assert!(problem.state.is_some() && problem.next.is_some(), "{problem:?}");
}

#[tokio::test]
async fn a_place_is_a_vault_only_when_somebody_made_it_one() {
    let (_folder, vault) = folder();
    for vault in [vault, memory()] {
        refused(FormatMarker::of(&vault).await, ErrorKind::NotFound, "no vault here");
        refused(FormatMarker::for_writing(&vault).await, ErrorKind::NotFound, "no vault here");
        assert!(vault.names_at_top().await.expect("list").is_empty(), "asking makes nothing");
        let made = FormatMarker::make(&vault).await.expect("make");
        assert_eq!(FormatMarker::for_writing(&vault).await.expect("there is one"), made);
        assert_eq!(vault.id(), made.vault_id);
        refused(FormatMarker::make(&vault).await, ErrorKind::AlreadyExists, &made.vault_id);
        assert_eq!(FormatMarker::make_if_absent(&vault).await.expect("there is one"), made);
    }
}

#[tokio::test]
async fn a_marker_that_was_lost_is_damage_and_what_is_foreign_is_left_alone() {
    let (place, vault) = folder();
    for vault in [&vault, &memory()] {
        let record = ObjectKey::information(&"0001".parse().expect("an ID"));
        vault.create(&record, "{}".into()).await.expect("create");
        for lost in [FormatMarker::of(vault).await, FormatMarker::make(vault).await] {
            refused(lost, ErrorKind::Corrupt, "there are backups");
        }
    }
    let other = place.path().join("other");
    fs::create_dir_all(other.join("lost+found")).expect("create");
    let vault = open(&at(&other)).expect("open");
    fs::write(other.join("mail"), "").expect("write");
    refused(FormatMarker::make(&vault).await, ErrorKind::AlreadyExists, "mail");
    fs::remove_file(other.join("mail")).expect("remove");
    FormatMarker::make(&vault).await.expect("what a file system has at its top is nobody's");
}

#[tokio::test]
async fn only_the_vault_that_is_pinned_is_taken() {
    let (place, vault) = folder();
    let made = FormatMarker::make(&vault).await.expect("make");
    let pinned = |id: &str| -> Vault {
        let settings = VaultSettings { vault_id: Some(id.to_owned()), ..at(&place.path().join("vault")) };
        open(&settings).expect("open")
    };
    assert_eq!(FormatMarker::of(&pinned(&made.vault_id)).await.expect("the one"), made);
    let other = pinned("another");
    refused(FormatMarker::of(&other).await, ErrorKind::NotFound, &made.vault_id);
    refused(FormatMarker::if_any(&other).await, ErrorKind::NotFound, "another");
    refused(FormatMarker::make_if_absent(&other).await, ErrorKind::NotFound, "another");
    fs::remove_file(place.path().join("vault/packhorse/format.json")).expect("lose it");
    refused(FormatMarker::make_if_absent(&other).await, ErrorKind::NotFound, "no vault here");
    for refusal in [FormatMarker::make(&other).await, FormatMarker::of(&other).await] {
        let problem = Problem::from(refusal.expect_err("none is there, and none may be made"));
        assert!(problem.to_string().ends_with("vault_id another, so that no other vault is used or made"));
        let next = problem.next.expect("a next step");
        assert!(next.contains("remove vault_id from the configuration") && next.contains("vault init"));
    }
}

#[test]
fn where_the_configuration_names_a_vault_no_folder_is_made_for_another() {
    let place = tempfile::tempdir().expect("temp folder");
    let path = place.path().join("vault");
    let pinned = VaultSettings { vault_id: Some("v7".into()), ..at(&path) };
    refused(
        make_place(&pinned, None),
        ErrorKind::NotFound,
        "there is no such folder; the configuration has vault_id v7",
    );
    refused(open(&pinned), ErrorKind::NotFound, "the configuration has vault_id v7");
    assert!(!path.exists());
    fs::create_dir(&path).expect("create");
    make_place(&pinned, None).expect("it is there");
}

#[test]
fn only_the_last_folder_is_made() {
    let place = tempfile::tempdir().expect("temp folder");
    refused(make_place(&at(&place.path().join("a/b")), None), ErrorKind::NotFound, "there is no folder");
    assert!(!place.path().join("a").exists());
    refused(open(&at(&place.path().join("a"))), ErrorKind::NotFound, "no such folder");
    assert!(!place.path().join("a").exists(), "opening makes nothing");
    make_place(&at(&place.path().join("a")), None).expect("make");
    assert_eq!(fs::metadata(place.path().join("a")).expect("made").mode() & 0o777, 0o700);
    let error = make_place(&VaultSettings::new("s3://b/p"), Some("0")).expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn members_of_its_group_share_a_vault_whatever_the_umask_is() {
    let place = tempfile::tempdir().expect("temp folder");
    let path = place.path().join("vault");
    let own = fs::metadata(place.path()).expect("it is there").gid();
    match make_place(&at(&path), Some(&own.to_string())) {
        Err(error) if error.to_string().contains("not supported") => return skipped("no ACLs here"),
        made => made.expect("make"),
    }
    let vault = open(&at(&path)).expect("open");
    // The umask of a test process is everybody's, and takes the rights of the group away: 022.
    FormatMarker::make(&vault).await.expect("make");
    let objects = vec![(ObjectKey::report(&"0001".parse().expect("an ID")), "x".into())];
    vault.create_all(objects).await.expect("create");
    for (name, mode) in [
        ("", 0o2770),
        ("packhorse", 0o2770),
        ("packhorse/format.json", 0o660),
        ("backups/0001", 0o2770),
        ("backups/0001/report.json", 0o660),
    ] {
        let found = fs::metadata(path.join(name)).expect("it is there");
        assert_eq!((found.mode() & 0o7777, found.gid()), (mode, own), "{name}");
    }
}
