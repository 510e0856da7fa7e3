//! What an operator sees of an index that was made again, and what `--optimise` leaves in repositories.

use std::fs;

use super::{
    super::site::{Site, assert_restored, json, objects},
    REPOSITORIES, indices,
};

#[test]
fn what_was_made_good_is_told_and_optimised_repositories_have_bitmaps() {
    let site = Site::new();
    let storage = site.storage_section("default", "storage");
    site.write("packhorse.toml", &format!("[vault]\nurl = '{}'\n{storage}", site.vault_url()));
    let states = REPOSITORIES.map(|path| {
        let repo = site.repo(&format!("storage/{path}"));
        repo.fill("main", 5);
        repo.state()
    });
    site.ctl("packhorse.toml", ["create", "--backup-id", "0001"]).run().expect_success();
    let vault = site.path("vault");
    indices::add(&vault, "0001");
    let index = objects(&vault).into_keys().find(|key| key.ends_with(".idx")).expect("has an index");
    let restore = |folder: &str| {
        let place = format!("--storage=default={}", site.folder(folder).display());
        site.ctl("packhorse.toml", ["restore", "0001", &place])
    };
    let whole = restore("whole").run().expect_success();
    assert!(!whole.stdout.contains("made good"), "{whole:#?}");
    assert!(!site.path("whole/a.git/objects/pack/multi-pack-index").exists());

    fs::remove_file(vault.join(&index)).expect("remove the index");
    let told = restore("text").run().expect_success();
    assert!(told.stdout.contains("made good") && told.stdout.contains(&index), "{told:#?}");
    let told = json(&restore("json").args(["--json", "--optimise"]).run().expect_success());
    assert_eq!(told["state"], "complete");
    assert_eq!(told["remarks"].as_array().map(Vec::len), Some(1), "{told}");
    assert!(told["remarks"].to_string().contains(&index), "{told}");
    for (path, state) in REPOSITORIES.iter().zip(&states) {
        assert_restored(state, site.path("text").join(path));
        assert_restored(state, site.path("json").join(path));
        let packs = site.path("json").join(path).join("objects/pack");
        assert!(packs.join("multi-pack-index").exists(), "{}", packs.display());
    }
}
