//! A compressed object of the vault as plain bytes, proven at the end.
//!
//! Does not own: what the bytes mean. Nobody may act on the bytes for good before [`PlainReader::prove`] has said that
//! the compressed object has its digest and the plain bytes have their number. Reading ends with an error when the
//! token is cancelled.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use packhorse_model::{ErrorKind, ObjectDigest, Problem, Subject};
use packhorse_vault::{ObjectKey, Vault, VaultError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::ahead::{self, Pieces};

/// A blocking reader of plain bytes.
pub(crate) struct PlainReader {
    pieces: Pieces,
    piece: Bytes,
    ended: bool,
    runtime: Handle,
    object: ObjectDigest,
    plain: u64,
    cancel: CancellationToken,
    progress: Box<dyn Fn(u64) + Send>,
}

impl PlainReader {
    /// Opens the object at `key`, which must be what the digest says.
    pub(crate) async fn open(
        vault: &Vault,
        key: &ObjectKey,
        object: &ObjectDigest,
        cancel: &CancellationToken,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Self, Problem> {
        let reader = vault.reader(key, Some(object)).await?;
        Ok(Self {
            pieces: ahead::inflate(reader),
            piece: Bytes::new(),
            ended: false,
            runtime: Handle::current(),
            object: object.clone(),
            plain: 0,
            cancel: cancel.clone(),
            progress: Box::new(progress),
        })
    }

    /// Reads what is left, and proves the object's digest and the number of plain bytes.
    pub(crate) fn prove(mut self, plain: u64) -> Result<(), Problem> {
        io::copy(&mut self, &mut io::sink()).map_err(|error| self.problem(&error))?;
        if self.plain == plain {
            return Ok(());
        }
        Err(self.corrupt(format!("holds {} bytes once decompressed, must hold {plain}", self.plain)))
    }

    /// Waits for more, but not when asked to stop.
    fn next_piece(&mut self) -> io::Result<()> {
        let Self { pieces, cancel, .. } = self;
        let next = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(stopped()),
                piece = pieces.recv() => Ok(piece),
            }
        })?;
        self.piece = next.unwrap_or_else(|| Err(io::Error::other("reading ahead ended early")))?;
        self.ended = self.piece.is_empty();
        Ok(())
    }

    /// The problem that an error of reading stands for.
    pub(crate) fn problem(&self, error: &io::Error) -> Problem {
        if self.cancel.is_cancelled() {
            return Problem::cancelled("read object");
        }
        match VaultError::of_io(error) {
            Some(vault) => vault.clone().into(),
            None => self.corrupt(error),
        }
    }

    /// The problem of an object that is not what was stored.
    pub(crate) fn corrupt(&self, finding: impl std::fmt::Display) -> Problem {
        Problem::new(ErrorKind::Corrupt, Subject::Vault, "read object")
            .on(&self.object.path)
            .answered(finding)
            .next("restore from another backup, and verify this one")
    }
}

impl Read for PlainReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(stopped());
        }
        if self.piece.is_empty() && !self.ended {
            self.next_piece()?;
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        self.plain += length as u64;
        (self.progress)(self.plain);
        Ok(length)
    }
}

fn stopped() -> io::Error {
    io::Error::other("asked to stop")
}
