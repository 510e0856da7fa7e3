//! A pack read from its first byte to its last, its checksum proven on the way.
//!
//! Does not own: where the bytes go. Whoever uses a feed must end it with [`Feed::finish`]; until then nothing that it
//! gave is known to be what git wrote.

use std::io::{self, Write};

use tokio_util::sync::CancellationToken;

use super::{PackFile, PackHash};

/// Bytes read at once.
const CHUNK: u64 = 256 * 1024;

/// A pack on its way.
pub struct Feed<'a> {
    pack: &'a PackFile,
    cancel: &'a CancellationToken,
    hash: PackHash,
    at: u64,
    buffer: Vec<u8>,
}

/// What a feed ends with.
#[derive(Debug)]
pub enum FeedError {
    /// The pack cannot be read, or is not what git wrote.
    Pack(String),
    /// The receiver failed.
    Receiver(io::Error),
    /// A stop was asked for.
    Cancelled,
}

impl<'a> Feed<'a> {
    /// Starts before the first byte.
    pub fn new(pack: &'a PackFile, cancel: &'a CancellationToken) -> Self {
        Self { pack, cancel, hash: PackHash::new(pack.format()), at: 0, buffer: Vec::new() }
    }

    /// Reads on to `offset`, for the checksum only.
    pub fn skip_to(&mut self, offset: u64) -> Result<(), FeedError> {
        self.copy_to(offset, &mut io::sink())
    }

    /// Reads on to `offset` and hands the bytes over.
    pub fn copy_to(&mut self, offset: u64, out: &mut impl Write) -> Result<(), FeedError> {
        while self.at < offset {
            if self.cancel.is_cancelled() {
                return Err(FeedError::Cancelled);
            }
            let end = offset.min(self.at + CHUNK);
            let bytes = self.pack.read(self.at..end, &mut self.buffer);
            let bytes =
                bytes.map_err(|e| FeedError::Pack(format!("pack {}: {e}", self.pack.path().display())))?;
            self.hash.update(bytes);
            out.write_all(bytes).map_err(FeedError::Receiver)?;
            self.at = end;
        }
        Ok(())
    }

    /// Reads the rest and compares the checksum of all bytes with the pack's own.
    pub fn finish(mut self) -> Result<(), FeedError> {
        self.skip_to(self.pack.body().end)?;
        if self.hash.finish() == self.pack.checksum() {
            return Ok(());
        }
        let path = self.pack.path().display();
        Err(FeedError::Pack(format!("pack {path} is damaged: its checksum is wrong")))
    }
}
