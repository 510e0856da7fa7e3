//! Databases and directories that fail beside repositories that do not: the run is committed, and 3.
//!
//! Does not own: what can fail in them (the coordinator's own tests).

use std::fs;

use packhorse_testkit::free_port;

use super::super::site::{Site, json, text};

/// A storage, two directories and what `more` adds.
fn site(more: &str) -> Site {
    let site = Site::new();
    let mut config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage"));
    for name in ["uploads", "lfs"] {
        let path = site.folder(name);
        fs::write(path.join("file"), name).expect("write file");
        config += &format!("[[directory]]\nname = '{name}'\npath = '{}'\n", path.display());
    }
    site.write("packhorse.toml", &(config + more));
    site.repo("storage/a.git").fill("main", 5);
    site
}

#[test]
fn three_when_a_database_and_a_directory_are_missing() {
    let more =
        format!("[[database]]\nname = 'main'\nurl = 'postgresql://x@127.0.0.1:{}/forge'\n", free_port());
    let site = site(&more);
    fs::remove_dir_all(site.path("lfs")).expect("remove a directory");
    let output = site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_code(3);
    for named in ["INCOMPLETE", "FAILED", "lfs", "main", "1 backed up"] {
        assert!(output.stdout.contains(named), "{named}: {output:#?}");
    }
    let summary = json(&site.ctl("packhorse.toml", ["create", "--json"]).run().expect_code(3));
    let report = fs::read(site.path("vault/backups/0001/report.json")).expect("read report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    for told in [&summary, &report] {
        let failures = told["failures"].as_array().expect("failures");
        let mut items: Vec<(String, String)> =
            failures.iter().map(|failure| (text(&failure["component"]), text(&failure["item"]))).collect();
        items.sort();
        assert_eq!(items, [("db".into(), "main".into()), ("lfs".into(), "lfs".into())], "{told:#}");
        assert_eq!((told["state"].as_str(), told["failures_total"].as_u64()), (Some("incomplete"), Some(2)));
        let directories = told["directories"].as_array().expect("directories");
        assert_eq!(directories.len(), 1, "{told:#}");
        assert_eq!(text(&directories[0]["name"]), "uploads");
    }
    // What is there can be had; what is not is named again.
    let place = format!("--storage=default={}", site.folder("back").display());
    site.ctl("packhorse.toml", ["restore", "0001", "--only=repositories", &place]).run().expect_success();
    assert!(site.path("back/a.git/HEAD").exists());
}

/// The components that a run has, from its JSON.
#[track_caller]
fn components(site: &Site, extra: &[&str]) -> Vec<String> {
    let summary = json(&site.ctl("packhorse.toml", ["create", "--json"]).args(extra).run().expect_success());
    let names = |key: &str| summary[key].as_array().cloned().unwrap_or_default();
    let directories = names("directories").into_iter().map(|directory| text(&directory["name"]));
    let repositories = names("storages").into_iter().map(|storage| text(&storage["storage"]));
    repositories.chain(directories).collect()
}

#[test]
fn components_are_chosen_and_left_out() {
    let site = site("");
    assert_eq!(components(&site, &[]), ["default", "uploads", "lfs"]);
    assert_eq!(components(&site, &["--skip=uploads"]), ["default", "lfs"]);
    assert_eq!(components(&site, &["--only=uploads"]), ["uploads"]);
    assert_eq!(components(&site, &["--only=repositories", "--only=lfs"]), ["default", "lfs"]);
    assert_eq!(components(&site, &["--skip=repositories", "--skip=lfs"]), ["uploads"]);
    // A named storage is all that is wanted, as in a restore, below.
    assert_eq!(components(&site, &["--storage=default"]), ["default"]);
    assert_eq!(
        components(&site, &["--storage=default", "--only=repositories", "--only=lfs"]),
        ["default", "lfs"]
    );
    site.ctl("packhorse.toml", ["create", "--backup-id=all"]).run().expect_success();

    let gone = |site: &Site| {
        for folder in ["storage", "uploads", "lfs"] {
            fs::remove_dir_all(site.path(folder)).expect("remove");
            site.folder(folder);
        }
    };
    let there =
        |site: &Site| ["storage/a.git/HEAD", "uploads/file", "lfs/file"].map(|path| site.path(path).exists());
    for (flag, expected) in [
        ("--only=uploads", [false, true, false]),
        ("--skip=uploads", [true, false, true]),
        ("--only=repositories", [true, false, false]),
        ("--skip=repositories", [false, true, true]),
        ("--storage=default", [true, false, false]),
    ] {
        gone(&site);
        site.ctl("packhorse.toml", ["restore", "all", flag]).run().expect_success();
        assert_eq!(there(&site), expected, "{flag}");
    }
}
