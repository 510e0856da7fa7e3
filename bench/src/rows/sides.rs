//! The sides that several rows have in common.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::vault::{Place, Vault};
use crate::{
    bench::Bench,
    corpus::Storage,
    measure::{Prepared, Side},
    meter,
    peers::{borg::Borg, copies, curl, git, restic::Restic},
};

/// A full backup into a new vault.
pub fn ours_full<'a>(
    name: &'static str,
    bench: &'a Bench,
    place: &'a Place,
    storage: &'a Storage,
    flags: &'static [&'static str],
) -> Side<'a> {
    Side::ours(name, move || {
        let vault = place.vault(bench)?;
        let flags = ["--full"].iter().chain(flags).copied().collect::<Vec<_>>();
        let script = vault.create(bench, storage, &flags);
        Ok(vault.filled_by(script))
    })
}

/// A vault with a full backup of a storage in it.
pub fn full_vault(bench: &Bench, place: &Place, storage: &Storage) -> Result<Vault> {
    filled_vault(bench, place, storage, &["--full"])
}

/// The same with an index for each pack, small as it may be.
pub fn indexed_vault(bench: &Bench, place: &Place, storage: &Storage) -> Result<Vault> {
    let config = bench.fresh("config")?.join("packhorse.toml");
    fs::write(&config, "[agent_service]\nindex_from = \"0\"\n")?;
    let config = config.to_str().context("the work folder's name is not UTF-8")?;
    filled_vault(bench, place, storage, &["--full", "--config", config])
}

fn filled_vault(bench: &Bench, place: &Place, storage: &Storage, flags: &[&str]) -> Result<Vault> {
    let vault = place.vault(bench)?;
    bench.say("  making the backup that the rest builds on");
    meter::run(&vault.create(bench, storage, flags), &bench.work)?;
    Ok(vault)
}

/// What gitaly-backup runs for a full backup.
pub fn gitaly_full<'a>(bench: &'a Bench, storage: &'a Storage) -> Side<'a> {
    Side::peer("gitaly-backup's commands", move || {
        let out = bench.fresh("bundles")?;
        let script = git::bundles(&bench.programs.git, &storage.repositories, &out);
        Ok(Prepared::filling(&out, script))
    })
}

/// Git's packs of everything.
pub fn pack_objects<'a>(bench: &'a Bench, storage: &'a Storage) -> Side<'a> {
    Side::peer("git pack-objects --all", move || {
        let out = bench.fresh("packs")?;
        Ok(Prepared::filling(&out, git::packs(&bench.programs.git, &storage.repositories, &out)))
    })
}

/// Bare copies of the packs, synced.
pub fn cat<'a>(bench: &'a Bench, storage: &'a Storage) -> Side<'a> {
    Side::peer("cat packs + fsync", move || {
        let out = bench.fresh("copies")?;
        Ok(Prepared::filling(&out, copies::cat(&storage.packs()?, &out)))
    })
}

/// tar through a compressor, where this machine has it.
pub fn tar<'a>(
    name: &'static str,
    bench: &'a Bench,
    folder: &'a Path,
    compressor: Option<&'static str>,
) -> Side<'a> {
    Side::peer_if(name, compressor, move |compressor: &&str| {
        let out = bench.fresh("tar")?;
        Ok(Prepared::filling(&out, copies::tar(folder, compressor, &out)))
    })
}

/// tar through zstd.
pub fn tar_zstd<'a>(bench: &'a Bench, folder: &'a Path) -> Side<'a> {
    let zstd = bench.programs.zstd.as_ref().map(|_| "zstd -q -1");
    tar("tar, zstd -1", bench, folder, zstd)
}

/// borg into a new repository.
pub fn borg_full<'a>(bench: &'a Bench, storage: &'a Storage) -> Side<'a> {
    Side::peer_if("borg", bench.programs.borg.as_deref(), move |program| {
        let borg = Borg::create(bench, program)?;
        Ok(Prepared::filling(&borg.repository(), borg.backup(&storage.path)))
    })
}

/// restic into a new repository, on the disk or in a bucket.
pub fn restic_full<'a>(bench: &'a Bench, place: &'a Place, storage: &'a Storage) -> Side<'a> {
    Side::peer_if("restic", bench.programs.restic.as_deref(), move |program| {
        let Place::Ceph(gateway, count) = place else {
            let restic = Restic::create(bench, program)?;
            return Ok(Prepared::filling(&restic.repository(), restic.backup(&storage.path)));
        };
        let bucket = Place::bucket(gateway, count);
        let restic = Restic::create_in(bench, program, gateway, &bucket)?;
        Ok(Prepared::in_bucket(gateway, bucket, restic.backup(&storage.path)))
    })
}

/// rustic into a new repository on the disk, where it was asked for.
pub fn rustic_full<'a>(bench: &'a Bench, storage: &'a Storage) -> Option<Side<'a>> {
    bench.rustic.then(|| {
        Side::peer_if("rustic", bench.programs.rustic.as_deref(), move |program| {
            let rustic = Restic::create(bench, program)?;
            Ok(Prepared::filling(&rustic.repository(), rustic.backup(&storage.path)))
        })
    })
}

/// A new repository of restic's.
pub fn restic<'a>(bench: &Bench, place: &Place, program: &'a Path) -> Result<Restic<'a>> {
    match place {
        Place::Disk => Restic::create(bench, program),
        Place::Ceph(gateway, count) => {
            Restic::create_in(bench, program, gateway, &Place::bucket(gateway, count))
        }
    }
}

/// Bare copies of the packs to a bucket.
pub fn curl_send<'a>(place: &'a Place, storage: &'a Storage) -> Option<Side<'a>> {
    let Place::Ceph(gateway, count) = place else { return None };
    Some(Side::peer("curl packs", move || {
        let bucket = Place::bucket(gateway, count);
        let script = curl::send(gateway, &storage.packs()?, &bucket);
        Ok(Prepared::in_bucket(gateway, bucket, script))
    }))
}
