//! A store that fails: what is retried, what is read back, and what an error is called.
//!
//! Does not own: whole runs on it (`integration-tests`). Faults come from the test kit's store, over real connections.

use std::time::Duration;

use packhorse_model::{ErrorKind, Problem};
use packhorse_testkit::{Fault, FaultyS3, Operation, Plan, Rule};

use super::{
    contract::{keeps_the_contract, key, pattern, write},
    stores,
};
use crate::{FormatMarker, Vault};

const BUDGET: Duration = Duration::from_secs(15);

fn start() -> (FaultyS3, Vault) {
    let server = FaultyS3::start();
    let vault = stores::faulty(&server, BUDGET);
    (server, vault)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fault_store_keeps_the_contract() {
    let (server, vault) = start();
    keeps_the_contract(&vault).await;
    vault.uploads().close();
    vault.uploads().wait().await;
    assert_eq!(server.open_uploads(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_while_requests_fail() {
    for seed in 0..3 {
        let (server, vault) = start();
        let faults = [
            Fault::Latency,
            Fault::InternalError,
            Fault::SlowDown,
            Fault::TooManyRequests,
            Fault::ResetBefore,
            Fault::ResetAfter,
            Fault::Truncated,
            Fault::ErrorIn200,
            Fault::Conflict,
        ];
        let rules = faults.map(|fault| Rule::sometimes(fault, 40));
        server.set_faults(rules.into_iter().fold(Plan::new(seed), Plan::with));
        eprintln!("seed {seed}");
        keeps_the_contract(&vault).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_is_tried_until_it_is_known_what_it_did() {
    let (server, vault) = start();
    for fault in [Fault::ResetBefore, Fault::ResetAfter, Fault::Conflict, Fault::InternalError, Fault::Stall]
    {
        let key = key(&format!("create/{}", fault.name()));
        server.set_faults(Plan::of(Rule::first(fault, 2).on(&[Operation::Create])));
        let digest = vault.create(&key, "ours".into()).await.expect("create");
        server.clear_faults();
        assert_eq!(&vault.get_checked(&digest).await.expect("read")[..], b"ours");

        server.set_faults(Plan::of(Rule::first(fault, 1).on(&[Operation::Create])));
        let refused = vault.create(&key, "others".into()).await.expect_err("taken");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{fault:?}: {refused}");
    }
    let writes = |name: &str| {
        let log = server.log();
        log.iter().filter(|entry| entry.applied && entry.key.ends_with(name)).count()
    };
    assert_eq!(writes("create/reset after"), 1);

    // Taken, but by whom cannot be read: that is no "exists".
    server.put_object("some/prefix/create/hidden", "ours");
    server.set_faults(Plan::of(Rule::always(Fault::AccessDenied).on(&[Operation::Get])));
    let error = vault.create(&key("create/hidden"), "ours".into()).await.expect_err("unreadable");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_gives_up_at_the_end_of_its_budget_and_at_once_when_that_cannot_help() {
    let server = FaultyS3::start();
    let vault = stores::faulty(&server, Duration::from_secs(3));
    for (fault, kind) in [
        (Fault::ResetBefore, ErrorKind::Unavailable),
        (Fault::Conflict, ErrorKind::Unavailable),
        (Fault::ExpiredToken, ErrorKind::Denied),
        (Fault::NoSuchBucket, ErrorKind::Unavailable),
    ] {
        server.set_faults(Plan::of(Rule::always(fault)));
        let before = server.requests();
        let error = vault.create(&key("x"), "x".into()).await.expect_err("fails");
        assert_eq!(error.kind(), kind, "{error}");
        let again = matches!(fault, Fault::ResetBefore | Fault::Conflict);
        assert_eq!(server.requests() - before > 1, again, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_completion_was_not_answered_is_recognised() {
    let (server, vault) = start();
    for fault in [Fault::ResetAfter, Fault::ErrorIn200, Fault::Stall] {
        server.set_faults(Plan::of(Rule::first(fault, 1).on(&[Operation::CompleteUpload])));
        let name = format!("large/{}", fault.name());
        let digest = write(&vault, &name, pattern(9 << 20)).await.expect("recognised");
        assert_eq!(server.objects()[&format!("some/prefix/{name}")].len() as u64, digest.size);
        assert_eq!(server.open_uploads(), [""; 0], "{fault:?}");
    }
    for (fault, operation) in [
        (Fault::AccessDenied, Operation::PutPart),
        (Fault::AccessDenied, Operation::CompleteUpload),
        (Fault::ExpiredToken, Operation::CompleteUpload),
    ] {
        server.set_faults(
            Plan::of(Rule::always(fault).on(&[operation]))
                .with(Rule::first(Fault::ResetBefore, 2).on(&[Operation::AbortUpload])),
        );
        let error = write(&vault, "large/none", pattern(9 << 20)).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert_eq!(server.open_uploads(), [""; 0], "{operation:?}");
        assert!(!server.keys().contains("some/prefix/large/none"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_the_condition_is_found_out_before_anything_is_claimed() {
    let (server, vault) = start();
    server.set_faults(Plan::new(0).ignoring_if_none_match());
    let error = FormatMarker::make(&vault).await.expect_err("careless");
    let problem = Problem::from(error);
    assert_eq!(problem.kind, ErrorKind::Unavailable);
    assert!(problem.to_string().contains("ignored `If-None-Match"), "{problem}");
    assert_eq!(problem.state.as_deref(), Some("nothing was written over"));
    assert!(problem.next.is_some());
    let marker = FormatMarker::of(&vault).await.expect("reads do not mind, and it was written");

    // Repaired, and asked once; a lost answer proves nothing.
    server.set_faults(Plan::of(Rule::first(Fault::ResetAfter, 1).on(&[Operation::Create])));
    for _ in ["other", "third"] {
        assert_eq!(FormatMarker::for_writing(&vault).await.expect("repaired"), marker);
    }
    let proofs = server.log().into_iter().filter(|entry| entry.operation == Operation::Create);
    assert_eq!(proofs.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let (server, vault) = start();
    let digest = vault.create(&key("folder/small"), "ours".into()).await.expect("create");
    server.set_faults(Plan::of(Rule::first(Fault::Truncated, 2)));
    let missing = vault.get(&key("missing")).await.expect_err("there is none");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    assert_eq!(vault.list_folder(&key("folder")).await.expect("list"), ["small"]);
    assert_eq!(&vault.get_checked(&digest).await.expect("read")[..], b"ours");
    write(&vault, "large", pattern(9 << 20)).await.expect("upload");
    let met: Vec<Operation> =
        server.log().iter().filter(|entry| entry.fault.is_some()).map(|entry| entry.operation).collect();
    for operation in [Operation::Get, Operation::List, Operation::BeginUpload, Operation::CompleteUpload] {
        assert!(met.contains(&operation), "{operation:?} met nothing: {met:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_does_not_implement_is_not_tried_again() {
    let (server, vault) = start();
    server.set_faults(Plan::of(Rule::always(Fault::NotImplemented).on(&[Operation::Create])));
    let problem = Problem::from(vault.create(&key("a"), "x".into()).await.expect_err("501"));
    assert_eq!(problem.kind, ErrorKind::Unavailable);
    let (answer, next) = (problem.answer.unwrap_or_default(), problem.next.unwrap_or_default());
    assert!(
        answer.contains("501 Not Implemented") && answer.contains("NotImplemented: A header"),
        "{answer}"
    );
    assert!(!answer.contains('<') && next.contains("If-None-Match"), "{answer}: {next}");
    let asked = server.log().into_iter().filter(|entry| entry.operation == Operation::Create);
    assert_eq!(asked.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_do_not_hide_ours() {
    let (server, vault) = start();
    for name in ["1", "2"] {
        vault.create(&key(&format!("folder/{name}/x")), "x".into()).await.expect("create");
    }
    let own = server.keys().into_iter().find(|name| name.ends_with("folder/1/x")).expect("a key");
    let folder = own.strip_suffix("1/x").expect("a folder");
    for name in ["/x", "//", "a\u{1b}/x", "a\u{7f}", "../x", "./x", "a b", "lost+found/x"] {
        server.put_object(&format!("{folder}{name}"), "x");
    }
    let mut names = vault.list_names(&key("folder")).await.expect("list");
    names.sort();
    assert_eq!(names, ["1", "2", "a b", "lost+found"]);
}
