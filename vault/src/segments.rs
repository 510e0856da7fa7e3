//! Catalogue segments: what a run has made durable in a storage, written to its journal as it goes, and read by whoever
//! goes on after it.
//!
//! Does not own: which lines are worth it. The segments of one attempt are a prefix of its catalogue, cut into objects:
//! lines in the order of paths, without those that say the same as the base. A segment is whole or not there; damage is
//! found by its checksum and ends the reading, because everything here is a saving of work and nothing depends on it.

use std::{
    collections::VecDeque,
    io::Write,
    time::{Duration, Instant},
};

use packhorse_model::{BackupId, ErrorKind, StorageName};
use tokio::runtime::Handle;

use crate::{CatalogueEntry, CatalogueReader, ObjectKey, RunAttempt, Vault, VaultError};

/// Lines in one segment at most.
const LINES: usize = 1000;
/// Time after which what there is becomes a segment.
const EVERY: Duration = Duration::from_secs(10);

/// Attempts at a run that are read.
const ATTEMPTS: usize = 8;

/// Writes the segments of one attempt at one storage. Blocking.
pub struct SegmentWriter {
    vault: Vault,
    run: RunAttempt,
    storage: StorageName,
    number: usize,
    lines: Vec<CatalogueEntry>,
    since: Instant,
    gone_wrong: bool,
}

impl SegmentWriter {
    /// Nothing is written before there are lines.
    pub fn new(vault: Vault, run: RunAttempt, storage: StorageName) -> Self {
        Self { vault, run, storage, number: 0, lines: Vec::new(), since: Instant::now(), gone_wrong: false }
    }

    /// Adds a line, whose path must come after all before it, and writes a segment when it is time.
    pub fn push(&mut self, entry: &CatalogueEntry) {
        if self.gone_wrong {
            return;
        }
        if self.lines.is_empty() {
            self.since = Instant::now();
        }
        self.lines.push(entry.clone());
        self.write_if_due();
    }

    /// Writes what there is when it has waited long enough: to be called now and then.
    pub fn write_if_due(&mut self) {
        if self.lines.len() >= LINES || !self.lines.is_empty() && self.since.elapsed() >= EVERY {
            self.write();
        }
    }

    /// Writes what there is. After one that cannot be written there are no more, because segments must have no gap.
    pub fn write(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() || self.gone_wrong {
            return;
        }
        if let Err(error) = self.create(&lines) {
            tracing::warn!(%error, "a catalogue segment was not written: whoever goes on after us has more to look for");
            self.gone_wrong = true;
        }
    }

    fn create(&mut self, lines: &[CatalogueEntry]) -> Result<(), VaultError> {
        let key = ObjectKey::segment(&self.run, &self.storage, self.number);
        let bytes = compress(lines)
            .map_err(|e| VaultError::new(ErrorKind::Internal, "write catalogue segment", &key, e))?;
        Handle::current().block_on(self.vault.create(&key, bytes.into()))?;
        self.number += 1;
        Ok(())
    }
}

fn compress(lines: &[CatalogueEntry]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    encoder.include_checksum(true)?;
    for line in lines {
        serde_json::to_writer(&mut encoder, line)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

/// The segments of one attempt, read one after another.
pub struct SegmentReader {
    vault: Vault,
    rest: VecDeque<ObjectKey>,
    open: Option<CatalogueReader>,
}

impl SegmentReader {
    /// Readers of all attempts that a run made at a storage, the newest first.
    pub async fn of_run(
        vault: &Vault,
        id: &BackupId,
        storage: &StorageName,
    ) -> Result<Vec<Self>, VaultError> {
        let folder = ObjectKey::segments(id, storage);
        let mut names = vault.list_names(&folder).await?;
        names.sort();
        let mut attempts: Vec<(String, VecDeque<ObjectKey>)> = Vec::new();
        for name in names {
            let Some((attempt, _)) = name.split_once('-') else { continue };
            let key = ObjectKey::from_stored(&format!("{folder}/{name}"))?;
            match attempts.last_mut() {
                Some((last, keys)) if last == attempt => keys.push_back(key),
                _ => attempts.push((attempt.to_owned(), [key].into())),
            }
        }
        // Each has adopted what the one before it had, as far as it came.
        let readers = attempts.into_iter().rev().take(ATTEMPTS);
        Ok(readers.map(|(_, rest)| Self { vault: vault.clone(), rest, open: None }).collect())
    }

    fn next_segment(&mut self) -> Result<bool, VaultError> {
        let Some(key) = self.rest.pop_front() else { return Ok(false) };
        let bytes = Handle::current().block_on(self.vault.get(&key))?;
        let reader = CatalogueReader::from_bytes(bytes, key.as_str());
        self.open = Some(reader.map_err(|e| VaultError::corrupt("read catalogue segment", &key, e))?);
        Ok(true)
    }

    fn next_line(&mut self) -> Result<Option<CatalogueEntry>, VaultError> {
        loop {
            if let Some(entry) = self.open.as_mut().and_then(Iterator::next) {
                return entry.map(Some);
            }
            if !self.next_segment()? {
                return Ok(None);
            }
        }
    }
}

impl Iterator for SegmentReader {
    type Item = CatalogueEntry;

    /// The next line; none at the end, or where a segment cannot be read. Blocking.
    fn next(&mut self) -> Option<CatalogueEntry> {
        self.next_line().unwrap_or_else(|error| {
            tracing::warn!(%error, "a catalogue segment is unusable: what it lists is looked for elsewhere");
            self.rest.clear();
            self.open = None;
            None
        })
    }
}
