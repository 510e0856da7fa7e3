//! Restores that somebody stops: by `cancel`, or by a signal to the call that waits.
//!
//! Does not own: how a restore is held (`restores`). The store does not answer the request that is held, which must not
//! keep the stop up.

use std::collections::BTreeSet;

use packhorse_testkit::Signal;

use super::{
    super::{
        crew::{Crew, SOON},
        place::States,
    },
    again_with_force, assert_made_exact, compare_storage, error_of, held, names,
};
use crate::system::site::{json, text};

#[test]
fn a_cancelled_restore_leaves_nothing_in_half_and_is_done_by_the_next() {
    let (crew, states, mut restore) = held();
    let cancelled = json(&crew.ctl(["cancel", "--json"]).run().expect_success());
    assert_eq!(cancelled["cancelled"], true, "{cancelled:#}");
    assert!(text(&cancelled["end"]["state"]).contains("what was already in place stays"), "{cancelled:#}");
    let error = error_of(&mut restore, 130);
    assert_eq!(text(&error["kind"]), "cancelled", "{error:#}");
    // The next step goes on with it, also later; and that it was stopped is no failure of a storage.
    assert_eq!(text(&error["next"]), "restore again with --skip-existing");
    assert!(!restore.lines().join("\n").contains("(whole storage)"), "{:#?}", restore.lines());
    let status = crew.ctl(["status"]).run().expect_success().stdout;
    let id = status.split_whitespace().find(|word| word.starts_with("restore-")).expect("its ID").to_owned();
    let shown = crew.ctl(["show", &id]).run().expect_success().stdout;
    assert!(shown.contains("restore again with --skip-existing"), "{shown}");
    assert_left_whole(&crew, &states);
    crew.place.server.release();
    assert_made_exact(&crew, &states, crew.ctl(["restore", "0001", "--repository=large.git", "--json"]));
    crew.stop();
}

#[test]
fn a_restore_is_cancelled_by_a_signal_to_its_caller() {
    let (crew, states, mut restore) = held();
    restore.signal(Signal::INT);
    let error = error_of(&mut restore, 130);
    assert!(text(&error["state"]).contains("nothing half-restored is left"), "{error:#}");
    assert_left_whole(&crew, &states);
    crew.place.server.release();
    assert_made_exact(&crew, &states, again_with_force(&crew));
    crew.stop();
}

/// Nothing but the two repositories, as soon as the agent's job has ended, which the held request does not keep up.
#[track_caller]
fn assert_left_whole(crew: &Crew, states: &States) {
    crew.agent.wait_for_line("job ended without success", SOON);
    assert_eq!(names(crew), BTreeSet::from(["team".to_owned()]));
    assert_eq!(compare_storage(crew, states), 2);
}
