//! Stores that fail while a run writes to them: killed, frozen, full, read-only.
//!
//! Does not own: stores that cannot be used from the start (`exit_codes`). Whatever happens, nothing is committed that
//! is not whole, earlier backups restore, and no upload is left open that could have been aborted.

pub mod disks;
mod gateways;
mod uploads;

use std::time::Duration;

use packhorse_testkit::{Backupctl, CephGateway, Daemon, GitRepo};

use super::{
    gate::Gate,
    site::{Site, assert_restored, noise},
};

/// Longest time that one run may take here.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of a pack that pass before it is held: one part is on its way by then, the rest is not.
const PASS: u64 = 9 << 20;

/// A site whose repository is too large for one part, on a gateway.
struct Large<'a> {
    site: Site,
    gate: Gate,
    gateway: &'a CephGateway,
    bucket: &'static str,
}

impl<'a> Large<'a> {
    /// Makes the site and its first backup, 0001, of a small repository; then the repository grows.
    fn new(gateway: &'a CephGateway, bucket: &'static str) -> Self {
        let site = Site::new();
        let gate = Gate::new(&site.path("gate"), PASS);
        gateway.create_bucket(bucket);
        site.repo("storage/a.git").fill("main", 5);
        for (file, budget) in [("patient.toml", "2m"), ("hasty.toml", "1s")] {
            let config = format!(
                "[vault]\nurl = 's3://{bucket}/v'\nretry_budget = '{budget}'\n[agent_service]\ngit = '{}'\n{}",
                gate.git().display(),
                site.storage_section("default", "storage")
            );
            site.write(file, &config);
        }
        let large = Self { site, gate, gateway, bucket };
        large.ctl("patient.toml", ["create", "--init", "--backup-id=0001"]).run().expect_success();
        large
    }

    fn ctl<const N: usize>(&self, config: &str, args: [&str; N]) -> Backupctl {
        self.site.ctl(config, args).envs(self.gateway.env())
    }

    fn repo(&self) -> GitRepo {
        GitRepo::open(self.site.path("storage/a.git"))
    }

    /// Commits a file that no compression makes smaller than three parts.
    fn grow(&self, seed: u64) {
        self.repo().commit("main", &[("large", noise(seed, 20 << 20))]);
    }

    /// Starts a run and holds it in the middle of its multipart upload.
    fn hold(&self, config: &str, id: &str) -> Daemon {
        self.gate.close();
        let run = self.ctl(config, ["create", "--backup-id", id]).spawn();
        self.gate.wait_until_reached();
        packhorse_testkit::wait_until("an open upload", LIMIT, || {
            let open = self.gateway.list_uploads(self.bucket);
            let ours = open.iter().any(|key| key.contains(&format!("/{id}/")));
            if ours { Ok(()) } else { Err(format!("{open:?}")) }
        });
        run
    }

    fn assert_listed(&self, expected: &[&str]) {
        assert_eq!(super::site::listed(self.ctl("patient.toml", [])), expected);
    }

    /// Restores a backup and compares.
    fn assert_restores(&self, id: &str, expected: &packhorse_testkit::RepoState) {
        let folder = self.site.folder(&format!("back-{id}"));
        let storage = format!("--storage=default={}", folder.display());
        self.ctl("patient.toml", ["restore", id, &storage]).run().expect_success();
        assert_restored(expected, folder.join("a.git"));
        std::fs::remove_dir_all(&folder).expect("remove what was restored");
    }
}
