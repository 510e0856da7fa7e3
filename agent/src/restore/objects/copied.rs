//! A pack that was stored with its index: both are written as they are.
//!
//! Does not own: packs without an index (`held`, `index`). What is proven, and why that is enough: the SHA-256 of the
//! bundle and of the index, which the manifest names, prove every byte of both, so nothing that happened to them in the
//! vault passes. That the two belong together follows from the index's form, its own checksum, the pack's checksum
//! in its trailer, and the number of objects. The pack's own hash over its bytes would prove the same bytes again, and is
//! not computed; no object is inflated. What git made of the source's objects was proven when the backup was made.
//!
//! An index can be made again from its bundle. So one that is missing or damaged fails nothing: it is remarked.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    num::NonZero,
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    thread,
};

use bytes::Bytes;
use packhorse_model::Problem;
use packhorse_vault::{ObjectFormat, ObjectKey, ObjectReader, VaultError};
use rustix::fs::{Advice, fadvise};

use super::{Objects, create, hex, index};
use crate::{
    packs::PackHash,
    restore::io_problem::{corrupt, io_problem, vault_problem},
};

/// Bundles from this size on are written by a thread of their own, while the next bytes are read and hashed.
const LARGE: u64 = 8 << 20;
/// Chunks between the two.
const CHUNKS: usize = 4;
/// Bytes that the disk is asked to write at once.
const EARLY: u64 = 8 << 20;

/// An index that is in the repository under construction.
pub(super) struct Index {
    path: PathBuf,
    key: String,
    objects: u32,
    pack: Vec<u8>,
}

/// Brings the index of a step's pack, when the manifest names one that is whole.
pub(super) fn fetch(objects: &Objects<'_>, number: usize, bundle: &str) -> Result<Option<Index>, Problem> {
    let key = format!("{}.idx", bundle.strip_suffix(".bundle").unwrap_or(bundle));
    let Some(digest) = objects.manifest.digest(&key) else { return Ok(None) };
    let path = objects.repository.join(format!("objects/pack/step-{number}.idx"));
    let stored = ObjectKey::from_stored(&key)?;
    let read = match objects.git.unless_stopped("read index", objects.vault.reader(&stored, Some(digest)))? {
        Ok(reader) => receive_index(objects, reader.until(objects.git.cancel().clone()), &path, digest.size),
        Err(error) => Err(VaultError::into_io(error)),
    };
    match read {
        Ok((count, pack)) => Ok(Some(Index { path, key, objects: count, pack })),
        Err(_) if objects.git.is_stopped() => Err(Problem::cancelled("restore repository")),
        Err(error) => {
            remark(objects, &key, &error);
            forget(&path)?;
            Ok(None)
        }
    }
}

fn forget(path: &Path) -> Result<(), Problem> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_problem("remove file", path.display(), &error))
        }
        _ => Ok(()),
    }
}

/// Says that an index could not be used.
fn remark(objects: &Objects<'_>, key: &str, error: &io::Error) {
    let problem = match VaultError::of_io(error) {
        Some(error) => vault_problem(error.clone()),
        None => corrupt("read index", key, error),
    };
    objects.remark(
        problem
            .leaving("the repository was restored all the same: the index was made again from the bundle")
            .next("find out what happened to the vault; the next full backup stores a new one"),
    );
}

/// Writes an index, and gives the number of its objects and the checksum of its pack.
fn receive_index(
    objects: &Objects<'_>,
    mut reader: ObjectReader,
    path: &Path,
    size: u64,
) -> io::Result<(u32, Vec<u8>)> {
    let mut file = create(path)?;
    let mut check = IndexCheck::new(objects.format, size);
    loop {
        let chunk = reader.next_bytes()?;
        if chunk.is_empty() {
            return check.finish().ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "is no index of git's version 2, or is not whole")
            });
        }
        check.see(&chunk);
        file.write_all(&chunk)?;
        objects.progress.add_bytes(chunk.len() as u64);
    }
}

/// Brings the pack that an index is for. When it is another's, git makes the right one.
pub(super) fn copy(
    objects: &Objects<'_>,
    bundle: &str,
    number: usize,
    reader: ObjectReader,
    index: &Index,
) -> Result<(), Problem> {
    let path = objects.repository.join(format!("objects/pack/step-{number}.pack"));
    let file = create(&path).map_err(|e| io_problem("write pack", path.display(), &e))?;
    let size = objects.manifest.digest(bundle).map_or(u64::MAX, |digest| digest.size);
    let ends =
        if size >= LARGE { receive_beside(objects, reader, file) } else { receive(objects, reader, file) };
    let ends = ends.map_err(|error| objects.read_problem(bundle, &error))?;
    if ends.fit(index) {
        return index::keep(&path, &hex(&index.pack));
    }
    remark(objects, &index.key, &io::Error::new(io::ErrorKind::InvalidData, "is not the index of this pack"));
    forget(&index.path)?;
    index::index_by_git(objects, bundle, &path, false)
}

/// Reads a pack to its end, which proves the bundle's digest, and hands the chunks over.
fn read(
    objects: &Objects<'_>,
    mut reader: ObjectReader,
    mut out: impl FnMut(Bytes) -> io::Result<()>,
) -> io::Result<Ends> {
    let mut ends = Ends::new(objects.format);
    loop {
        if objects.progress.is_stopped() {
            return Err(io::Error::other("asked to stop"));
        }
        let chunk = reader.next_bytes()?;
        if chunk.is_empty() {
            return Ok(ends);
        }
        ends.see(&chunk);
        objects.progress.add_bytes(chunk.len() as u64);
        out(chunk)?;
    }
}

fn receive(objects: &Objects<'_>, reader: ObjectReader, mut file: File) -> io::Result<Ends> {
    read(objects, reader, |chunk| file.write_all(&chunk))
}

fn receive_beside(objects: &Objects<'_>, reader: ObjectReader, mut file: File) -> io::Result<Ends> {
    thread::scope(|scope| {
        let (send, chunks) = sync_channel::<Bytes>(CHUNKS);
        let writing = scope.spawn(move || write_early(chunks, &mut file));
        let ends =
            read(objects, reader, |chunk| send.send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into()));
        drop(send);
        // Why the writer ended comes first: the reader only sees that it has.
        writing.join().map_err(|_| io::Error::other("the writer of a pack panicked"))??;
        ends
    })
}

/// Writes chunks, and has the disk begin with them while others are on their way: the last sync has less to wait for.
fn write_early(chunks: impl IntoIterator<Item = Bytes>, file: &mut File) -> io::Result<()> {
    let (mut begun, mut written) = (0, 0);
    for chunk in chunks {
        file.write_all(&chunk)?;
        written += chunk.len() as u64;
        if let Some(waiting) = NonZero::new(written - begun).filter(|waiting| waiting.get() >= EARLY) {
            // Linux takes this as a request to write them. It is a hint: a file system that takes none loses nothing.
            let _ = fadvise(&*file, begun, Some(waiting), Advice::DontNeed);
            begun = written;
        }
    }
    Ok(())
}

/// The first and last bytes of a stream.
struct Ends {
    first: Vec<u8>,
    last: Vec<u8>,
    /// Bytes of a hash.
    len: usize,
}

impl Ends {
    fn new(format: ObjectFormat) -> Self {
        Self { first: Vec::new(), last: Vec::new(), len: format.len_in_bytes() }
    }

    fn see(&mut self, bytes: &[u8]) {
        if self.first.len() < 12 {
            self.first.extend_from_slice(&bytes[..bytes.len().min(12 - self.first.len())]);
        }
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(self.len)..]);
        let beyond = self.last.len().saturating_sub(self.len);
        self.last.drain(..beyond);
    }

    /// Whether this is the pack that the index is for: its version, its number of objects, its trailer.
    fn fit(&self, index: &Index) -> bool {
        let (head, count) = self.first.split_at(self.first.len().min(8));
        head == b"PACK\0\0\0\x02" && count == index.objects.to_be_bytes() && self.last == index.pack
    }
}

/// What is looked at while an index passes.
struct IndexCheck {
    size: u64,
    len: usize,
    /// Up to the end of the first table, which counts objects.
    head: Vec<u8>,
    /// The last bytes, which are not hashed before it is known that they are no trailer.
    tail: Vec<u8>,
    hash: PackHash,
}

/// Bytes of an index before the object ids.
const HEAD: usize = 8 + 256 * 4;

impl IndexCheck {
    fn new(format: ObjectFormat, size: u64) -> Self {
        let (head, tail, hash) = (Vec::with_capacity(HEAD), Vec::new(), PackHash::new(format));
        Self { size, len: format.len_in_bytes(), head, tail, hash }
    }

    fn see(&mut self, bytes: &[u8]) {
        let missing = HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        let keep = bytes.len().min(self.len * 2);
        let (now, later) = bytes.split_at(bytes.len() - keep);
        // What waited is older than these bytes, so it is hashed first, up to what may still be the trailers.
        let beyond = (self.tail.len() + bytes.len()).saturating_sub(self.len * 2).min(self.tail.len());
        self.hash.update(&self.tail[..beyond]);
        self.tail.drain(..beyond);
        self.hash.update(now);
        self.tail.extend_from_slice(later);
    }

    /// The number of objects and the pack's checksum, when it is an index as git writes it.
    fn finish(mut self) -> Option<(u32, Vec<u8>)> {
        let table = self.head.strip_prefix(b"\xfftOc\0\0\0\x02").filter(|table| table.len() == 1024)?;
        let counts: Vec<u32> =
            table.chunks_exact(4).filter_map(|n| n.first_chunk()).map(|n| u32::from_be_bytes(*n)).collect();
        let objects = *counts.last()?;
        let plain = HEAD as u64 + u64::from(objects) * (self.len as u64 + 8) + 2 * self.len as u64;
        // Beyond that, offsets of more than 31 bits.
        let wide = self.size.checked_sub(plain)?;
        if !counts.is_sorted() || wide % 8 != 0 || wide / 8 > u64::from(objects) {
            return None;
        }
        let (pack, own) = self.tail.split_at_checked(self.len)?;
        self.hash.update(pack);
        (self.hash.finish() == own).then(|| (objects, pack.to_vec()))
    }
}
