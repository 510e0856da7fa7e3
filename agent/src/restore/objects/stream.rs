//! A pack on its way from a bundle into a file.
//!
//! Does not own: what the bytes mean. Whoever reads the stream writes the file by that, byte for byte, whatever it
//! makes of them. A read or write error is kept until somebody can be told, and [`PackStream::finish`] tells it, so a
//! reader that hides errors cannot hide that one; it also reads the bundle to its end, which proves its digest.

use std::{
    fs::File,
    io::{self, BufRead, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use gix::hash::{Hasher, ObjectId, hasher};
use packhorse_vault::ObjectFormat;

use super::create;
use crate::{git::hash_kind, restore::Progress};

/// Bytes that go to the file at once.
const WRITE_BUFFER: usize = 256 * 1024;

/// A pack that is read and written at once.
pub(super) struct PackStream<R> {
    input: R,
    file: BufWriter<File>,
    path: PathBuf,
    kind: gix::hash::Kind,
    hash: Hasher,
    crc: crc32fast::Hasher,
    offset: u64,
    failure: Option<io::Error>,
    progress: Progress,
}

/// A pack file that holds a whole bundle's pack.
pub(super) struct PackFile {
    /// Where it lies for now.
    pub path: PathBuf,
    /// Bytes that nobody read before the stream was finished.
    pub unread: u64,
}

impl<R: BufRead> PackStream<R> {
    /// Starts the file of a step's pack.
    pub(super) fn create(
        input: R,
        folder: &Path,
        number: usize,
        format: ObjectFormat,
        progress: &Progress,
    ) -> io::Result<Self> {
        let path = folder.join(format!("step-{number}.pack"));
        let file = create(&path)?;
        let kind = hash_kind(format);
        Ok(Self {
            input,
            file: BufWriter::with_capacity(WRITE_BUFFER, file),
            path,
            kind,
            hash: hasher(kind),
            crc: crc32fast::Hasher::new(),
            offset: 0,
            failure: None,
            progress: progress.clone(),
        })
    }

    /// Bytes of the pack so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The restore that this is part of.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Hands everything read so far to the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// The hash of the pack's objects.
    pub(super) fn kind(&self) -> gix::hash::Kind {
        self.kind
    }

    /// Starts a new checksum.
    pub(super) fn start_crc(&mut self) {
        self.crc.reset();
    }

    /// The checksum of everything since its start.
    pub(super) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// Reads the pack's trailer and compares it with the hash of everything before.
    pub(super) fn read_trailer(&mut self) -> io::Result<ObjectId> {
        let hash = std::mem::replace(&mut self.hash, hasher(self.kind));
        let found = hash.try_finalize().map_err(|e| io::Error::other(e.to_string()))?;
        let mut trailer = ObjectId::null(self.kind);
        self.read_exact(trailer.as_mut_slice())?;
        if trailer == found {
            return Ok(trailer);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "pack does not have the hash that its trailer says"))
    }

    /// Reads what is left of the bundle, which proves its digest, and completes the file.
    pub(super) fn finish(mut self) -> io::Result<PackFile> {
        let mut unread = 0;
        while let Ok(len) = self.fill_buf().map(<[u8]>::len)
            && len > 0
        {
            self.consume(len);
            unread += len as u64;
        }
        match self.failure {
            Some(error) => Err(error),
            None => {
                self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
                Ok(PackFile { path: self.path, unread })
            }
        }
    }
}

impl<R: BufRead> BufRead for PackStream<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.progress.is_stopped() && self.failure.is_none() {
            self.failure = Some(io::Error::other("asked to stop"));
        }
        if let Some(error) = &self.failure {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        match self.input.fill_buf() {
            Ok(_) => self.input.fill_buf(),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failure = Some(error);
                Err(told)
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        // The caller has just seen these bytes, so they are buffered and this cannot fail.
        let Ok(bytes) = self.input.fill_buf() else { return };
        let bytes = &bytes[..amount];
        self.hash.update(bytes);
        self.crc.update(bytes);
        if let Err(error) = self.file.write_all(bytes) {
            self.failure.get_or_insert(error);
        }
        self.offset += amount as u64;
        self.progress.add_bytes(amount as u64);
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for PackStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}
