//! Commit records, which no digest proves: what they say must agree with the report that they name.
//!
//! Does not own: records that do not parse (`matrix`). Times matter most, because they say which backup is the latest.

use packhorse_testkit::CliOutput;

use super::super::site::{Site, objects};

/// A site with backups 0001 and 0002 whose first record has a text replaced.
fn with_record(old: &str, new: &str) -> Site {
    let site = Site::new();
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage"));
    site.write("packhorse.toml", &config);
    for id in ["0001", "0002"] {
        site.repo("storage/a.git").fill("main", 2);
        site.ctl("packhorse.toml", ["create", "--backup-id", id]).run().expect_success();
    }
    let record = "backups/0001/backup_information.json";
    let bytes = objects(&site.path("vault")).remove(record).expect("there is a record");
    let original = String::from_utf8(bytes).expect("a record is text");
    let replaced = original.replace(old, new);
    assert_ne!(original, replaced, "{old} is not in the record");
    site.write(&format!("vault/{record}"), &replaced);
    site
}

fn restore(site: &Site, selector: &str) -> CliOutput {
    let place = format!("--storage=default={}", site.folder("back").display());
    let output = site.ctl("packhorse.toml", ["restore", selector, &place]).run();
    assert!(
        output.code == 0 || !site.path("back/a.git").exists(),
        "restored from a false record: {output:#?}"
    );
    output
}

#[test]
fn an_old_backup_that_claims_to_be_the_latest_is_not_restored() {
    let site = with_record("_at\": \"2", "_at\": \"3");
    let output = restore(&site, "latest").expect_code(4);
    assert!(output.stderr.contains("backups/0001/backup_information.json"), "{output:#?}");
    restore(&site, "0001").expect_code(4);
    restore(&site, "0002").expect_success();
}

#[test]
fn a_backup_that_hides_that_it_is_incomplete_is_not_restored() {
    let site = with_record("\"state\": \"complete\"", "\"state\": \"incomplete\"");
    restore(&site, "0001").expect_code(4);
    restore(&site, "latest").expect_success();
}
