//! Restores that are cut short: the agent or the coordinator is killed in the middle, or somebody cancels (`cancelled`).
//!
//! Does not own: backups that are cut short (`system::daemons`). A restore is held at the bundle of one repository when the
//! two others are in place. Whoever waits for it is told, nothing is there in half, and another restore makes it exact.

mod cancelled;

use std::{collections::BTreeSet, fs};

use packhorse_testkit::{
    Backupctl, Daemon, Fault, LoggedRequest, Operation, Plan, Rule, Signal, When, wait_until,
};
use serde_json::Value;

use super::{
    crew::{Crew, SOON},
    place::{Place, States, compare},
};
use crate::system::{
    json::assert_documented,
    site::{json, text},
};

/// Lets the agent begin to read the large repository's bundle, and no more.
fn hold(crew: &Crew) {
    crew.place.server.stop_at_where(1, When::Before, |request: &LoggedRequest| {
        request.who == "agent"
            && request.operation == Operation::Get
            && request.key.contains("large.git")
            && request.key.contains(".bundle")
    });
}

/// A backup of which everything was lost, and its restore, which is held when the two small repositories are in place.
fn held() -> (Crew, States, Daemon) {
    held_by(Crew::start("", ""))
}

fn held_by(crew: Crew) -> (Crew, States, Daemon) {
    let states = crew.place.states();
    crew.create("0001").run().expect_success();
    let storage = crew.place.site.path("storage");
    fs::remove_dir_all(&storage).expect("lose the storage");
    fs::create_dir(&storage).expect("make it again");
    hold(&crew);
    let restore = crew.ctl(["restore", "0001", "--json"]).spawn();
    crew.place.server.wait_until_held(SOON);
    wait_until("two repositories in place", SOON, || match compare_storage(&crew, &states) {
        2 => Ok(()),
        number => Err(format!("{number} are there")),
    });
    (crew, states, restore)
}

/// Compares what is in the storage, and says how many repositories that are.
fn compare_storage(crew: &Crew, states: &States) -> usize {
    compare(&crew.place.site.path("storage"), states)
}

/// What the caller of a restore is told, who is left with nothing to wait for.
#[track_caller]
fn error_of(restore: &mut Daemon, code: i32) -> Value {
    assert_eq!(restore.wait(SOON), code, "{:#?}\n{:#?}", restore.stdout_lines(), restore.lines());
    let told: Value = serde_json::from_str(&restore.stdout_lines().join("\n")).expect("one object as JSON");
    told["error"].clone()
}

/// The names in the storage, with those of our own folder in it.
fn names(crew: &Crew) -> BTreeSet<String> {
    let storage = crew.place.site.path("storage");
    let folders = ["", "+packhorse/"].map(|below| (below, fs::read_dir(storage.join(below))));
    let entries = folders.into_iter().filter_map(|(below, entries)| Some((below, entries.ok()?)));
    let names = entries.flat_map(|(below, entries)| {
        entries.map(move |entry| format!("{below}{}", entry.expect("readable").file_name().to_string_lossy()))
    });
    names.filter(|name| name != "+packhorse").collect()
}

/// Asks for the rest, which makes all of it exact and leaves no temporary folder.
#[track_caller]
fn assert_made_exact(crew: &Crew, states: &States, call: Backupctl) {
    let summary = json(&call.run().expect_success());
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    assert_eq!(compare_storage(crew, states), states.len());
    assert_eq!(names(crew), BTreeSet::from(["large.git", "team"].map(str::to_owned)));
    let status = json(&crew.ctl(["status", "--json"]).run().expect_success());
    assert!(status["tasks"].as_array().expect("tasks").iter().all(|task| task["state"] != "running"));
}

fn again_with_force(crew: &Crew) -> Backupctl {
    crew.ctl(["restore", "0001", "--force", "--json"])
}

#[test]
fn a_large_bundle_is_fetched_by_ranges_and_each_that_breaks_off_is_asked_for_again() {
    let crew = Crew::start("", "");
    crew.place.change(Some(3));
    let states = crew.place.states();
    crew.create("0001").run().expect_success();
    let storage = crew.place.site.path("storage");
    fs::remove_dir_all(&storage).expect("lose the storage");
    fs::create_dir(&storage).expect("make it again");
    let large = |rule: Rule| rule.on(&[Operation::Get]).about("large.git");
    let requests = || {
        let log = crew.place.server.log();
        let of_bundle = |request: &&LoggedRequest| {
            request.operation == Operation::Get
                && request.key.contains("large.git")
                && request.key.ends_with(".bundle")
        };
        log.iter().filter(of_bundle).count()
    };
    let before = requests();
    crew.place.server.set_faults(Plan::of(large(Rule::first(Fault::Truncated, 2))));
    crew.ctl(["restore", "0001", "--json"]).run().expect_success();
    assert_eq!(compare_storage(&crew, &states), states.len());
    // 18 MiB are three ranges of 8 MiB, and two answers broke off in the middle.
    assert_eq!(requests() - before, 5);
    crew.stop();
}

#[test]
fn a_restore_whose_agent_is_killed_names_the_storage_and_is_not_begun_again() {
    let (mut crew, states, mut restore) = held();
    crew.kill_agent();
    crew.place.server.release();
    let error = error_of(&mut restore, 1);
    assert!(text(&error["answer"]).contains("the agent was restarted"), "{error:#}");
    assert_eq!(text(&error["object"]), "default", "{error:#}");
    assert!(text(&error["state"]).contains("what was in place stays"), "{error:#}");
    assert!(text(&error["next"]).contains("--skip-existing"), "{error:#}");
    assert_eq!(compare_storage(&crew, &states), 2, "it was begun again");
    let refused = json(&crew.ctl(["restore", "0001", "--json"]).run().expect_code(3));
    assert_eq!(refused["failures_total"], 2, "what is in place is not replaced unasked: {refused:#}");
    assert_eq!(compare_storage(&crew, &states), 3);
    assert_made_exact(&crew, &states, again_with_force(&crew));
    crew.stop();
}

#[test]
fn a_restore_whose_agent_stays_away_names_the_storage_and_what_became_of_it() {
    let crew = Crew::start("", "");
    let config = fs::read_to_string(crew.place.site.path("coordinator.toml")).expect("configuration");
    let config = config.replace("grace = '1s'", "grace = '1s'\nagent_patience = '1s'");
    crew.place.site.write("coordinator.toml", &config);
    crew.coordinator.signal(Signal::HUP);
    crew.coordinator.wait_for_line("configuration reloaded", SOON);
    let (mut crew, states, mut restore) = held_by(crew);
    crew.agent.kill();
    let error = error_of(&mut restore, 14);
    assert!(text(&error["answer"]).contains("the agent was lost"), "{error:#}");
    assert!(text(&error["state"]).contains("what was in place stays"), "{error:#}");
    assert!(text(&error["next"]).contains("--skip-existing"), "{error:#}");
    crew.place.server.release();
    crew.start_agent();
    assert_eq!(compare_storage(&crew, &states), 2);
    assert_made_exact(&crew, &states, again_with_force(&crew));
    crew.stop();
}

/// The ID of the only restore that has begun.
fn begun(place: &Place) -> String {
    let keys = place.server.keys();
    let mut begun =
        keys.iter().filter_map(|key| key.strip_prefix("v/packhorse/restores/")?.strip_suffix(".began"));
    let id = begun.next().expect("a restore has begun").to_owned();
    assert_eq!(begun.next(), None);
    id
}

/// Both commands that know restores tell what became of one, and neither sends the operator to the other.
#[track_caller]
fn assert_told_dead(ctl: impl Fn(&[&str]) -> Backupctl, id: &str, why: &str) {
    for command in ["show", "status"] {
        let told = ctl(&[command, id]).run().expect_success().stdout;
        assert!(told.contains(id) && told.contains("of 0001"), "{command}: {told}");
    }
    let shown = ctl(&["show", id, "--json"]).run().expect_success();
    assert_documented("show of a restore that has no end", std::slice::from_ref(&shown));
    let shown = json(&shown);
    assert!(text(&shown["restore"]["reason"]).contains(why), "{shown:#}");
    assert!(text(&shown["restore"]["reason"]).contains("--skip-existing"), "{shown:#}");
    assert_eq!(shown["restore"]["under_way"], false, "{shown:#}");
    let status = json(&ctl(&["status", id, "--json"]).run().expect_success());
    let run = &status["unfinished"][0];
    assert_eq!((text(&run["restore"]), text(&run["fate"])), (id.to_owned(), "dead".to_owned()), "{status:#}");
    // What is not known is said to be not known, in each.
    for command in ["show", "status"] {
        let output = ctl(&[command, "restore-1-00000000"]).run().expect_code(10);
        assert!(!output.stderr.contains("backupctl status"), "{output:#?}");
    }
}

#[test]
fn a_restore_that_dies_with_its_backupctl_is_told_as_dead_and_one_that_ends_is_not() {
    let place = Place::new("5s");
    place.create("0001").run().expect_success();
    let folder = place.site.folder("back");
    place.server.stop_at_where(1, When::Before, |request: &LoggedRequest| {
        request.operation == Operation::Get && request.key.contains(".bundle")
    });
    let mut restore = place.restore("0001", &folder).spawn();
    place.server.wait_until_held(SOON);
    let id = begun(&place);
    let shown = place.ctl(["show", &id]).run().expect_success().stdout;
    assert!(shown.contains("under way in process"), "{shown}");
    restore.kill();
    place.server.release();
    assert_told_dead(|args| place.ctl([]).args(args), &id, "is gone");
    // One that came to its end is told by it, and is not unfinished.
    place.restore("0001", &folder).arg("--force").run().expect_success();
    let status = json(&place.ctl(["status", "--json"]).run().expect_success());
    assert_eq!(status["unfinished"].as_array().map(Vec::len), Some(1), "{status:#}");
}

#[test]
fn a_restore_whose_coordinator_is_killed_is_told_lost_and_gives_way_to_the_next() {
    let (mut crew, states, mut restore) = held();
    crew.kill_coordinator();
    let error = error_of(&mut restore, 14);
    assert!(text(&error["answer"]).contains("knows of no such run"), "{error:#}");
    assert_eq!(text(&error["subject"]), "coordinator", "{error:#}");
    assert_eq!(compare_storage(&crew, &states), 2, "the agent is still held");
    let id = begun(&crew.place);
    assert_told_dead(|args| crew.ctl([]).args(args), &id, "its coordinator has started again without it");
    let mut next = again_with_force(&crew).spawn();
    // The held request is not answered: only when the job that nobody follows gives way is the storage free.
    wait_until("another restore at the agent", SOON, || {
        let lines = crew.agent.lines();
        let begun = lines.iter().filter(|line| line.contains("restore starts")).count();
        if begun == 2 { Ok(()) } else { Err(lines.join("\n")) }
    });
    crew.place.server.release();
    assert_eq!(next.wait(SOON), 0, "{:#?}", next.lines());
    assert_made_exact(&crew, &states, again_with_force(&crew));
    crew.stop();
}
