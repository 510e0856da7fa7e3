//! The pack of a full step, copied from the repository's own packs, where that can be done and proven.
//!
//! In order: `reach` marks everything that the frozen refs reach, which proves that it is there; `arrange` decides what
//! is copied as it lies; `write` copies it, proving the packs' checksums as their bytes pass. No git is started.
//!
//! Does not own: the bundle's header (`bundle`), or repositories that are not made for this: whatever is in the way is
//! [`Unsuited`], says why, and leaves the repository to `git pack-objects`, before anything was written. What refs do
//! not reach is never copied. The refs are frozen before the packs are opened, and what was opened stays open, so a push
//! or a repack beside us changes nothing; an object that it moves away before that is missed, and git asked instead.
//!
//! Memory: the tables of all repositories that are copied at once come from one budget, taken as a whole before they are
//! filled; a repository that asks for more than there is goes to git.

mod arrange;
mod reach;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;

use packhorse_vault::RefSnapshot;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};
use tokio_util::sync::CancellationToken;
pub use write::CopyError;

use self::{arrange::Arrangement, reach::Reached};
use crate::packs::{PackFiles, PackSet, Unsuited};

/// MiB of tables and caches that all copying of this process may hold.
const MEMORY_MIB: u32 = 88;
static MEMORY: Semaphore = Semaphore::const_new(MEMORY_MIB as usize);
const MIB: u64 = 1 << 20;
/// Bytes of bases that a walk keeps, at most: as much as the packs have, or this.
const CACHE: u64 = 16 * MIB;

/// A pack that is ready to be written.
pub struct PackCopy {
    set: PackSet,
    reached: Reached,
    arrangement: Arrangement,
    /// Bytes of bases that a decoder may keep.
    cache: usize,
    _memory: SemaphorePermit<'static>,
}

/// Finds out whether everything that the refs reach can be copied. Blocking.
pub fn prepare(dir: &Path, refs: &RefSnapshot, cancel: &CancellationToken) -> Result<PackCopy, Unsuited> {
    let files = PackFiles::list(dir)?;
    let cache = files.size().clamp(MIB / 4, CACHE);
    let mib = (files.memory() + cache + reach::LOOSE_BYTES).div_ceil(MIB);
    let mib = u32::try_from(mib).ok().filter(|mib| *mib <= MEMORY_MIB);
    let mib = mib.ok_or_else(|| Unsuited(format!("{}: has many objects", dir.display())))?;
    let memory = Handle::current().block_on(MEMORY.acquire_many(mib));
    let memory = memory.map_err(|e| Unsuited(e.to_string()))?;
    let set = files.open(refs.object_format)?;
    let cache = cache as usize;
    let reached = Reached::from(&set, refs, cache, cancel)?;
    let arrangement = Arrangement::of(&set, &reached)?;
    Ok(PackCopy { set, reached, arrangement, cache, _memory: memory })
}
