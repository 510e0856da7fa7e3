//! What is measured: a list of rows, all with the same shape: prepare, name the sides and the goals, run.
//!
//! Does not own: running (`measure`), or the tools (`peers`). The goals are those of the project, and are meant for a
//! disk; on a gateway there are none.

mod directory;
mod large;
mod nightly;
mod refs;
mod restore;
mod sides;
mod small;
mod vault;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use crate::{
    args::{Args, Topic},
    bench::Bench,
    measure::{Claim, Done, Goal},
};
use vault::Place;

/// What makes `create` leave the proof of connectivity for later.
const PROVE_LATER: &[&str] = &["--prove", "later"];

type Row = fn(&Bench, &Place) -> Result<Done>;

/// What each topic measures.
fn row(topic: Topic) -> Row {
    match topic {
        Topic::Full => large::full,
        Topic::FullBitmaps => large::with_bitmaps,
        Topic::Small => small::full,
        Topic::SmallBitmaps => small::with_bitmaps,
        Topic::Unchanged => nightly::unchanged,
        Topic::Cold => nightly::cold,
        Topic::Changed => nightly::changed,
        Topic::Refs => refs::full,
        Topic::RefsUnchanged => refs::unchanged,
        Topic::RefsMoved => refs::moved,
        Topic::Restore => restore::large,
        Topic::RestoreSmall => restore::small,
        Topic::RestoreRefs => refs::restore,
        Topic::Directory => directory::full,
    }
}

/// Those that say something about a gateway.
const ON_CEPH: [Topic; 6] =
    [Topic::Full, Topic::Small, Topic::Unchanged, Topic::Changed, Topic::Restore, Topic::RestoreSmall];

/// The topics that the command line asks for, in the order of the table.
pub fn selected(args: &Args) -> Vec<Topic> {
    let all = Topic::value_variants().iter().copied();
    let wanted = |topic: &Topic| {
        let sensible = !args.ceph || ON_CEPH.contains(topic);
        if args.only.is_empty() { sensible } else { args.only.contains(topic) }
    };
    all.filter(wanted).collect()
}

/// Measures one.
pub fn run(topic: Topic, args: &Args, bench: &Bench) -> Result<Done> {
    let place = Place::open(args.ceph);
    let mut done = row(topic)(bench, &place).with_context(|| format!("measure {topic:?}"))?;
    if args.ceph {
        done.title.push_str(", on Ceph");
        done.goals.clear();
    }
    Ok(done)
}

fn goal(ours: &'static str, with: &'static str, claim: Claim) -> Goal {
    Goal { ours, with, claim }
}
