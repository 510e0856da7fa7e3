//! Golden archives: vaults that earlier versions wrote, which every later version must restore exactly.
//!
//! Does not own: writing them (`examples/make_golden.rs`). An archive is never edited; a change of the format adds one
//! beside it.

mod expected;

use std::{fs, path::PathBuf};

use packhorse_testkit::{GitRepo, PostgresServer};
use serde_json::Value;

use super::site::{Site, copy, listed};
use crate::world::World;

fn golden(format: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format)
}

/// An archive of format 1 with what was added to it up to the end of 2026: what is gone and damaged, what a database is
/// like, real times.
const LATER: &str = "format-1-later";

#[test]
fn format_1_restores_exactly_with_its_database() {
    restores_exactly("format-1", 0);
}

#[test]
fn format_1_with_later_keys_restores_exactly_with_its_database() {
    // The second backup has a damaged repository, which is named.
    restores_exactly(LATER, 3);
}

fn restores_exactly(format: &str, code_of_second: i32) {
    let (site, server) = (Site::new(), PostgresServer::start());
    copy(&golden(format).join("vault"), &site.path("vault"));
    let text = fs::read_to_string(golden(format).join("expected.json")).expect("the golden archive is there");
    let all: Value = serde_json::from_str(&text).expect("expected.json is JSON");
    let ids: Vec<&String> = all.as_object().expect("one entry for each backup").keys().collect();
    assert_eq!(ids, ["0001", "0002"]);
    for id in ids {
        let (storage, uploads) = (format!("{id}/storage"), site.path(&format!("{id}/uploads")));
        server.create_database(&format!("main_{id}"));
        let config = format!(
            "[vault]\nurl = '{}'\n{}[[directory]]\nname = 'uploads'\npath = '{}'\n\
             [[database]]\nname = 'main'\nurl = '{}'\n",
            site.vault_url(),
            site.storage_section("default", &storage),
            uploads.display(),
            server.url(&format!("main_{id}"))
        );
        let file = format!("{id}.toml");
        site.write(&file, &config);
        let code = if id == "0002" { code_of_second } else { 0 };
        site.ctl(&file, ["restore", id]).run().expect_code(code);
        let tables = server.table_checksums(&format!("main_{id}"));
        let found = expected::describe(&site.path(&storage), &uploads, &tables);
        let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON can be written");
        assert_eq!(pretty(&all[id]), pretty(&found), "backup {id}");
    }
    let mut newest_first = listed(site.ctl("0001.toml", []));
    newest_first.reverse();
    assert_eq!(newest_first, ["0001", "0002"]);
}

#[test]
fn format_1_replays_with_git_alone() {
    replays_with_git_alone("format-1", 0);
    replays_with_git_alone(LATER, 3);
}

fn replays_with_git_alone(format: &str, code_of_second: i32) {
    let world = World::new();
    fs::remove_dir_all(world.vault()).expect("make room for another vault");
    copy(&golden(format).join("vault"), &world.vault());
    for (id, code) in [("0001", 0), ("0002", code_of_second)] {
        let (restored, _) = world.restore_with(id, &[], code);
        for path in expected::REPOSITORIES {
            world.replay(id, path, &GitRepo::open(restored.join(path)).state());
        }
    }
}
