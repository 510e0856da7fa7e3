//! The tests, each with the sample of its points that is played outside of the long suite.
//!
//! Does not own: which points are played instead (`matrix`). `PACKHORSE_CRASH=full:agent:17:before:next` plays a single
//! one, which is what a point that fails is printed as. The sample names requests by what they are for, so that it stays
//! the same when there are more of them.

use super::{
    matrix::suite,
    point::{Phase, Scene, Victim},
};

#[test]
fn an_agent_dies_in_a_full_run() {
    let sample = [
        "1:before:restart",
        "bundle-2:after:next",
        "part-1:after:restart",
        "complete-1:after:next",
        "manifest-3:after:restart",
        "manifest-6:after:moved",
        "latest-2:before:next",
        "catalogue-1:after:restart",
    ];
    suite(Scene::Plain, Phase::Full, Victim::Agent, &sample);
}

#[test]
fn a_coordinator_dies_in_a_full_run() {
    let sample = [
        "1:before:restart",
        "format-1:after:next",
        "claim-1:before:restart",
        "claim-1:after:restart",
        "archive-1:after:restart",
        "directory-1:after:next",
        "report-1:before:restart",
        "record-1:after:restart",
    ];
    suite(Scene::Plain, Phase::Full, Victim::Coordinator, &sample);
}

#[test]
fn an_agent_dies_in_an_increment() {
    let sample = [
        "3:before:next",
        "begin-1:after:restart",
        "complete-1:before:moved",
        "hooks-1:after:next",
        "manifest-2:before:restart",
        "manifest-4:after:next",
        "catalogue-2:before:restart",
    ];
    suite(Scene::Plain, Phase::Increment, Victim::Agent, &sample);
}

#[test]
fn a_coordinator_dies_in_an_increment() {
    let sample = [
        "claim-1:after:next",
        "archive-1:before:restart",
        "report-1:after:restart",
        "marker-1:before:next",
        "record-1:before:restart",
        "record-1:before:moved",
        "record-1:after:next",
    ];
    suite(Scene::Plain, Phase::Increment, Victim::Coordinator, &sample);
}

#[test]
fn a_backupctl_for_itself_dies_in_a_full_run() {
    suite(Scene::Plain, Phase::Full, Victim::Embedded, &["manifest-3:after:next", "report-1:after:moved"]);
}

#[test]
fn a_backupctl_for_itself_dies_in_an_increment() {
    suite(
        Scene::Plain,
        Phase::Increment,
        Victim::Embedded,
        &["complete-1:after:moved", "record-1:before:next"],
    );
}

/// The snapshots of all databases belong together: either all dumps of a life are taken, or all are made again.
#[test]
fn a_coordinator_dies_beside_a_postgres_database_in_a_full_run() {
    let sample = [
        "dump-1:before:restart",
        "dump-1:after:restart",
        "databases-1:before:next",
        "databases-1:after:restart",
        "complete-1:before:restart",
        "complete-1:after:next",
        "directory-1:before:restart",
        "directory-1:after:restart",
    ];
    suite(Scene::Database, Phase::Full, Victim::Coordinator, &sample);
}

#[test]
fn a_coordinator_dies_beside_a_postgres_database_in_an_increment() {
    let sample = [
        "dump-1:before:moved",
        "dump-1:after:next",
        "databases-1:before:restart",
        "databases-1:after:moved",
        "part-1:after:restart",
        "complete-1:after:restart",
        "directory-1:before:moved",
        "directory-1:after:next",
    ];
    suite(Scene::Database, Phase::Increment, Victim::Coordinator, &sample);
}
