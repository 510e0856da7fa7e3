//! A store that is away while an agent and a coordinator work: ridden out, or told, and then used by the next run.
//!
//! Does not own: `backupctl` for itself (`outages`). Times are scaled down, but for the outage of ten minutes with the
//! budget that is the default, which belongs to the long suite. Both daemons are hit at a request of their own.

use std::time::Duration;

use packhorse_testkit::{Daemon, Fault, LoggedRequest, Operation, Plan, Rule, When, wait_until};
use serde_json::Value;

use super::{
    crew::{Crew, SOON},
    outages::let_pass,
};
use crate::system::site::{json, listed, text};

/// Where each daemon is when the store goes away: what the agent made is durable, or is not.
const PLACES: [(&str, Operation, &str); 2] =
    [("agent", Operation::CompleteUpload, "large.git"), ("coordinator", Operation::Create, "report.json")];

/// Begins a run, and an outage at the request of this daemon that is named so.
fn run_into_outage(
    crew: &Crew,
    id: &str,
    (who, operation, about): (&'static str, Operation, &'static str),
) -> Daemon {
    let server = &crew.place.server;
    server.stop_at_where(1, When::Before, move |request: &LoggedRequest| {
        request.who == who && request.operation == operation && request.key.contains(about)
    });
    let run = crew.create(id).spawn();
    server.wait_until_held(SOON);
    server.begin_outage();
    server.release();
    run
}

/// What a call printed that ended so.
#[track_caller]
fn ended(run: &mut Daemon, limit: Duration, code: i32) -> Value {
    assert_eq!(run.wait(limit), code, "{:#?}\n{:#?}", run.stdout_lines(), run.lines());
    serde_json::from_str(&run.stdout_lines().join("\n")).expect("one object as JSON")
}

/// Each daemon meets an outage that ends within the budget: its run is complete.
fn assert_ridden_out(budget: &str, outage: Duration) {
    let crew = Crew::start(budget, "");
    crew.create("0001").run().expect_success();
    for ((number, place), id) in PLACES.into_iter().enumerate().zip(["0002", "0003"]) {
        crew.place.change(Some(number as u64 + 10));
        let states = crew.place.states();
        let mut run = run_into_outage(&crew, id, place);
        let_pass(outage);
        crew.place.server.end_outage();
        let summary = ended(&mut run, outage + 2 * SOON, 0);
        assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
        crew.place.assert_restores(id, &states);
    }
    assert_eq!(listed(crew.ctl([])), ["0003", "0002", "0001"]);
    crew.stop();
}

#[test]
fn an_outage_that_is_shorter_than_the_budget_only_takes_time() {
    assert_ridden_out("retry_budget = '40s'\n", Duration::from_secs(8));
}

#[test]
#[ignore = "takes twenty minutes; in make test-long"]
fn an_outage_of_ten_minutes_only_takes_time_with_the_default_budget() {
    assert_ridden_out("", Duration::from_secs(600));
}

/// While the store is away, and when it is back.
#[track_caller]
fn assert_told_while_away(crew: &Crew, id: &str) {
    let error = &json(&crew.ctl(["list", "--json"]).run().expect_code(13))["error"];
    assert!(text(&error["answer"]).contains(crew.place.server.endpoint().as_str()), "{error:#}");
    let status = json(&crew.ctl(["status", "--json"]).run().expect_code(13));
    let task = status["tasks"].as_array().expect("tasks").iter().find(|task| task["backup_id"] == *id);
    assert_eq!(text(&task.expect("the run")["state"]), "failed", "{status:#}");
    let problem = &status["problem"];
    assert!(text(&problem["answer"]).contains(crew.place.server.endpoint().as_str()), "{status:#}");
}

#[test]
fn an_outage_that_is_longer_than_the_budget_is_told_and_the_next_run_uses_what_was_stored() {
    let crew = Crew::start("retry_budget = '3s'\n", "");
    let first = crew.place.states();
    crew.create("0001").run().expect_success();
    for (place, [lost, next]) in PLACES.into_iter().zip([["0002", "0003"], ["0004", "0005"]]) {
        crew.place.change(Some(lost.parse().expect("a number")));
        let before = listed(crew.ctl([]));
        let mut run = run_into_outage(&crew, lost, place);
        let error = &ended(&mut run, 2 * SOON, 13)["error"];
        assert_eq!((text(&error["kind"]), text(&error["subject"])), ("unavailable".into(), "vault".into()));
        assert!(text(&error["answer"]).contains(crew.place.server.endpoint().as_str()), "{error:#}");
        assert!(text(&error["state"]).contains("nothing was committed"), "{error:#}");
        assert!(text(&error["next"]).contains("reachable"), "{error:#}");
        assert_told_while_away(&crew, lost);
        crew.place.server.end_outage();

        assert_eq!(listed(crew.ctl([])), before);
        let status = json(&crew.ctl(["status", "--json"]).run().expect_success());
        let run = &status["unfinished"][0];
        assert_eq!((text(&run["backup_id"]), &run["here"]), (lost.to_owned(), &false.into()), "{status:#}");
        crew.place.assert_restores("0001", &first);
        let states = crew.place.states();
        let summary = json(&crew.create(next).run().expect_success());
        assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
        let sent = summary["bytes_new"].as_u64().expect("a number");
        assert!(place.0 == "agent" || sent < 1 << 20, "what was durable is sent again: {summary:#}");
        crew.place.assert_restores(next, &states);
    }
    crew.stop();
}

#[test]
fn a_scheduled_run_has_the_whole_budget_from_its_start() {
    let crew = Crew::start("", "[[schedule]]\nname = 'often'\ncron = '* * * * * *'\n");
    crew.coordinator.wait_for_line("scheduled backup ended", SOON);
    let first_of_run = |rule: Rule| rule.about("backups/").on(&[Operation::List]);
    let plan = Plan::of(first_of_run(Rule::first(Fault::InternalError, 1)));
    crew.place.server.set_faults(plan.with(first_of_run(Rule::always(Fault::AccessDenied))));
    let line = crew.coordinator.wait_for_line("scheduled backup failed", SOON);
    assert!(line.contains("retry_timeout: 720s"), "{line}");
    crew.place.server.clear_faults();
    let before = listed(crew.ctl([])).len();
    wait_until("another backup", SOON, || match listed(crew.ctl([])).len() {
        now if now > before => Ok(()),
        now => Err(format!("{now} backups")),
    });
    crew.stop();
}

/// The client tells how long it would have tried.
#[track_caller]
fn assert_budget(error: &Value, budget: &str) {
    assert!(text(&error["error"]["answer"]).contains(&format!("retry_timeout: {budget}")), "{error:#}");
}

#[test]
fn the_default_budget_is_for_ten_minutes_in_a_run_and_for_one_at_its_start() {
    let crew = Crew::start("", "");
    crew.create("0001").run().expect_success();
    crew.place.change(None);
    // A try again is what makes the client tell its budget.
    let faults = |who| {
        // Twice: of what an agent asks for, the vault's marker, the coordinator's question comes first and counts.
        let plan = Plan::of(Rule::first(Fault::InternalError, 2).of(who));
        crew.place.server.set_faults(plan.with(Rule::always(Fault::AccessDenied).of(who)));
    };
    for who in ["coordinator", "agent"] {
        faults(who);
        assert_budget(&json(&crew.create("0002").run().expect_code(12)), "60s");
    }
    for args in [["list"].as_slice(), &["restore", "latest"], &["show", "latest"]] {
        faults("coordinator");
        assert_budget(&json(&crew.ctl(["--json"]).args(args).run().expect_code(12)), "60s");
    }
    for about in ["manifests/", "report.json"] {
        let hit = |rule: Rule| rule.about(about).on(&[Operation::Create]);
        let plan = Plan::of(hit(Rule::first(Fault::InternalError, 1)));
        crew.place.server.set_faults(plan.with(hit(Rule::always(Fault::AccessDenied))));
        assert_budget(&json(&crew.ctl(["create", "--json"]).run().expect_code(12)), "720s");
    }
    crew.stop();
}
