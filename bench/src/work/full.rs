//! Full backup of one repository, against the pack that git makes of it.

use anyhow::Result;

use super::{LARGE, ours};
use crate::{
    bench::{Bench, VAULT},
    corpus::{self, Repository},
    measure::{Comparison, Goal, Row, timed},
    peers,
    programs::Git,
};

/// A packed repository: streaming its packs is all that git does.
pub fn repository(bench: &Bench, work: String, repository: &Repository) -> Result<Row> {
    let large = ours::size_on_disk(repository)? >= LARGE;
    let goal = if large { Goal::TimeAtMost(1.15) } else { Goal::None };
    compare(bench, work, repository, &bench.programs.git, &peers::PACK_OBJECTS, goal)
}

/// Many refs, with one of the gits.
pub fn refs(bench: &Bench, work: String, git: &Git) -> Result<Row> {
    let repository = corpus::many_refs(bench)?;
    compare(bench, work, &repository, git, &peers::PACK_OBJECTS_REVS, Goal::TimeAtMost(1.5))
}

fn compare(
    bench: &Bench,
    work: String,
    repository: &Repository,
    git: &Git,
    peer: &[&str],
    goal: Goal,
) -> Result<Row> {
    let path = repository.path();
    Comparison {
        work,
        peer_command: format!("git {}", peer.join(" ")),
        goal,
        peer: || timed(|| peers::pack_objects(git, &path, peer)),
        ours: || {
            let vault = bench.fresh(VAULT)?;
            let call = ours::Call::new(bench, git, &vault, &["create", "--full"]);
            call.storage(&repository.storage).only(repository).sample(&vault)
        },
    }
    .run(bench.repetitions)
}
