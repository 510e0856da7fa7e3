//! restic, and rustic, which has nearly the same command line.

use std::path::{Path, PathBuf};

use anyhow::Result;
use packhorse_testkit::CephGateway;

use crate::{
    bench::Bench,
    meter::{self, Call, Script},
};

/// A repository of restic's, with its caches.
pub struct Restic<'a> {
    program: &'a Path,
    address: String,
    env: Vec<(String, String)>,
    /// Where everything of it lies that is on this disk.
    home: PathBuf,
}

impl<'a> Restic<'a> {
    /// Makes an empty one on this disk.
    pub fn create(bench: &Bench, program: &'a Path) -> Result<Self> {
        let home = bench.fresh("restic")?;
        let address = home.join("repository").display().to_string();
        Self { program, address, env: Vec::new(), home }.init(bench)
    }

    /// Makes an empty one in a bucket.
    pub fn create_in(bench: &Bench, program: &'a Path, gateway: &CephGateway, bucket: &str) -> Result<Self> {
        let address = format!("s3:{}/{bucket}", gateway.endpoint());
        Self { program, address, env: gateway.env(), home: bench.fresh("restic")? }.init(bench)
    }

    /// Where its packs lie, unless they are in a bucket.
    pub fn repository(&self) -> PathBuf {
        self.home.join("repository")
    }

    fn init(self, bench: &Bench) -> Result<Self> {
        meter::run(&Script::one(self.call().arg("init")), &bench.work)?;
        Ok(self)
    }

    /// Stores a folder.
    pub fn backup(&self, folder: &Path) -> Script {
        Script::one(self.call().args(["backup", "."]).dir(folder))
    }

    /// Restores the newest into a folder.
    pub fn restore(&self, target: &Path) -> Script {
        Script::one(self.call().args(["restore", "latest", "--target"]).path(target))
    }

    fn call(&self) -> Call {
        let cache = self.home.join("cache").display().to_string();
        let mut call = Call::new(self.program);
        for prefix in ["RESTIC", "RUSTIC"] {
            call = call
                .env(&format!("{prefix}_REPOSITORY"), &self.address)
                .env(&format!("{prefix}_PASSWORD"), "x")
                .env(&format!("{prefix}_CACHE_DIR"), &cache);
        }
        call.env.extend(self.env.iter().cloned());
        call
    }
}
