//! Faults that only the agent meets, or only the coordinator, each a process of its own.
//!
//! Does not own: the table (`named`). The fault comes when the run is past its start: the agent writes, or the
//! coordinator is about to commit. Afterwards nothing has to be repaired, and no daemon has to be started again.

use packhorse_testkit::{Fault, Operation, Plan, Rule};

use super::{
    crew::Crew,
    named::{LASTING, PASSING, assert_told, beside_each_other},
};
use crate::system::site::{json, listed, text};

const SIDES: [&str; 2] = ["agent", "coordinator"];
/// Faults that stay, of those in the table.
const STAYING: [Fault; 6] = [
    Fault::InternalError,
    Fault::SlowDown,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::ExpiredToken,
    Fault::ClockSkew,
];

/// Every fault on each side.
fn on_each_side<T: Copy>(faults: &[T]) -> Vec<(T, &'static str)> {
    faults.iter().flat_map(|fault| SIDES.map(|side| (*fault, side))).collect()
}

/// Hits what a side asks for in the middle of a run.
fn in_the_middle(fault: Fault, side: &str) -> Plan {
    let rule = Rule::always(fault).of(side);
    Plan::of(match side {
        "agent" => rule.on(&[Operation::Create, Operation::BeginUpload, Operation::PutPart]),
        _ => rule.about("0002/report.json"),
    })
}

#[test]
fn faults_that_end_are_ridden_out_by_either_side() {
    beside_each_other(&on_each_side(&PASSING[..6]), |(fault, side), storage| {
        let crew = Crew::with_copy_of(storage, "retry_budget = '20s'\n");
        let server = &crew.place.server;
        for id in ["0001", "0002"] {
            server.set_faults(Plan::of(Rule::first(*fault, 1).of(side)));
            let summary = json(&crew.create(id).run().expect_success());
            assert_eq!(text(&summary["state"]), "complete", "{fault:?} {side}: {summary:#}");
            crew.place.change(Some(2));
        }
        server.set_faults(Plan::of(Rule::first(*fault, 1).of(side)));
        crew.ctl(["restore", "0001", "--force"]).run().expect_success();
        let met: Vec<_> = server.log().into_iter().filter(|request| request.fault.is_some()).collect();
        assert!(
            !met.is_empty() && met.iter().all(|request| request.who == *side),
            "{fault:?} {side}: {met:?}"
        );
        server.clear_faults();
        assert_eq!(listed(crew.ctl([])), ["0002", "0001"]);
        let restored = crew.place.states();
        crew.place.assert_restores("0001", &restored);
        crew.stop();
    });
}

#[test]
fn faults_that_stay_on_one_side_are_told_by_name() {
    let rows = LASTING.map(|row| STAYING.contains(&row.0).then_some(row));
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    assert_eq!(rows.len(), STAYING.len());
    beside_each_other(&on_each_side(&rows), |(row, side), storage| {
        let crew = Crew::with_copy_of(storage, "retry_budget = '2s'\n");
        let first = crew.place.states();
        crew.create("0001").run().expect_success();
        crew.place.change(Some(3));
        crew.place.server.set_faults(in_the_middle(row.0, side));
        let output = crew.create("0002").run();
        assert_told(&output, "create", *row);
        // What the other side asks for works: so it can be told at once that nothing was committed.
        assert_eq!(listed(crew.ctl([])), ["0001"], "{row:?} {side}");
        let status = json(&crew.ctl(["status", "--json"]).run().expect_success());
        let run = &status["unfinished"][0];
        assert_eq!((text(&run["backup_id"]), &run["here"]), ("0002".to_owned(), &false.into()), "{status:#}");
        let task = &status["tasks"][0];
        assert_eq!((text(&task["backup_id"]), text(&task["state"])), ("0002".into(), "failed".into()));
        assert!(text(&task["problem"]["answer"]).contains(row.2), "{row:?} {side}: {status:#}");

        crew.place.server.clear_faults();
        let last = crew.place.states();
        let summary = json(&crew.create("0003").run().expect_success());
        assert_eq!(text(&summary["state"]), "complete", "{row:?} {side}: {summary:#}");
        crew.place.assert_restores("0001", &first);
        crew.place.assert_restores("0003", &last);
        crew.stop();
    });
}
