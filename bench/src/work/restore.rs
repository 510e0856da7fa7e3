//! Restore of one repository, against indexing its pack, which is what a clone does with it.

use anyhow::Result;

use super::{
    LARGE,
    ours::{Call, forget, size_on_disk},
};
use crate::{
    bench::{Bench, PACK, RESTORED, VAULT},
    corpus::Repository,
    measure::{Comparison, Goal, Row, timed},
    peers,
};

/// Ours includes the refs, fsync and everything else that makes a repository.
pub fn repository(bench: &Bench, work: String, repository: &Repository) -> Result<Row> {
    let git = &bench.programs.git;
    let (vault, packs) = (bench.fresh(VAULT)?, bench.fresh(PACK)?);
    Call::new(bench, git, &vault, &["create", "--full"])
        .storage(&repository.storage)
        .only(repository)
        .sample(&vault)?;
    let pack = packs.join("peer.pack");
    peers::pack_objects_to(git, &repository.path(), &pack)?;
    let large = size_on_disk(repository)? >= LARGE;
    Comparison {
        work,
        peer_command: "git index-pack".to_owned(),
        goal: if large { Goal::TimeAtMost(0.6) } else { Goal::None },
        peer: || {
            forget(packs.join("peer.idx"))?;
            forget(packs.join("peer.rev"))?;
            timed(|| peers::index_pack(git, &pack))
        },
        ours: || {
            let target = bench.fresh(RESTORED)?;
            Call::new(bench, git, &vault, &["restore", "latest"]).storage(&target).sample(&target)
        },
    }
    .run(bench.repetitions)
}
