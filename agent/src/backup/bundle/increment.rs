//! The bundle of an increment: what is new since the base, which readers of the chain have by then.
//!
//! Does not own: how objects become a pack. Few of them are put together here (`thin`), more by git.

use std::{
    collections::{BTreeSet, HashSet},
    io,
};

use packhorse_vault::Oid;

use super::{
    Bundle, BundleError, BundleWriter, Source, Stream,
    by_git::{self, Proof, Range},
    header,
};
use crate::{
    backup::{plan::Continuation, prerequisites},
    git::{Git, Objects},
};

/// Writes the bundle of an increment. Blocking.
pub fn write_increment(
    source: &Source<'_>,
    base: &Continuation,
    git: &Git,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, BundleError> {
    let mut objects = Objects::open(source.dir, source.refs.object_format).map_err(unreadable)?;
    // HEAD's own object is no base, because a reader that replays the chain does not keep it.
    let before: HashSet<Oid> = base.refs.iter().map(|(_, oid)| oid).collect();
    let moved = source.refs.refs.compare(&base.refs);
    let listed: Vec<(Vec<u8>, Oid)> = moved
        .filter(|(_, now, then)| now != then)
        .filter_map(|(name, now, _)| Some((name.to_vec(), now?)))
        .collect();
    let targets: BTreeSet<Oid> = listed.iter().map(|(_, oid)| *oid).chain(source.refs.head_oid()).collect();
    let targets: Vec<Oid> = targets.into_iter().collect();
    let many = before.len() > prerequisites::FEW_TIPS;
    let near = if many { prerequisites::near(&mut objects, &targets, &before) } else { None };
    let (tips, known, prerequisites) = match near {
        Some(edge) => {
            let tips = targets.into_iter().filter(|oid| !before.contains(oid)).collect();
            (tips, edge.clone(), edge)
        }
        None => {
            // Tips that were pruned cannot be given to git; then the increment only gets larger.
            let known: BTreeSet<Oid> = before.into_iter().filter(|oid| objects.exists(*oid)).collect();
            let now = source.refs.refs.iter().map(|(_, oid)| oid).chain(source.refs.head_oid());
            let tips: BTreeSet<Oid> = now.filter(|oid| !known.contains(oid)).collect();
            let known: Vec<Oid> = known.into_iter().collect();
            let prerequisites = prerequisites::of(&mut objects, &targets, &known);
            (tips.into_iter().collect(), known, prerequisites)
        }
    };
    drop(objects);
    let range = Range { header: header(source.refs, listed, prerequisites), tips, known };
    by_git::write(source, git, &range, Proof::Inflate, open).map(Bundle::by_git)
}

fn unreadable(error: io::Error) -> BundleError {
    BundleError::Git(format!("open objects: {error}"))
}
