//! An agent that lies about its results: what it names as its catalogue becomes part of no report unless it is its own.
//!
//! Does not own: catalogues that are damaged (`damage`). The work itself is done by a real agent, so all that is wrong is
//! the name; the other agent's storage is in the backup as ever.

use packhorse_proto::v1::BackupStorageFinished;
use serde_json::Value;

use super::{
    super::site::{json, text},
    Post,
    disguise::Lies,
    odd::disguised,
};

/// Changes the path of the catalogue.
fn rename(finished: &mut BackupStorageFinished, rename: impl FnOnce(&str) -> String) {
    let catalogue = finished.catalogue.as_mut().expect("a backup has a catalogue");
    let renamed = rename(&catalogue.path);
    assert_ne!(renamed, catalogue.path, "no lie");
    catalogue.path = renamed;
}

/// Lies about the path, each with what it is said to be.
const PATHS: [fn(&mut BackupStorageFinished); 6] = [
    // Of the other storage, of another run, and of no run.
    |finished| rename(finished, |path| path.replace("odd", "plain")),
    |finished| rename(finished, |path| path.replace("0001", "0000")),
    |finished| rename(finished, |_| "odd/00.git/0001/001.bundle".into()),
    // Out of the vault.
    |finished| rename(finished, |path| format!("../{path}")),
    |finished| rename(finished, |path| format!("{path}/../../../../etc/passwd")),
    |finished| rename(finished, |_| "/etc/passwd".into()),
];

/// The storages that the report of the backup names, whatever else it says of them.
fn storages_in_report(post: &Post) -> Vec<String> {
    let objects = post.store.objects();
    let (_, report) = objects.iter().find(|(key, _)| key.ends_with("0001/report.json")).expect("a report");
    let report: Value = serde_json::from_slice(report).expect("a report as JSON");
    report["storages"].as_array().expect("storages").iter().map(|storage| text(&storage["storage"])).collect()
}

#[test]
fn a_catalogue_that_is_not_the_agents_own_is_a_named_failure_and_in_no_report() {
    for (number, of_backups) in PATHS.into_iter().enumerate() {
        let (post, _disguise) = disguised(Lies { of_itself: |_| {}, of_backups, plans_nothing: false });
        let summary = json(&post.ctl(["create", "--json", "--backup-id", "0001"]).run().expect_code(3));
        let failures = summary["failures"].as_array().expect("failures");
        assert_eq!(failures.len(), 1, "{number}: {summary:#}");
        assert_eq!(text(&failures[0]["storage"]), "odd", "{number}: {summary:#}");
        assert_eq!(text(&failures[0]["problem"]["subject"]), "agent", "{number}: {summary:#}");
        assert_eq!(storages_in_report(&post), ["plain"], "{number}");
        assert_eq!(post.paths("0001", "plain"), ["00.git"], "{number}");
        let refused = post.ctl(["restore", "0001", "--storage=odd", "--force"]).run();
        assert_ne!(refused.code, 0, "{number}: {refused:?}");
    }
}

#[test]
fn a_backup_without_a_catalogue_is_a_named_failure() {
    let (post, _disguise) = disguised(Lies {
        of_itself: |_| {},
        of_backups: |finished| finished.catalogue = None,
        plans_nothing: false,
    });
    let summary = json(&post.ctl(["create", "--json", "--backup-id", "0001"]).run().expect_code(3));
    assert_eq!(text(&summary["failures"][0]["storage"]), "odd", "{summary:#}");
    assert_eq!(storages_in_report(&post), ["plain"]);
}
