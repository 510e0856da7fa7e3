//! Each fault by its name, met by each command: ridden out, or told with everything that an operator needs.
//!
//! Does not own: which kind of error is which exit code (`exit_codes`).

use std::{path::Path, thread};

use packhorse_testkit::{CliOutput, Fault, LoggedRequest, Operation, Plan, Rule};

use super::place::{Place, compare, make_storage};
use crate::system::site::{json, text};

/// A fault that does not end, the exit code, its name in the answer, and a word of the next step.
pub const LASTING: [(Fault, i32, &str, &str); 11] = [
    (Fault::InternalError, 13, "InternalError", "reachable"),
    (Fault::SlowDown, 13, "SlowDown", "reachable"),
    (Fault::TooManyRequests, 13, "TooManyRequests", "reachable"),
    (Fault::ResetBefore, 13, "reset", "reachable"),
    (Fault::ResetAfter, 13, "reset", "reachable"),
    (Fault::Stall, 13, "timed out", "reachable"),
    (Fault::ExpiredToken, 12, "ExpiredToken", "credentials"),
    (Fault::ClockSkew, 12, "RequestTimeTooSkewed", "clock"),
    (Fault::AccessDenied, 12, "AccessDenied", "permissions"),
    (Fault::NoSuchBucket, 13, "NoSuchBucket", "bucket"),
    (Fault::NotImplemented, 13, "NotImplemented", "store that"),
];
/// Faults that end; all but the last two may meet any request.
pub const PASSING: [Fault; 8] = [
    Fault::InternalError,
    Fault::SlowDown,
    Fault::TooManyRequests,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::Truncated,
    Fault::ErrorIn200,
    Fault::Conflict,
];

/// The same as plans, and a stall.
fn passing() -> Vec<(&'static str, Plan)> {
    let once = PASSING.map(|fault| (fault.name(), Plan::of(Rule::first(fault, 1))));
    let stall = Plan::of(Rule::always(Fault::Stall).after(2).until(3));
    once.into_iter().chain([("stall", stall)]).collect()
}

/// A site with a committed backup.
fn place(storage: &Path, budget: &str) -> Place {
    let place = Place::with_copy_of(storage, budget);
    place.create("0001").run().expect_success();
    place
}

#[track_caller]
pub fn assert_told(output: &CliOutput, command: &str, (fault, code, named, step): (Fault, i32, &str, &str)) {
    assert_eq!(output.code, code, "{command} {fault:?}: {output:#?}");
    let error = &json(output)["error"];
    let part = |name: &str| text(&error[name]);
    assert!(!part("what").is_empty() && !part("object").is_empty(), "{command} {fault:?}: {error:#}");
    assert!(part("answer").contains(named), "{command} {fault:?}: {error:#}");
    assert!(part("next").contains(step), "{command} {fault:?}: {error:#}");
    if command == "create" {
        assert!(output.stderr.contains("nothing was committed"), "{command} {fault:?}: {output:#?}");
    }
}

/// Runs the rows beside each other: most of their time is spent waiting.
pub fn beside_each_other<T: Sync>(rows: &[T], work: impl Fn(&T, &Path) + Sync) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let storage = folder.path().join("storage");
    make_storage(&storage);
    thread::scope(|scope| {
        for rows in rows.chunks(rows.len().div_ceil(4)) {
            scope.spawn(|| rows.iter().for_each(|row| work(row, &storage)));
        }
    });
}

#[test]
fn faults_that_end_are_ridden_out() {
    beside_each_other(&passing(), |(name, plan), storage| {
        let place = place(storage, "20s");
        place.change(Some(2));
        let calls =
            [place.create("0002"), place.ctl(["list"]), place.restore("0001", &place.site.path("to"))];
        for call in calls {
            place.server.set_faults(plan.clone());
            let output = call.run();
            assert_eq!(output.code, 0, "{name}: {output:#?}");
        }
        let met = place.server.log().iter().filter(|request| request.fault == Some(*name)).count();
        assert!(met > 0, "{name} met nothing");
        place.server.clear_faults();
        place.assert_restores("0002", &place.states());
        // Only an upload that nobody was told of stays open: the store's lifecycle rule is for those.
        let begun = |request: &&LoggedRequest| request.operation == Operation::BeginUpload && request.applied;
        let log = place.server.log();
        let untold = |request: &&LoggedRequest| {
            request.status.is_none() || request.fault == Some(Fault::Truncated.name())
        };
        let unknown = log.iter().filter(begun).filter(untold).count();
        assert_eq!(place.server.open_uploads().len(), unknown, "{name}");
    });
}

#[test]
fn faults_that_stay_are_told_by_name_by_each_command() {
    beside_each_other(&LASTING, |row, storage| {
        let place = place(storage, "2s");
        place.change(None);
        place.server.set_faults(Plan::of(Rule::always(row.0)));
        for command in ["create", "list", "restore"] {
            let call = match command {
                "restore" => place.restore("latest", &place.site.path("to")),
                _ => place.ctl([command]),
            };
            assert_told(&call.arg("--json").run(), command, *row);
        }
        place.server.clear_faults();
        assert_eq!(place.listed(), ["0001"]);
    });
}

/// The run is past its start, so what fails is a storage, in the middle.
#[test]
fn faults_that_come_in_the_middle_are_told_by_name() {
    beside_each_other(&LASTING, |row, storage| {
        let place = place(storage, "2s");
        let before = place.states();
        place.change(Some(3));
        place.server.set_faults(Plan::of(Rule::always(row.0).after(10)));
        assert_told(&place.ctl(["create", "--json", "--backup-id=0002"]).run(), "create", *row);
        let folder = place.site.path("to");
        place.server.set_faults(Plan::of(Rule::always(row.0).after(4)));
        let output = place.restore("0001", &folder).arg("--json").run();
        assert_ne!(output.code, 0, "{row:?}: {output:#?}");
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains(row.2) && said.contains(row.3), "{row:?}: {output:#?}");
        compare(&folder, &before);
        place.server.clear_faults();
        assert_eq!(place.listed(), ["0001"]);
        place.assert_restores("0001", &before);
    });
}
