//! One repository of 200,000 refs: everything, nothing, one push, and back.

use std::{cell::RefCell, path::Path};

use anyhow::Result;

use super::{
    PROVE_LATER, goal,
    sides::{full_vault, ours_full, pack_objects},
    vault::Place,
};
use crate::{
    bench::Bench,
    corpus::{self, Changes},
    measure::{Claim::TimeAtMost, Done, Prepared, Side, Work},
    meter::{Call, Script},
    peers::{copies, git},
};

const ITERATION: &str = "iterating refs with gix";
const WRITING: &str = "cp packed-refs + fsync";

/// Everything.
pub fn full(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::many_refs(bench)?;
    let old = &bench.programs.old_git;
    let bundle = Side::peer("git bundle create --all, old git", || {
        let out = bench.fresh("bundles")?;
        Ok(Prepared::filling(&out, git::bundle_all(old, &storage.repositories[0], &out)))
    });
    let ours = ours_full("ours", bench, place, &storage, PROVE_LATER);
    let sides = vec![ours, bundle, pack_objects(bench, &storage)];
    let goals = [goal("ours", "git bundle create --all, old git", TimeAtMost(0.1))];
    Work::new("full, 200,000 refs", sides).goals(goals).run(bench)
}

/// Nothing changed.
pub fn unchanged(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::many_refs(bench)?;
    let vault = full_vault(bench, place, &storage)?;
    let ours = Side::ours("ours", || vault.grown_by(vault.create(bench, &storage, &[])));
    let sides = vec![ours, iteration(bench, &storage.repositories[0])];
    let goals = [goal("ours", ITERATION, TimeAtMost(1.5))];
    Work::new("nothing changed, 200,000 refs", sides).goals(goals).run(bench)
}

/// One commit on one branch, another in every repetition.
pub fn moved(bench: &Bench, place: &Place) -> Result<Done> {
    let changes = RefCell::new(Changes::open(bench, &corpus::many_refs(bench)?, 1, 1)?);
    let storage = changes.borrow().storage.clone();
    let vault = full_vault(bench, place, &storage)?;
    let ours = Side::ours("ours", || vault.grown_by(vault.create(bench, &storage, &[])));
    let sides = vec![ours, iteration(bench, &storage.repositories[0])];
    let goals = [goal("ours", ITERATION, TimeAtMost(4.0))];
    let work = Work::new("one of 200,000 refs moved", sides).goals(goals);
    work.before(|| changes.borrow_mut().next()).run(bench)
}

/// All of it into an empty storage, against a part of that: the file with the refs.
pub fn restore(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::many_refs(bench)?;
    let vault = full_vault(bench, place, &storage)?;
    let refs = vec![storage.repositories[0].join("packed-refs")];
    let mut all = storage.packs()?;
    all.extend(refs.clone());
    let copy = |files: &[_]| {
        let out = bench.fresh("copies")?;
        Ok(Prepared::filling(&out, copies::cp(files, &out)))
    };
    let ours = Side::ours("ours", || {
        let target = bench.fresh("restored")?;
        Ok(Prepared::filling(&target, vault.restore(bench, &target)))
    });
    let sides = vec![
        ours,
        Side::peer(WRITING, || copy(&refs)),
        Side::peer("cp packs and packed-refs + fsync", || copy(&all)),
    ];
    let goals = [goal("ours", WRITING, TimeAtMost(2.0))];
    Work::new("restore, 200,000 refs", sides).goals(goals).run(bench)
}

fn iteration<'a>(bench: &'a Bench, repository: &'a Path) -> Side<'a> {
    Side::peer_if(ITERATION, bench.programs.iterate_refs.as_deref(), move |program| {
        Ok(Prepared::unseen(Script::one(Call::new(*program).path(repository))))
    })
}
