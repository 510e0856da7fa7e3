//! The fault store, asked by curl.
//!
//! Does not own: whether it is an S3 server to our own client (the vault's contract suite).

use std::{process::Output, time::Duration};

use super::{Fault, FaultyS3, Operation, Plan, Rule, When};
use crate::{command::hermetic_command, run_with_input, xml::elements};

/// Long enough for anything here.
const SOON: Duration = Duration::from_secs(20);

fn curl(server: &FaultyS3, args: &[&str], path: &str) -> std::process::Command {
    let mut curl = hermetic_command("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"])
        .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "curl:secret"])
        .args(args)
        .arg(format!("{}/packhorse{path}", server.endpoint()));
    curl
}

/// The body and the status; 0 when there was no answer.
fn ask(server: &FaultyS3, args: &[&str], path: &str) -> (String, u16) {
    let Output { stdout, .. } = curl(server, args, path).output().expect("curl starts");
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("curl prints a status");
    (body.to_owned(), status.parse().expect("a status is a number"))
}

fn put(server: &FaultyS3, args: &[&str], path: &str, bytes: &[u8]) -> u16 {
    let mut curl = curl(server, &["-X", "PUT", "--data-binary", "@-"], path);
    let output = run_with_input(curl.args(args), bytes);
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().and_then(|status| status.parse().ok()).expect("curl prints a status")
}

#[test]
fn objects_are_created_once_listed_in_pages_and_removed() {
    let server = FaultyS3::start();
    for key in ["a/1", "a/2", "a/b/3", "c"] {
        assert_eq!(put(&server, &["-H", "If-None-Match: *"], &format!("/{key}"), key.as_bytes()), 200);
    }
    assert_eq!(put(&server, &["-H", "If-None-Match: *"], "/c", b"other"), 412);
    assert_eq!(ask(&server, &["-r", "1-"], "/a/b/3"), ("/b/3".to_owned(), 206));
    assert_eq!(ask(&server, &[], "/none").1, 404);
    let (page, _) = ask(&server, &[], "?list-type=2&prefix=a%2F&delimiter=%2F&max-keys=2");
    assert_eq!(elements(&page, "Key"), ["a/1", "a/2"]);
    let token = elements(&page, "NextContinuationToken").remove(0);
    let (page, _) =
        ask(&server, &[], &format!("?list-type=2&prefix=a%2F&delimiter=%2F&continuation-token={token}"));
    assert!(page.contains("<CommonPrefixes><Prefix>a/b/</Prefix>") && page.contains(">false<"), "{page}");
    assert_eq!(ask(&server, &["-X", "DELETE"], "/c").1, 204);
    assert_eq!(server.keys().into_iter().collect::<Vec<_>>(), ["a/1", "a/2", "a/b/3"]);
    let log = server.log();
    assert_eq!((log[0].who.as_str(), log[0].operation, log[0].bytes), ("curl", Operation::Create, 3));
    assert_eq!((log[4].status, log[4].applied), (Some(412), false));
    assert_eq!(server.received_per(SOON).iter().sum::<u64>(), 3 + 3 + 5 + 1 + 5);

    server.set_faults(Plan::new(0).ignoring_if_none_match());
    assert_eq!(put(&server, &["-H", "If-None-Match: *"], "/a/1", b"other"), 200);
    assert_eq!(&server.objects()["a/1"][..], b"other");
}

#[test]
fn an_upload_is_an_object_when_it_is_completed_and_gone_afterwards() {
    let server = FaultyS3::start();
    let (answer, _) = ask(&server, &["-X", "POST"], "/large?uploads=");
    let id = elements(&answer, "UploadId").remove(0);
    let part = vec![7; 5 << 20];
    for (number, bytes) in [(1, &part[..]), (2, b"end")] {
        assert_eq!(put(&server, &[], &format!("/large?partNumber={number}&uploadId={id}"), bytes), 200);
    }
    assert_eq!(server.open_uploads(), ["large"]);
    let complete = |etag: &str| {
        let parts = [(1, "a8a5ccd8cc3a3f0a9b0ff2a4c3a2b0f3"), (2, etag)];
        let parts = parts.map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        });
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.concat());
        ask(&server, &["-X", "POST", "--data-binary", &body], &format!("/large?uploadId={id}"))
    };
    let (refused, status) = complete("wrong");
    assert_eq!((elements(&refused, "Code").remove(0).as_str(), status), ("InvalidPart", 400));
    assert_eq!(ask(&server, &["-X", "DELETE"], &format!("/large?uploadId={id}")).1, 204);
    assert!(server.open_uploads().is_empty() && server.keys().is_empty());
    assert_eq!(complete("wrong").1, 404);
}

#[test]
fn faults_are_what_they_are_called() {
    let server = FaultyS3::start();
    server.put_object("k", vec![b'x'; 100_000]);
    for (fault, status) in [
        (Fault::InternalError, 500),
        (Fault::SlowDown, 503),
        (Fault::TooManyRequests, 429),
        (Fault::ExpiredToken, 400),
        (Fault::ClockSkew, 403),
        (Fault::ResetBefore, 0),
        (Fault::ResetAfter, 0),
    ] {
        server.set_faults(Plan::of(Rule::first(fault, 1)));
        assert_eq!(ask(&server, &[], "/k").1, status, "{fault:?}");
        assert_eq!(ask(&server, &[], "/k").1, 200, "{fault:?}");
    }
    server.set_faults(Plan::of(Rule::first(Fault::Truncated, 1)));
    assert_eq!(ask(&server, &[], "/k").0.len(), 50_000);
    assert_eq!(ask(&server, &[], "/k").0.len(), 100_000);
    server.set_faults(Plan::of(Rule::always(Fault::ResetAfter).on(&[Operation::Put])));
    let mut reset = curl(&server, &["-X", "PUT", "--data-binary", "new"], "/k");
    assert!(!reset.output().expect("curl starts").status.success());
    assert_eq!(&server.objects()["k"][..], b"new");
    server.clear_faults();
    server.begin_outage();
    assert_eq!(ask(&server, &[], "/k").1, 0);
    server.end_outage();
    assert_eq!(ask(&server, &[], "/k").1, 200);
}

#[test]
fn the_same_seed_meets_the_same_requests_in_any_order() {
    let met = |order: &[usize]| {
        let server = FaultyS3::start();
        server.set_faults(Plan::new(7).with(Rule::sometimes(Fault::InternalError, 500)));
        let mut statuses = [0; 12];
        for &at in order {
            statuses[at] = ask(&server, &[], &format!("/key-{at}")).1;
        }
        statuses
    };
    let forwards: Vec<usize> = (0..12).collect();
    let backwards: Vec<usize> = (0..12).rev().collect();
    let statuses = met(&forwards);
    assert_eq!(statuses, met(&backwards));
    assert!(statuses.contains(&500) && statuses.contains(&404), "{statuses:?}");
}

#[test]
fn a_process_is_held_on_either_side_of_a_request_and_others_go_on() {
    for (when, stored) in [(When::Before, 1), (When::AfterApply, 2)] {
        let server = FaultyS3::start();
        server.stop_at_of("curl", 2, when);
        put(&server, &[], "/1", b"one");
        let mut second =
            curl(&server, &["-X", "PUT", "--data-binary", "two"], "/2").spawn().expect("curl starts");
        assert_eq!(server.wait_until_held(SOON).key, "2");
        let mut third =
            curl(&server, &["-X", "PUT", "--data-binary", "three"], "/3").spawn().expect("curl starts");
        let other = curl(&server, &["--user", "other:secret"], "/1").output().expect("curl starts");
        assert!(String::from_utf8_lossy(&other.stdout).ends_with("200"));
        assert_eq!(server.keys().len(), stored, "{when:?}");
        crate::wait_until("the third request", SOON, || {
            if server.requests() == 4 { Ok(()) } else { Err(server.requests().to_string()) }
        });
        server.release();
        for child in [&mut second, &mut third] {
            assert!(!child.wait().expect("curl ends").success());
        }
        assert_eq!(server.keys().len(), stored, "{when:?}");
        assert_eq!(put(&server, &[], "/4", b"four"), 200);
    }
}
