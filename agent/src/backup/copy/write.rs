//! Writing the copy: a header, entries from the packs, loose objects, a trailer.
//!
//! Does not own: what is copied (`arrange`), or the index of the copy (`index`), which is told where everything went. Entries keep their bytes; only where something was left out between a delta
//! and its base is the distance written anew, and where the base itself was left out, the object. Every byte of a pack
//! that takes part is read, so its checksum is proven before this returns without an error.

use std::io::{self, Write};

use crc32fast::Hasher;
use gix::{
    ObjectId,
    odb::pack::data::{self, entry::Header},
};
use tokio_util::sync::CancellationToken;

use super::{
    PackCopy, Parts, Selection,
    arrange::{Part, source},
    index::{Changed, IndexSource, Made, Written},
};
use crate::packs::{Feed, FeedError, Location, Pack, PackFile, PackHash, Unsuited, object_entry};

/// Of the packs' bytes, one in so many may be added by writing out what was a delta: part sizes allow for that.
const ONE_IN: u64 = 16;
/// The same for small packs.
const ADDED_AT_LEAST: u64 = 1 << 20;

/// Why a copy was not completed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A pack is damaged or cannot be read.
    #[error("{0}")]
    Pack(String),
    /// The receiver failed.
    #[error("{0}")]
    Receiver(io::Error),
    /// A stop was asked for.
    #[error("asked to stop")]
    Cancelled,
    /// It turns out that git has to do it.
    #[error("{0}")]
    Unsuited(Unsuited),
    /// An object that refs lead to was not found.
    #[error("{0} is in no pack and not loose")]
    Lost(ObjectId),
}

impl From<FeedError> for CopyError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Pack(finding) => Self::Pack(finding),
            FeedError::Receiver(error) => Self::Receiver(error),
            FeedError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Unsuited> for CopyError {
    fn from(reason: Unsuited) -> Self {
        Self::Unsuited(reason)
    }
}

impl PackCopy {
    /// Bytes of the pack, about.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the pack, and gives what its index is made from. Blocking.
    pub fn write(self, out: &mut impl Write, cancel: &CancellationToken) -> Result<Written, CopyError> {
        match self.parts {
            Parts::File(file, index) => {
                copy_file(&file, out, cancel)?;
                Ok(Written {
                    index: IndexSource::File(file, index),
                    objects: self.objects,
                    _memory: self.memory,
                })
            }
            Parts::Selection(selection) => {
                let made = selection.write(self.objects, out, cancel)?;
                Ok(Written { index: IndexSource::Made(made), objects: self.objects, _memory: self.memory })
            }
        }
    }
}

fn copy_file(file: &PackFile, out: &mut impl Write, cancel: &CancellationToken) -> Result<(), FeedError> {
    let mut feed = Feed::new(file, cancel);
    feed.copy_to(file.body().end, out)?;
    feed.finish()?;
    out.write_all(file.checksum()).map_err(FeedError::Receiver)
}

fn copy_entries(file: &PackFile, out: &mut impl Write, cancel: &CancellationToken) -> Result<(), FeedError> {
    let mut feed = Feed::new(file, cancel);
    feed.skip_to(file.body().start)?;
    feed.copy_to(file.body().end, out)?;
    feed.finish()
}

/// Where the entries of a pack went.
pub enum Placed {
    /// They were left out.
    Nowhere,
    /// As they lay, the first one at this offset.
    Whole(u64),
    /// By place; 0 for those that were left out.
    Some(Vec<u64>),
}

impl Selection {
    fn write<W: Write>(
        self,
        objects: u32,
        out: &mut W,
        cancel: &CancellationToken,
    ) -> Result<Made, CopyError> {
        let mut out = PackWriter { out, hash: PackHash::new(self.set.format()), crc: None, written: 0 };
        let failed = CopyError::Receiver;
        out.write_all(&data::header::encode(data::Version::V2, objects)).map_err(failed)?;
        let (mut placed, mut changed) = (Vec::new(), Changed::new());
        for (number, pack) in self.set.packs().iter().enumerate() {
            let place = match self.arrangement.parts[number] {
                Part::Nothing => Placed::Nowhere,
                Part::Whole => {
                    let first = out.written;
                    copy_entries(pack.file(), &mut out, cancel)?;
                    Placed::Whole(first)
                }
                Part::Some => {
                    Placed::Some(self.copy_some(number, &placed, &mut changed, &mut out, cancel)?)
                }
            };
            placed.push(place);
        }
        let mut loose = Vec::with_capacity(self.loose.len());
        for (oid, entry) in &self.loose {
            let offset = out.written;
            loose.push((*oid, offset, out.write_new(|out| out.write_all(entry)).map_err(failed)?));
        }
        let PackWriter { out, hash, .. } = out;
        let checksum = hash.finish();
        out.write_all(&checksum).map_err(failed)?;
        Ok(Made::new(self.set, placed, changed, loose, checksum))
    }

    fn copy_some<W: Write>(
        &self,
        number: usize,
        before: &[Placed],
        changed: &mut Changed,
        out: &mut PackWriter<'_, W>,
        cancel: &CancellationToken,
    ) -> Result<Vec<u64>, CopyError> {
        let (pack, orphans) = (&self.set.packs()[number], &self.arrangement.orphans[number]);
        let mut decoder = self.limits.decoder();
        let mut room = (pack.file().body().end / ONE_IN).max(ADDED_AT_LEAST);
        let mut feed = Feed::new(pack.file(), cancel);
        let (mut offsets, mut data) = (vec![0; pack.count() as usize], Vec::new());
        for place in self.reached.marks[number].iter() {
            let range = pack.range(place);
            offsets[place as usize] = out.written;
            feed.skip_to(range.start)?;
            let at = Location { pack: number as u32, place };
            if orphans.binary_search(&place).is_ok() {
                let kind = decoder.decode(number as u32, pack, place, &mut data)?;
                let entry = object_entry(kind, &data).map_err(|e| Unsuited(e.to_string()))?;
                let left = room.checked_sub(entry.len() as u64);
                room = left.ok_or_else(|| Unsuited("much would have to be written out".into()))?;
                changed.push((at, out.write_new(|out| out.write_all(&entry)).map_err(CopyError::Receiver)?));
                continue;
            }
            let entry = pack.entry(place)?;
            let header = match entry.header.is_delta() {
                true => self.header_of_delta(at, &entry, &offsets, before, out.written)?,
                false => entry.header,
            };
            if header == entry.header {
                feed.copy_to(range.end, out)?;
                continue;
            }
            let write = |out: &mut PackWriter<'_, W>| -> Result<(), CopyError> {
                header.write_to(entry.decompressed_size, out).map_err(CopyError::Receiver)?;
                feed.skip_to(entry.data_offset.min(range.end))?;
                Ok(feed.copy_to(range.end, out)?)
            };
            changed.push((at, out.write_new(write)?));
        }
        feed.finish()?;
        Ok(offsets)
    }

    /// The header of a delta where its base went, when the delta itself goes to `written`.
    fn header_of_delta(
        &self,
        at: Location,
        entry: &data::Entry,
        offsets: &[u64],
        before: &[Placed],
        written: u64,
    ) -> Result<Header, CopyError> {
        let base = self.set.pack(at).base(entry).map(|place| Location { place, ..at });
        let base = base.and_then(|base| source(&self.set, &self.reached, base));
        let base = base.ok_or_else(|| Unsuited("the base of a delta is gone".into()))?;
        let offset = match base.pack {
            same if same == at.pack => Some(offsets[base.place as usize]).filter(|offset| *offset > 0),
            other => before[other as usize].offset(self.set.pack(base), base.place),
        };
        Ok(match offset {
            Some(offset) => Header::OfsDelta { base_distance: written - offset },
            // The base follows, in this pack.
            None => Header::RefDelta { base_id: self.set.pack(base).oid(base.place).to_owned() },
        })
    }
}

impl Placed {
    /// Where an entry went; none when it was left out.
    pub fn offset(&self, pack: &Pack, place: u32) -> Option<u64> {
        match self {
            Self::Nowhere => None,
            Self::Whole(first) => Some(pack.range(place).start - pack.file().body().start + first),
            Self::Some(offsets) => Some(offsets[place as usize]).filter(|offset| *offset > 0),
        }
    }
}

/// Counts and hashes what goes into the pack.
struct PackWriter<'a, W> {
    out: &'a mut W,
    hash: PackHash,
    /// Of the entry at hand, where no index has it.
    crc: Option<Hasher>,
    written: u64,
}

impl<W: Write> PackWriter<'_, W> {
    /// Writes an entry that no index knows, and gives its checksum.
    fn write_new<E>(&mut self, write: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<u32, E> {
        self.crc = Some(Hasher::new());
        let written = write(self);
        let crc = self.crc.take();
        written.map(|()| crc.map_or(0, Hasher::finalize))
    }
}

impl<W: Write> Write for PackWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        if let Some(crc) = &mut self.crc {
            crc.update(&bytes[..taken]);
        }
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
