//! Large repositories: everything, with and without bitmaps, and everything again.

use anyhow::Result;

use super::{
    PROVE_LATER, goal,
    sides::{
        borg_full, cat, curl_send, full_vault, gitaly_full, ours_full, pack_objects, restic_full,
        rustic_full, tar_zstd,
    },
    vault::Place,
};
use crate::{
    bench::Bench,
    corpus::Large,
    measure::{
        Claim::{FasterAtLeast, TimeAtMost},
        Done, Side, Work,
    },
};

/// As they are, against all peers.
pub fn full(bench: &Bench, place: &Place) -> Result<Done> {
    let Large { storage, title, stands_in } = Large::choose(bench)?;
    let storage = if stands_in { storage.without_bitmaps(bench)? } else { storage };
    let mut sides = vec![ours_full("ours", bench, place, &storage, PROVE_LATER)];
    if place.gateway().is_some() {
        sides.extend(curl_send(place, &storage));
    } else {
        sides.extend([cat(bench, &storage), tar_zstd(bench, &storage.path)]);
        sides.extend([gitaly_full(bench, &storage), borg_full(bench, &storage)]);
        sides.extend(rustic_full(bench, &storage));
    }
    sides.push(restic_full(bench, place, &storage));
    let goals = [
        goal("ours", "cat packs + fsync", TimeAtMost(2.0)),
        goal("ours", "gitaly-backup's commands", FasterAtLeast(6.0)),
        goal("ours", "borg", FasterAtLeast(1.5)),
        goal("ours", "restic", FasterAtLeast(3.0)),
    ];
    Work::new(format!("full, {title}"), sides).stands_in(stands_in).goals(goals).run(bench)
}

/// Where all have bitmaps; connectivity proven later, at once, and remembered.
pub fn with_bitmaps(bench: &Bench, place: &Place) -> Result<Done> {
    let Large { storage, title, stands_in } = Large::choose(bench)?;
    let storage = storage.with_bitmaps(bench)?;
    let vault = full_vault(bench, place, &storage)?;
    let mut sides = vec![
        ours_full("ours", bench, place, &storage, PROVE_LATER),
        ours_full("ours, proven", bench, place, &storage, &[]),
    ];
    let again = || vault.grown_by(vault.create(bench, &storage, &["--full"]));
    sides.push(Side::ours("ours, second", again));
    sides.extend([cat(bench, &storage), gitaly_full(bench, &storage), pack_objects(bench, &storage)]);
    let goals = [
        goal("ours", "gitaly-backup's commands", FasterAtLeast(3.5)),
        goal("ours, proven", "git pack-objects --all", TimeAtMost(1.0)),
        goal("ours, second", "cat packs + fsync", TimeAtMost(2.0)),
        goal("ours, second", "gitaly-backup's commands", FasterAtLeast(3.5)),
    ];
    Work::new(format!("full, {title}, with bitmaps"), sides).stands_in(stands_in).goals(goals).run(bench)
}
