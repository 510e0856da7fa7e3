//! The memory of everything that is packed in this process, at once and for all storages: one budget.
//!
//! Does not own: what is done with it. It is taken as a whole before it is filled, so nobody who has some waits for more.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};
use tokio_util::sync::CancellationToken;

use crate::packs::Unsuited;

const MIB: u64 = 1 << 20;
/// MiB of tables and caches that all packing in this process may hold.
const MEMORY_MIB: u32 = 112;
static MEMORY: Semaphore = Semaphore::const_new(MEMORY_MIB as usize);

/// Takes so many bytes, and waits for them as long as that. Blocking.
pub fn take(
    bytes: u64,
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<SemaphorePermit<'static>, Unsuited> {
    let unsuited = |finding: &str| Unsuited(finding.into());
    let mib = u32::try_from(bytes.div_ceil(MIB)).ok().filter(|mib| *mib <= MEMORY_MIB);
    let mib = mib.ok_or_else(|| unsuited("needs more memory than there is"))?;
    if let Ok(memory) = MEMORY.try_acquire_many(mib) {
        return Ok(memory);
    }
    let waiting = async {
        tokio::select! {
            memory = MEMORY.acquire_many(mib) => memory.ok(),
            () = tokio::time::sleep(patience) => None,
            () = cancel.cancelled() => None,
        }
    };
    Handle::current().block_on(waiting).ok_or_else(|| unsuited("waited for memory"))
}

/// Gives back all but what `bytes` take.
pub fn keep(mut memory: SemaphorePermit<'static>, bytes: u64) -> SemaphorePermit<'static> {
    let kept = usize::try_from(bytes.div_ceil(MIB)).unwrap_or(usize::MAX);
    memory.split(kept.min(memory.num_permits())).unwrap_or(memory)
}
