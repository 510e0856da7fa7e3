//! A directory of 10,000 files, against tar through compressors; without goals.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{
    sides::{tar, tar_zstd},
    vault::Place,
};
use crate::{
    bench::Bench,
    corpus,
    measure::{Done, Side, Work},
    meter::Script,
};

/// A backup of nothing but the directory.
pub fn full(bench: &Bench, place: &Place) -> Result<Done> {
    let folder = corpus::directory(bench)?;
    let configuration = bench.fresh("configuration")?.join("packhorse.toml");
    write_configuration(&configuration, &folder)?;
    let ours = Side::ours("ours", || {
        let vault = place.vault(bench)?;
        let call = vault.backupctl(bench).arg("--config").path(&configuration);
        Ok(vault.filled_by(Script::one(call.args(["create", "--only", "files"]))))
    });
    let pigz = bench.programs.pigz.as_ref().map(|_| "pigz -1");
    let mut sides = vec![ours];
    if place.gateway().is_none() {
        sides.push(tar("tar, gzip -1", bench, &folder, Some("gzip -1")));
        sides.extend([tar("tar, pigz -1", bench, &folder, pigz), tar_zstd(bench, &folder)]);
    }
    Work::new("a directory of 10,000 files", sides).run(bench)
}

fn write_configuration(file: &Path, folder: &Path) -> Result<()> {
    let text = format!("[[directory]]\nname = \"files\"\npath = {:?}\n", folder.display().to_string());
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}
