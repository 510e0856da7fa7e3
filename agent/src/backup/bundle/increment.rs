//! The bundle of an increment: what is new since the base, which readers of the chain have by then.
//!
//! Does not own: how objects become a pack. Few of them are put together here (`thin`), more by git.

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Write as _},
};

use packhorse_vault::Oid;

use super::{
    Bundle, BundleError, BundleWriter, Source, Stream,
    by_git::{self, Order, Proof},
    header, thin, vault_error,
};
use crate::{
    backup::{
        pack_proof,
        plan::Continuation,
        prerequisites::{self, Edge},
    },
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
    let (tips, known, edge): (Vec<Oid>, Vec<Oid>, Edge) = match near {
        Some(edge) => {
            let tips = targets.into_iter().filter(|oid| !before.contains(oid)).collect();
            (tips, edge.prerequisites.clone(), edge)
        }
        None => {
            // Tips that were pruned cannot be given to git; then the increment only gets larger.
            let known: BTreeSet<Oid> = before.into_iter().filter(|oid| objects.exists(*oid)).collect();
            let now = source.refs.refs.iter().map(|(_, oid)| oid).chain(source.refs.head_oid());
            let tips: BTreeSet<Oid> = now.filter(|oid| !known.contains(oid)).collect();
            let known: Vec<Oid> = known.into_iter().collect();
            let edge = prerequisites::of(&mut objects, &targets, &known);
            (tips.into_iter().collect(), known, edge)
        }
    };
    let cancel = &source.watch.cancel;
    let packed = thin::pack(&mut objects, source.refs.object_format, (&tips, &edge), cancel);
    drop(objects);
    let header = header(source.refs, listed, edge.prerequisites);
    let pack = match packed {
        Ok(pack) => pack,
        Err(_) if cancel.is_cancelled() => return Err(BundleError::Cancelled),
        Err(reason) => {
            tracing::debug!(repository = %source.dir.display(), %reason, "a repository is left to git pack-objects");
            let order = Order::range(&header, &tips, &known);
            // Git takes loose objects for what they are called.
            pack_proof::prove_loose(source.dir, source.refs.object_format, cancel)
                .map_err(BundleError::Git)?;
            let written = by_git::write(source, git.command(source.dir), order, Proof::Inflate, open);
            return written.map(Bundle::without_index);
        }
    };
    let header = header.to_bytes();
    let mut writer = open(Stream::Bundle, (header.len() + pack.bytes.len()) as u64);
    writer.write_all(&header).and_then(|()| writer.write_all(&pack.bytes)).map_err(vault_error)?;
    Ok(Bundle::without_index(writer))
}

fn unreadable(error: io::Error) -> BundleError {
    BundleError::Git(format!("open objects: {error}"))
}
