//! Restores into an empty storage: large repositories, and 2,000 small ones.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    goal,
    sides::{full_vault, indexed_vault, restic},
    vault::{Place, Vault},
};
use crate::{
    bench::Bench,
    corpus::{self, Large, Storage},
    measure::{
        Claim::{FasterAtLeast, TimeAtMost},
        Done, Prepared, Side, Work,
    },
    meter,
    peers::{borg::Borg, copies, curl, git},
};

const COPY: &str = "cp packs + fsync";
const FETCH: &str = "git init, git fetch from bundle";
const COPY_ALL: &str = "cp -a";
const INDEXED: &str = "ours, index_from = 0";

/// Large repositories.
pub fn large(bench: &Bench, place: &Place) -> Result<Done> {
    let Large { storage, title, stands_in } = Large::choose(bench)?;
    let vault = full_vault(bench, place, &storage)?;
    let packs = storage.packs()?;
    let mut sides = vec![ours("ours", bench, &vault)];
    match place {
        Place::Disk => {
            sides.push(filling(COPY, bench, |out| copies::cp(&packs, out)));
            sides.push(fetches(bench, &storage, bundles(bench, &storage)?));
        }
        Place::Ceph(gateway, count) => {
            let bucket = Place::bucket(gateway, count);
            meter::run(&curl::send(gateway, &packs, &bucket), &bench.work)?;
            let packs = &packs;
            sides.push(filling("curl packs", bench, move |out| curl::get(gateway, packs, &bucket, out)));
        }
    }
    let goals = [goal("ours", COPY, TimeAtMost(3.0)), goal("ours", FETCH, FasterAtLeast(20.0))];
    Work::new(format!("restore, {title}"), sides).stands_in(stands_in).goals(goals).run(bench)
}

/// Small repositories.
pub fn small(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::small(bench)?;
    let vault = full_vault(bench, place, &storage)?;
    let indexed = indexed_vault(bench, place, &storage)?;
    let mut sides = vec![ours("ours", bench, &vault), ours(INDEXED, bench, &indexed)];
    if place.gateway().is_none() {
        sides.push(filling(COPY_ALL, bench, |out| copies::cp_all(&storage.path, out)));
        sides.push(fetches(bench, &storage, bundles(bench, &storage)?));
        sides.push(from_borg(bench, &storage)?);
    }
    sides.push(from_restic(bench, place, &storage)?);
    let goals = [
        goal("ours", FETCH, FasterAtLeast(5.0)),
        goal("ours", "restic", FasterAtLeast(1.0)),
        goal("ours", COPY_ALL, TimeAtMost(1.3)),
        goal(INDEXED, COPY_ALL, TimeAtMost(1.3)),
    ];
    let work = Work::new("restore, 2,000 small", sides).items(storage.repositories.len());
    work.goals(goals).run(bench)
}

fn ours<'a>(name: &'static str, bench: &'a Bench, vault: &'a Vault) -> Side<'a> {
    Side::ours(name, move || {
        let target = bench.fresh("restored")?;
        Ok(Prepared::filling(&target, vault.restore(bench, &target)))
    })
}

fn filling<'a>(
    name: &'static str,
    bench: &'a Bench,
    script: impl Fn(&Path) -> meter::Script + 'a,
) -> Side<'a> {
    Side::peer(name, move || {
        let target = bench.fresh("restored")?;
        Ok(Prepared::filling(&target, script(&target)))
    })
}

/// The bundles that gitaly-backup would have made.
fn bundles(bench: &Bench, storage: &Storage) -> Result<PathBuf> {
    let out = bench.fresh("bundles")?;
    meter::run(&git::bundles(&bench.programs.git, &storage.repositories, &out), &bench.work)?;
    Ok(out)
}

fn fetches<'a>(bench: &'a Bench, storage: &'a Storage, bundles: PathBuf) -> Side<'a> {
    let git = &bench.programs.git;
    filling(FETCH, bench, move |target| git::fetches(git, &storage.repositories, &bundles, target))
}

fn from_borg<'a>(bench: &'a Bench, storage: &Storage) -> Result<Side<'a>> {
    let borg = bench.programs.borg.as_deref().map(|program| Borg::create(bench, program)).transpose()?;
    if let Some(borg) = &borg {
        meter::run(&borg.backup(&storage.path), &bench.work)?;
    }
    Ok(Side::peer_if("borg", borg, |borg| {
        let target = bench.fresh("restored")?;
        Ok(Prepared::filling(&target, borg.restore(&target)))
    }))
}

fn from_restic<'a>(bench: &'a Bench, place: &Place, storage: &Storage) -> Result<Side<'a>> {
    let open = |program| restic(bench, place, program);
    let restic = bench.programs.restic.as_deref().map(open).transpose()?;
    if let Some(restic) = &restic {
        meter::run(&restic.backup(&storage.path), &bench.work)?;
    }
    Ok(Side::peer_if("restic", restic, |restic| {
        let target = bench.fresh("restored")?;
        Ok(Prepared::filling(&target, restic.restore(&target)))
    }))
}
