//! 2,000 small repositories: everything.

use anyhow::Result;

use super::{
    PROVE_LATER, goal,
    sides::{borg_full, cat, gitaly_full, ours_full, pack_objects, restic_full, rustic_full, tar_zstd},
    vault::Place,
};
use crate::{
    bench::Bench,
    corpus,
    measure::{
        Claim::{FasterAtLeast, RateAtLeast},
        Done, Work,
    },
};

/// Without bitmaps, against all peers.
pub fn full(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::small(bench)?.without_bitmaps(bench)?;
    let mut sides = vec![
        ours_full("ours", bench, place, &storage, PROVE_LATER),
        ours_full("ours, proven", bench, place, &storage, &[]),
    ];
    if place.gateway().is_none() {
        sides.extend([cat(bench, &storage), tar_zstd(bench, &storage.path)]);
        sides.extend([gitaly_full(bench, &storage), borg_full(bench, &storage)]);
        sides.extend(rustic_full(bench, &storage));
    }
    sides.push(restic_full(bench, place, &storage));
    let goals = [
        goal("ours", "ours", RateAtLeast(2_000.0)),
        goal("ours", "gitaly-backup's commands", FasterAtLeast(10.0)),
        goal("ours", "borg", FasterAtLeast(2.5)),
    ];
    Work::new("full, 2,000 small", sides).items(storage.repositories.len()).goals(goals).run(bench)
}

/// Where all have bitmaps.
pub fn with_bitmaps(bench: &Bench, place: &Place) -> Result<Done> {
    let storage = corpus::small(bench)?;
    let sides = vec![
        ours_full("ours", bench, place, &storage, PROVE_LATER),
        gitaly_full(bench, &storage),
        pack_objects(bench, &storage),
    ];
    let goals = [goal("ours", "gitaly-backup's commands", FasterAtLeast(6.0))];
    let work = Work::new("full, 2,000 small, with bitmaps", sides).items(storage.repositories.len());
    work.goals(goals).run(bench)
}
