//! Limits on bandwidth.
//!
//! Does not own: how limits are shared out (`coordinator::run::shares`), or other limits (`fan_out`). Nothing here asserts how long something may take
//! at most; a limit only shows in how long it takes at least.

use std::{fs, time::Instant};

use super::site::{Site, json, noise};

/// A site with a repository of about this many bytes that do not compress.
fn site(bytes: usize, agent: &str, coordinator: &str) -> Site {
    let site = Site::new();
    site.repo("storage/a.git").commit("main", &[("noise", noise(7, bytes))]);
    let config = format!(
        "[vault]\nurl = '{}'\n[agent_service]\n{agent}\n[coordinator]\n{coordinator}\n{}",
        site.vault_url(),
        site.storage_section("default", "storage"),
    );
    site.write("packhorse.toml", &config);
    site
}

#[test]
fn bandwidth_is_kept_by_agent_storage_and_coordinator() {
    let storage_limit = |site: &Site| {
        let file = site.path("packhorse.toml");
        let config = fs::read_to_string(&file).expect("configuration");
        fs::write(&file, format!("{config}bandwidth = '500 kB'\n")).expect("limit the storage");
    };
    for (agent, coordinator, storage) in
        [("bandwidth = '500 kB'", "", false), ("", "bandwidth = '500 kB'", false), ("", "", true)]
    {
        let site = site(1_000_000, agent, coordinator);
        if storage {
            storage_limit(&site);
        }
        let begun = Instant::now();
        let summary = json(&site.ctl("packhorse.toml", ["create", "--json"]).run().expect_success());
        let bytes = summary["bytes_new"].as_u64().expect("a number");
        assert!(bytes > 1_000_000, "{summary:#}");
        // The first upload is not held back; the manifest and the catalogue are after it.
        assert!(begun.elapsed().as_secs_f64() > 1.5, "{agent}{coordinator}{storage}: {:?}", begun.elapsed());
    }
}
