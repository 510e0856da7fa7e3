//! Many small repositories: everything, and nothing.

use anyhow::Result;

use super::ours::Call;
use crate::{
    bench::{Bench, VAULT},
    corpus,
    loops::JOBS,
    measure::{Comparison, Goal, Row, timed},
    peers,
};

/// Full backup, against a bundle of each.
pub fn full(bench: &Bench, work: String) -> Result<Row> {
    let small = corpus::small(bench)?;
    let git = &bench.programs.git;
    Comparison {
        work,
        peer_command: format!(
            "loop, {JOBS} at a time: git for-each-ref + git bundle create - --stdin <<< --all"
        ),
        goal: Goal::FasterAtLeast(2.0),
        peer: || timed(|| peers::bundles(git, &small.repositories)),
        ours: || {
            let vault = bench.fresh(VAULT)?;
            Call::new(bench, git, &vault, &["create", "--full"])
                .storage(&small.storage)
                .jobs(JOBS)
                .sample(&vault)
        },
    }
    .run(bench.repetitions)
}

/// Backup on a backup of the same state, against listing the refs of each.
pub fn unchanged(bench: &Bench, work: String) -> Result<Row> {
    let small = corpus::small(bench)?;
    let git = &bench.programs.git;
    let vault = bench.fresh(VAULT)?;
    let create =
        || Call::new(bench, git, &vault, &["create"]).storage(&small.storage).jobs(JOBS).sample(&vault);
    bench.say("  making the backup that nothing has changed since");
    create()?;
    Comparison {
        work,
        peer_command: format!("loop, {JOBS} at a time: git for-each-ref"),
        goal: Goal::FasterAtLeast(6.0),
        peer: || timed(|| peers::refs(git, &small.repositories)),
        ours: create,
    }
    .run(bench.repetitions)
}
