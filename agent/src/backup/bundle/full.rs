//! The bundle of a full step: copied, or packed by git.
//!
//! Does not own: either way. Git is asked when the copy says that the repository is not made for it. An object that the copy
//! does not find may have moved from a loose file to a new pack meanwhile; if git does not find it either, it is missing, and
//! git is not asked for more.

use std::{collections::BTreeSet, io::Write as _};

use packhorse_vault::{BundleHeader, ObjectWriter, Oid};

use super::{
    Bundle, BundleError, BundleWriter, Source, Stream,
    by_git::{self, Order, Proof},
    header, vault_error,
};
use crate::{
    backup::{
        copy::{self, CopyError, Trust},
        pack_proof,
    },
    git::{Child, Git},
};

/// Objects below which a walk takes less time than to remember what it proved.
const WORTH_KNOWING: u32 = 10_000;

/// Writes the bundle of a full step, and the index of a pack of `index_from` bytes or more. Blocking.
pub fn write_full(
    source: &Source<'_>,
    (trust, index_from): (&Trust, u64),
    git: &Git,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, BundleError> {
    let listed = source.refs.refs.iter().map(|(name, oid)| (name.to_vec(), oid)).collect();
    let header = header(source.refs, listed, vec![]);
    match copy_full(source, &header, (trust, index_from), &open) {
        Ok(bundle) => Ok(bundle),
        Err(CopyError::Pack(finding)) => Err(BundleError::Git(finding)),
        Err(CopyError::Receiver(error)) => Err(vault_error(error)),
        Err(CopyError::Cancelled) => Err(BundleError::Cancelled),
        Err(CopyError::Unsuited(_) | CopyError::Lost(_)) if source.watch.cancel.is_cancelled() => {
            Err(BundleError::Cancelled)
        }
        Err(CopyError::Lost(oid)) if !is_there(source, git, &oid) => {
            Err(BundleError::Git(format!("object {oid} is missing")))
        }
        Err(reason @ (CopyError::Unsuited(_) | CopyError::Lost(_))) => {
            tracing::debug!(repository = %source.dir.display(), %reason, "a repository is left to git pack-objects");
            pack_full(source, git, &header, open).map(Bundle::without_index)
        }
    }
}

fn is_there(source: &Source<'_>, git: &Git, oid: &gix::oid) -> bool {
    let mut command = git.command(source.dir);
    command.args(["cat-file", "-e", &oid.to_string()]);
    let child = Child::spawn(command, &source.watch.cancel).and_then(Child::finish);
    // Where git cannot say it, it says why when it is asked to pack.
    child.map_or(true, |finished| finished.status.code() != Some(1))
}

fn copy_full(
    source: &Source<'_>,
    header: &BundleHeader,
    (trust, index_from): (&Trust, u64),
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, CopyError> {
    let (copy, mut knowledge) = copy::prepare(source.dir, source.refs, trust, &source.watch.cancel)?;
    let header = header.to_bytes();
    let size = copy.size();
    let mut writer = open(Stream::Bundle, size + header.len() as u64);
    writer.write_all(&header).map_err(CopyError::Receiver)?;
    let written = copy.write(&mut writer, &source.watch.cancel)?;
    if written.objects() < WORTH_KNOWING {
        knowledge.closed.clear();
    }
    // A small pack is indexed sooner than its index is asked for.
    let index = if size >= index_from {
        // Who holds a part of the upload budget must not wait for another; a small object takes none.
        if written.index_size() > ObjectWriter::UNBUDGETED as u64 {
            writer.object.seal().map_err(CopyError::Receiver)?;
        }
        let mut index = open(Stream::Index, written.index_size());
        written.write_index(&mut index).map_err(CopyError::Receiver)?;
        Some(index.object)
    } else {
        None
    };
    Ok(Bundle { object: writer.object, index, knowledge })
}

/// Has git pack everything, the packs' checksums and the loose objects being proven meanwhile.
fn pack_full(
    source: &Source<'_>,
    git: &Git,
    header: &BundleHeader,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<BundleWriter, BundleError> {
    let tips: BTreeSet<Oid> =
        source.refs.refs.iter().map(|(_, oid)| oid).chain(source.refs.head_oid()).collect();
    let tips: Vec<Oid> = tips.into_iter().collect();
    let order = Order::range(header, &tips, &[]);
    std::thread::scope(|scope| {
        let proof = scope.spawn(|| {
            source.watch.this_thread();
            let (format, cancel) = (source.refs.object_format, &source.watch.cancel);
            pack_proof::prove(source.dir, format, cancel)?;
            pack_proof::prove_loose(source.dir, format, cancel)
        });
        let written = by_git::write(source, git.command(source.dir), order, Proof::Packs, open);
        let proof = proof.join().unwrap_or_else(|_| Err("the check of the packs ended by a defect".into()));
        // A damaged pack explains what git says of it, so it goes first.
        match (proof, written) {
            (_, Err(BundleError::Cancelled)) => Err(BundleError::Cancelled),
            (Err(_), _) if source.watch.cancel.is_cancelled() => Err(BundleError::Cancelled),
            (Err(damage), _) => Err(BundleError::Git(damage)),
            (Ok(()), written) => written,
        }
    })
}
