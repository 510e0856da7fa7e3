//! 2,000 small repositories on a backup that is there: nothing changed, or a few did.

use std::cell::RefCell;

use anyhow::Result;

use super::{
    goal,
    sides::{full_vault, restic},
    vault::Place,
};
use crate::{
    bench::Bench,
    corpus::{self, Changes, Storage},
    loops::JOBS,
    measure::{
        Claim::{BytesAtMost, RateAtLeast, TimeAtMost},
        Done, Prepared, Side, Work,
    },
    meter::{self, Script},
    peers::{borg::Borg, git},
};

/// How many change in a night: 5 %.
const CHANGED: usize = 100;
/// Commits that one of them gets at most.
const COMMITS: usize = 3;

const TYPED: &str = "git for-each-ref, 8 at a time";

/// Nothing changed, from a warm cache.
pub fn unchanged(bench: &Bench, place: &Place) -> Result<Done> {
    let changes = RefCell::new(Changes::open(bench, &corpus::small(bench)?, 0, COMMITS)?);
    let storage = changes.borrow().storage.clone();
    let vault = full_vault(bench, place, &storage)?;
    let mut sides = vec![Side::ours("ours", || vault.grown_by(vault.create(bench, &storage, &[])))];
    if place.gateway().is_none() {
        let git = &bench.programs.git;
        sides.push(unseen("git for-each-ref, names only", || git::refs(git, &storage.repositories, JOBS)));
        sides.push(increments(bench, &changes));
        sides.push(borg_again(bench, &storage)?);
    }
    sides.push(restic_again(bench, place, &storage)?);
    let goals = [goal("ours", "ours", RateAtLeast(20_000.0))];
    let work = Work::new("nothing changed, 2,000 small", sides).items(storage.repositories.len());
    work.goals(goals).run(bench)
}

/// Nothing changed, and everything has to be read from the disk.
pub fn cold(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::small(bench)?;
    let (vault, git) = (full_vault(bench, place, &storage)?, &bench.programs.git);
    let sides = vec![
        Side::ours("ours", || vault.grown_by(vault.create_by_itself(bench, &storage))),
        unseen(TYPED, || git::refs_with_types(git, &storage.repositories, 8)),
        unseen("the same, names only", || git::refs(git, &storage.repositories, 8)),
    ];
    let goals = [goal("ours", TYPED, TimeAtMost(0.35))];
    let work = Work::new("nothing changed, 2,000 small, cold", sides).items(storage.repositories.len());
    work.goals(goals).cold().run(bench)
}

/// 5 % changed, others in every repetition.
pub fn changed(bench: &Bench, place: &Place) -> Result<Done> {
    let changes = RefCell::new(Changes::open(bench, &corpus::small(bench)?, CHANGED, COMMITS)?);
    let storage = changes.borrow().storage.clone();
    let vault = full_vault(bench, place, &storage)?;
    let mut sides = vec![Side::ours("ours", || vault.grown_by(vault.create(bench, &storage, &[])))];
    if place.gateway().is_none() {
        sides.extend([
            increments(bench, &changes),
            thin_packs(bench, &changes),
            borg_again(bench, &storage)?,
        ]);
    }
    sides.push(restic_again(bench, place, &storage)?);
    let goals = [
        goal("ours", "gitaly-backup's commands", TimeAtMost(0.12)),
        goal("ours", "borg", TimeAtMost(0.3)),
        goal("ours", "git pack-objects --thin, refs", BytesAtMost(1.05)),
    ];
    let work = Work::new("5 % of 2,000 small changed", sides).items(storage.repositories.len());
    work.goals(goals).before(|| changes.borrow_mut().next()).run(bench)
}

fn unseen<'a>(name: &'static str, script: impl Fn() -> Script + 'a) -> Side<'a> {
    Side::peer(name, move || Ok(Prepared::unseen(script())))
}

fn increments<'a>(bench: &'a Bench, changes: &'a RefCell<Changes<'_>>) -> Side<'a> {
    Side::peer("gitaly-backup's commands", move || {
        let (changes, out) = (changes.borrow(), bench.fresh("bundles")?);
        let repositories = &changes.storage.repositories;
        let script = git::increments(&bench.programs.git, repositories, &changes.known, &out);
        Ok(Prepared::filling(&out, script))
    })
}

fn thin_packs<'a>(bench: &'a Bench, changes: &'a RefCell<Changes<'_>>) -> Side<'a> {
    Side::peer("git pack-objects --thin, refs", move || {
        let (changes, out) = (changes.borrow(), bench.fresh("packs")?);
        let (repositories, numbers) = (&changes.storage.repositories, &changes.changed);
        let script = git::thin_packs(&bench.programs.git, repositories, numbers, &changes.known, &out);
        Ok(Prepared::filling(&out, script))
    })
}

/// borg on a backup that is there already.
fn borg_again<'a>(bench: &'a Bench, storage: &'a Storage) -> Result<Side<'a>> {
    let open = |program| Borg::create(bench, program);
    let borg = bench.programs.borg.as_deref().map(open).transpose()?;
    if let Some(borg) = &borg {
        meter::run(&borg.backup(&storage.path), &bench.work)?;
    }
    Ok(Side::peer_if("borg", borg, |borg| Prepared::growing(&borg.repository(), borg.backup(&storage.path))))
}

/// The same with restic.
fn restic_again<'a>(bench: &'a Bench, place: &Place, storage: &'a Storage) -> Result<Side<'a>> {
    let open = |program| restic(bench, place, program);
    let restic = bench.programs.restic.as_deref().map(open).transpose()?;
    if let Some(restic) = &restic {
        meter::run(&restic.backup(&storage.path), &bench.work)?;
    }
    let on_disk = place.gateway().is_none();
    Ok(Side::peer_if("restic", restic, move |restic| {
        let script = restic.backup(&storage.path);
        if on_disk { Prepared::growing(&restic.repository(), script) } else { Ok(Prepared::unseen(script)) }
    }))
}
