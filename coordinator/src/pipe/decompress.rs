//! A compressed object of the vault as plain bytes, proven at the end.
//!
//! Does not own: what the bytes mean. Nobody may act on the bytes for good before [`PlainReader::prove`] has said that
//! the compressed object has its digest and the plain bytes have their number. Reading ends with an error when the
//! token is cancelled.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use packhorse_model::{ErrorKind, ObjectDigest, Problem, Subject};
use packhorse_vault::{ObjectKey, ObjectReader, Vault, VaultError};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// A blocking reader of plain bytes.
pub(crate) struct PlainReader {
    gzip: MultiGzDecoder<ObjectReader>,
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
        // The decoder reads the header at once, and the reader blocks.
        let gzip = spawn_blocking(move || MultiGzDecoder::new(reader)).await.map_err(|panic| {
            Problem::new(ErrorKind::Internal, Subject::Host, "run a blocking task").answered(panic)
        })?;
        Ok(Self {
            gzip,
            object: object.clone(),
            plain: 0,
            cancel: cancel.clone(),
            progress: Box::new(progress),
        })
    }

    /// Reads what is left, and proves the object's digest and the number of plain bytes.
    pub(crate) fn prove(mut self, plain: u64) -> Result<(), Problem> {
        let rest = io::copy(&mut self, &mut io::sink());
        let end = rest.and_then(|_| self.gzip.get_mut().drain());
        end.map_err(|error| self.problem(&error))?;
        if self.plain == plain {
            return Ok(());
        }
        Err(self.corrupt(format!("holds {} bytes once decompressed, must hold {plain}", self.plain)))
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
            return Err(io::Error::other("asked to stop"));
        }
        let length = self.gzip.read(buffer)?;
        self.plain += length as u64;
        (self.progress)(self.plain);
        Ok(length)
    }
}
