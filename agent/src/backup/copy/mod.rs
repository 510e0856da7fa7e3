//! The pack of a full step, copied from the repository's own packs, where that can be done and proven.
//!
//! In order: `trust` says what is proven already; `reach` marks everything that the frozen refs reach, which proves that
//! it is there; `arrange` decides what is copied as it lies; `write` copies it, proving the packs' checksums as their
//! bytes pass; `index` makes the copy's index. No git is started.
//!
//! Does not own: the bundle's header (`bundle`), or repositories that are not made for this: whatever is in the way is
//! [`Unsuited`], says why, and leaves the repository to `git pack-objects`, nearly always before anything was written.
//! What refs do not reach is copied only where it is little and whole, or where packs are known to be closed: that is
//! faster than to leave it out. The refs are frozen before the packs are opened, and what was opened stays
//! open, so a push or a repack beside us changes nothing; an object that it moves away before that is missed, and git
//! asked instead.
//!
//! Memory: the tables come from one budget (`memory`), taken as a whole before they are filled, and mostly given back
//! before the bytes go out where packs are copied as a whole. A repository that asks for more than there is, or has to
//! wait long, goes to git.

mod arrange;
mod index;
mod reach;
#[cfg(test)]
mod tests;
mod tree_before;
mod trust;
mod write;

use std::{fs::File, path::Path, time::Duration};

use gix::ObjectId;
use packhorse_vault::{ClosedPack, RefSnapshot};
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;
pub use trust::Trust;
pub use write::CopyError;

use self::{arrange::Arrangement, reach::Reached, tree_before::TreeBefore, trust::Closed};
use crate::{
    backup::memory,
    packs::{Decoder, PackFile, PackFiles, PackSet},
};

const MIB: u64 = 1 << 20;
/// How long a repository waits for its memory, while a large one may be on its slow way to the vault.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a decoder may take, which depends on the size of the packs.
#[derive(Clone, Copy)]
struct Limits {
    /// Bytes of bases that it keeps.
    cache: u64,
    /// Bytes of the largest object that it decodes.
    object: u64,
}

impl Limits {
    fn of(size: u64) -> Self {
        Self { cache: size.clamp(MIB / 4, 16 * MIB), object: (size / 4).clamp(MIB, 4 * MIB) }
    }

    fn decoder(self) -> Decoder {
        Decoder::new(self.cache, self.object)
    }
}

/// A pack that is ready to be written.
pub struct PackCopy {
    parts: Parts,
    /// Objects in all.
    objects: u32,
    /// Bytes, about.
    size: u64,
    memory: SemaphorePermit<'static>,
}

/// What is known of a copy's completeness, and of the packs for later ones.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// Whether it was left unproven that everything is in it.
    pub unproven: bool,
    /// Packs that are proven closed.
    pub closed: Vec<ClosedPack>,
}

/// What is copied.
enum Parts {
    /// A pack as it lies, and its index.
    File(PackFile, File),
    /// Entries of packs, and loose objects.
    Selection(Box<Selection>),
}

/// What a pack is put together from.
struct Selection {
    set: PackSet,
    reached: Reached,
    arrangement: Arrangement,
    limits: Limits,
    /// Loose objects, as entries of the pack.
    loose: Vec<(ObjectId, Vec<u8>)>,
}

/// Finds out whether everything that the refs reach can be copied. Blocking.
pub fn prepare(
    dir: &Path,
    refs: &RefSnapshot,
    trust: &Trust,
    cancel: &CancellationToken,
) -> Result<(PackCopy, Knowledge), CopyError> {
    let files = PackFiles::list(dir)?;
    let limits = Limits::of(files.size());
    let kept = files.held() + reach::LOOSE_BYTES + MIB;
    let tables = files.memory() + Decoder::memory(limits.cache, limits.object);
    let memory = memory::take(tables + kept + TreeBefore::memory(limits.object), PATIENCE, cancel)?;
    let set = files.open(refs.object_format)?;
    let closed = Closed::of(&set, trust);
    let mut reached = Reached::from(&set, refs, trust, &closed, limits, cancel)?;
    let knowledge =
        Knowledge { unproven: closed.is_assumed(&reached), closed: closed.learn(&set, trust, &reached) };
    let arrangement = Arrangement::of(&set, &reached, cancel)?;
    let loose = std::mem::take(&mut reached.loose);
    let (objects, size) = (arrangement.objects, arrangement.size);
    let single = arrangement.single().filter(|_| loose.is_empty());
    let Some(number) = single else {
        let parts = Parts::Selection(Box::new(Selection { set, reached, arrangement, limits, loose }));
        return Ok((PackCopy { parts, objects, size, memory }, knowledge));
    };
    // What is known of the entries is not needed any more, however long the upload takes.
    let (file, index) = set.into_packs().swap_remove(number).into_files();
    Ok((
        PackCopy { parts: Parts::File(file, index), objects, size, memory: memory::keep(memory, kept) },
        knowledge,
    ))
}
