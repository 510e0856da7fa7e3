//! Reading an object as a blocking stream that proves its digest at the end.
//!
//! Does not own: what the bytes mean. A reader that has a digest never reports a clean end of a damaged object; local
//! files are read directly, others as the chunks that the server sends.

use std::{
    fs::File,
    io::{self, BufRead, Read},
};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{GetResult, GetResultPayload};
use packhorse_model::{ObjectDigest, Sha256Hex};
use rustix::{buffer::spare_capacity, io::retry_on_intr};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{ObjectKey, VaultError};

/// A blocking reader of one object. Must be read outside async code.
pub struct ObjectReader {
    key: ObjectKey,
    source: Source,
    chunk: Bytes,
    hash: Option<(ObjectDigest, Sha256)>,
    read: u64,
    ended: bool,
    cancel: CancellationToken,
}

enum Source {
    File(File),
    Stream(BoxStream<'static, object_store::Result<Bytes>>, Handle),
}

/// Bytes read from a local file at once.
const FILE_CHUNK: usize = 256 * 1024;

impl ObjectReader {
    pub(crate) fn new(key: ObjectKey, result: GetResult, digest: Option<ObjectDigest>) -> Self {
        match result.payload {
            GetResultPayload::File(file, _) => Self::of_file(key, file, digest),
            GetResultPayload::Stream(stream) => Self::of_stream(key, stream, digest),
        }
    }

    pub(crate) fn of_file(key: ObjectKey, file: File, digest: Option<ObjectDigest>) -> Self {
        Self::of(key, Source::File(file), digest)
    }

    pub(crate) fn of_stream(
        key: ObjectKey,
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        digest: Option<ObjectDigest>,
    ) -> Self {
        Self::of(key, Source::Stream(stream, Handle::current()), digest)
    }

    fn of(key: ObjectKey, source: Source, digest: Option<ObjectDigest>) -> Self {
        let hash = digest.map(|digest| (digest, Sha256::new()));
        let cancel = CancellationToken::new();
        Self { key, source, chunk: Bytes::new(), hash, read: 0, ended: false, cancel }
    }

    /// The same reader, which waits for no store any more once this is cancelled.
    #[must_use]
    pub fn until(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next bytes as they came, not copied; none at the end, where the digest is proven.
    pub fn next_bytes(&mut self) -> io::Result<Bytes> {
        self.fill_buf()?;
        Ok(std::mem::take(&mut self.chunk))
    }

    /// Reads to the end, so that the digest of the whole object is proven.
    pub fn drain(&mut self) -> io::Result<()> {
        loop {
            let len = self.fill_buf()?.len();
            if len == 0 {
                return Ok(());
            }
            self.consume(len);
        }
    }

    fn next_chunk(&mut self) -> io::Result<Bytes> {
        match &mut self.source {
            Source::File(file) => {
                // With room for one byte more, by which the end is seen.
                let left = self.hash.as_ref().and_then(|(digest, _)| digest.size.checked_sub(self.read));
                let len = left.map_or(FILE_CHUNK, |left| FILE_CHUNK.min(left as usize + 1));
                let mut chunk = Vec::with_capacity(len);
                while chunk.len() < len
                    && retry_on_intr(|| rustix::io::read(&*file, spare_capacity(&mut chunk)))? > 0
                {
                }
                Ok(chunk.into())
            }
            Source::Stream(stream, runtime) => {
                match runtime.block_on(self.cancel.run_until_cancelled(stream.next())) {
                    None => Err(io::Error::other("asked to stop")),
                    Some(None) => Ok(Bytes::new()),
                    Some(Some(Ok(chunk))) => Ok(chunk),
                    Some(Some(Err(error))) => {
                        Err(VaultError::from_store("read object", self.key.as_str(), error).into_io())
                    }
                }
            }
        }
    }

    fn prove(&mut self) -> io::Result<()> {
        let Some((digest, hash)) = self.hash.take() else { return Ok(()) };
        let found = Sha256Hex::from_bytes(hash.finalize().into());
        if found == digest.sha256 && self.read == digest.size {
            return Ok(());
        }
        let finding = format!(
            "has {} bytes with SHA-256 {found}, must have {} bytes with {}",
            self.read, digest.size, digest.sha256
        );
        Err(VaultError::corrupt("read object", &self.key, finding).into_io())
    }
}

impl BufRead for ObjectReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            self.chunk = self.next_chunk()?;
            if self.chunk.is_empty() {
                // Chunks of a stream may be empty only at its end, as object_store documents it for its bodies.
                self.ended = true;
                self.prove()?;
            } else {
                self.read += self.chunk.len() as u64;
                if let Some((_, hash)) = &mut self.hash {
                    hash.update(&self.chunk);
                }
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount);
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::spawn_blocking, time::timeout};

    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_cancelled_waits_for_no_store() {
        let (key, cancel) = (ObjectKey::from_stored("a").expect("a key"), CancellationToken::new());
        let never = futures_util::stream::pending().boxed();
        let mut reader = ObjectReader::of_stream(key, never, None).until(cancel.clone());
        let reading = spawn_blocking(move || reader.next_bytes());
        cancel.cancel();
        let read = timeout(Duration::from_secs(60), reading).await.expect("it waits no longer");
        read.expect("no panic").expect_err("nothing came");
    }
}
