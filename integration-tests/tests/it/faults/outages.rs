//! Stores that are away for a while, and one that does not do what it is asked.
//!
//! Does not own: single requests that fail (`named`).

use std::time::{Duration, Instant};

use packhorse_testkit::{Fault, FaultyS3, Operation, Plan, Rule, When, wait_until};

use super::place::Place;
use crate::system::site::json;

const LIMIT: Duration = Duration::from_secs(60);

/// Waits in the test while the store is away.
pub fn let_pass(time: Duration) {
    let end = Instant::now() + time;
    wait_until("the outage to last", time * 2, || {
        if Instant::now() >= end { Ok(()) } else { Err("not yet".to_owned()) }
    });
}

fn outage_after(server: &FaultyS3, requests: u64) {
    server.stop_at(requests, When::Before);
    server.wait_until_held(LIMIT);
    server.begin_outage();
    server.release();
}

#[test]
fn an_outage_is_survived_when_it_is_shorter_than_the_budget_and_named_when_it_is_longer() {
    let place = Place::new("30s");
    let first = place.states();
    let mut run = place.create("0001").spawn();
    outage_after(&place.server, 8);
    let_pass(Duration::from_secs(8));
    place.server.end_outage();
    assert_eq!(run.wait(LIMIT * 2), 0, "{:#?}", run.lines());
    place.assert_restores("0001", &first);

    place.configure("3s");
    place.change(Some(7));
    let mut run = place.ctl(["create", "--json", "--backup-id=0002"]).spawn();
    outage_after(&place.server, 10);
    assert_eq!(run.wait(LIMIT * 2), 13, "{:#?}", run.lines());
    let said = run.lines().join("\n");
    for named in [place.server.endpoint().as_str(), "nothing was committed", "next"] {
        assert!(said.contains(named), "{named}: {said}");
    }
    place.server.end_outage();
    assert_eq!(place.listed(), ["0001"]);
    place.assert_restores("0001", &first);
    let last = place.states();
    place.create("0003").run().expect_success();
    place.assert_restores("0003", &last);
}

/// The commit record is stored, but neither that nor what lies there can be learned.
#[test]
fn a_commit_that_nobody_can_confirm_is_called_unknown() {
    let place = Place::new("2s");
    let states = place.states();
    for (rule, listed, said) in [
        (Rule::always(Fault::ResetAfter), true, "whether the backup was committed is not known"),
        (Rule::always(Fault::AccessDenied).on(&[Operation::Create]), false, "nothing was committed"),
    ] {
        let id = if listed { "0001" } else { "0002" };
        let record = format!("{id}/backup_information.json");
        place.server.set_faults(Plan::of(rule.about(&record)));
        let output = place.create(id).run();
        assert_eq!(output.code, if listed { 13 } else { 12 }, "{output:#?}");
        assert!(output.stderr.contains(said) && output.stderr.contains("commit backup"), "{output:#?}");
        place.server.clear_faults();
        assert_eq!(place.listed(), ["0001"]);
        place.assert_restores("0001", &states);
    }
}

#[test]
fn a_store_that_ignores_if_none_match_is_found_out_at_first_use() {
    let place = Place::new("5s");
    place.server.set_faults(Plan::new(0).ignoring_if_none_match());
    // What only looks does not mind.
    place.ctl(["create", "--dry-run"]).run().expect_success();
    place.ctl(["list"]).run().expect_success();
    let marker = vec!["v/packhorse/format.json".to_owned()];
    assert_eq!(place.server.keys().into_iter().collect::<Vec<_>>(), marker);

    let output = place.ctl(["create", "--json"]).run().expect_code(13);
    let error = &json(&output)["error"];
    assert_eq!((&error["kind"], &error["subject"]), (&"unavailable".into(), &"vault".into()), "{error:#}");
    for named in ["open vault", "the store ignored `If-None-Match: *`", "nothing was written over", "honours"]
    {
        assert!(output.stderr.contains(named) && error.to_string().contains(named), "{named}: {output:#?}");
    }
    assert_eq!(place.server.keys().into_iter().collect::<Vec<_>>(), marker, "nothing was written");

    place.server.clear_faults();
    place.create("0001").run().expect_success();
    place.server.set_faults(Plan::new(0).ignoring_if_none_match());
    place.create("0002").run().expect_code(13);
    place.assert_restores("0001", &place.states());
}
