//! A large object, read as ranges of which several are under way at once, in order.
//!
//! Does not own: retries (the HTTP client's) or digests (`read`). The range that is read now passes as it comes and takes
//! no memory; the ones after it are held whole, each within a budget that all readers of a vault share and that nobody
//! waits for. So a reader always gets on, however many there are. A store that knows no ranges gives the object as a whole.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use object_store::{GetOptions, GetRange, GetResult, Result};
use packhorse_model::ObjectDigest;
use tokio::{sync::OwnedSemaphorePermit, task::JoinSet};

use crate::{ObjectKey, Vault, VaultError};

/// Bytes of a range, and MiB of it.
pub(crate) const RANGE: u64 = 8 << 20;
const RANGE_MIB: u32 = 8;
/// MiB of ranges that all readers of a vault hold beyond the ones that they read.
pub(crate) const AHEAD_MIB: usize = 40;

type Chunks = BoxStream<'static, Result<Bytes>>;

/// A range that is fetched before it is needed.
struct Ahead {
    /// One task, which ends with this value.
    fetching: JoinSet<Result<Vec<Bytes>>>,
    room: OwnedSemaphorePermit,
}

/// An object on its way.
struct Ranges {
    vault: Vault,
    key: ObjectKey,
    size: u64,
    /// Where the first range begins that nobody has asked for.
    next: u64,
    now: Option<Chunks>,
    ahead: VecDeque<Ahead>,
    /// The room of the range that is read now, when it was fetched before.
    held: Option<OwnedSemaphorePermit>,
}

impl Vault {
    /// Whether an object of this size is read as ranges: none of a folder, which has no way to wait for.
    pub(crate) fn has_ranges(&self, size: u64) -> bool {
        self.local_folder().is_none() && size > 2 * RANGE
    }

    /// The bytes of an object of a known size.
    pub(crate) async fn ranged(
        &self,
        key: &ObjectKey,
        digest: &ObjectDigest,
    ) -> std::result::Result<Chunks, VaultError> {
        let size = digest.size;
        let first = match self.get_range(key, 0..RANGE.min(size)).await {
            Err(error) if is_about_ranges(&error) => return Ok(self.open_get(key).await?.into_stream()),
            first => first.map_err(|e| VaultError::from_store("read object", key.as_str(), e))?,
        };
        if first.meta.size != size {
            let finding = format!("has {} bytes, must have {size}", first.meta.size);
            return Err(VaultError::corrupt("read object", key, finding));
        }
        let ranges = Ranges {
            vault: self.clone(),
            key: key.clone(),
            size,
            next: RANGE.min(size),
            now: Some(first.into_stream()),
            ahead: VecDeque::new(),
            held: None,
        };
        Ok(stream::try_unfold(ranges, |mut ranges| async move {
            Ok(ranges.chunk().await?.map(|chunk| (chunk, ranges)))
        })
        .boxed())
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<GetResult> {
        self.counter().get();
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        self.store().get_opts(&self.path(key), options).await
    }
}

impl Ranges {
    /// The next bytes; none at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.look_ahead();
            if let Some(now) = &mut self.now {
                match now.next().await {
                    Some(chunk) => return chunk.map(Some),
                    None => (self.now, self.held) = (None, None),
                }
            } else if let Some(Ahead { mut fetching, room }) = self.ahead.pop_front() {
                self.held = Some(room);
                let Some(chunks) = fetching.join_next().await else { continue };
                let chunks = chunks.map_err(|source| object_store::Error::JoinError { source })??;
                self.now = Some(stream::iter(chunks).map(Ok).boxed());
            } else if self.next < self.size {
                let range = self.take();
                self.now = Some(self.vault.get_range(&self.key, range).await?.into_stream());
            } else {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Range<u64> {
        let start = self.next;
        self.next = self.size.min(start + RANGE);
        start..self.next
    }

    /// Asks for as many ranges as there is room for.
    fn look_ahead(&mut self) {
        while self.next < self.size {
            let Ok(room) = Arc::clone(self.vault.read_ahead()).try_acquire_many_owned(RANGE_MIB) else {
                return;
            };
            let (vault, key, range) = (self.vault.clone(), self.key.clone(), self.take());
            let fetch = async move { vault.get_range(&key, range).await?.into_stream().try_collect().await };
            let mut fetching = JoinSet::new();
            fetching.spawn(fetch);
            self.ahead.push_back(Ahead { fetching, room });
        }
    }
}

/// Whether the store gave, or would rather give, something else than the range that was asked for.
fn is_about_ranges(error: &object_store::Error) -> bool {
    let mut causes = Some(error as &dyn std::error::Error);
    while let Some(cause) = causes {
        let text = cause.to_string();
        if ["non-partial response", "Content-Range", "416 ", "Requested "]
            .iter()
            .any(|part| text.contains(part))
        {
            return true;
        }
        causes = cause.source();
    }
    false
}
