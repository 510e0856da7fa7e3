//! Writing the copy: a header, entries from the packs, loose objects, a trailer.
//!
//! Does not own: what is copied (`arrange`). Entries keep their bytes; only where something was left out between a delta
//! and its base is the distance written anew, and where the base itself was left out, the object. Every byte of a pack
//! that takes part is read, so its checksum is proven before this returns without an error.

use std::io::{self, Write};

use gix::odb::pack::data::{self, entry::Header};
use packhorse_vault::ObjectFormat;
use tokio_util::sync::CancellationToken;

use super::{
    PackCopy, Parts, Selection,
    arrange::{Part, source},
};
use crate::packs::{Feed, FeedError, Location, Pack, PackFile, PackHash, Unsuited, object_entry};

/// Of the packs' bytes, one in so many may be added by writing out what was a delta: part sizes allow for that.
const ONE_IN: u64 = 16;
/// The same for small packs.
const ADDED_AT_LEAST: u64 = 1 << 20;

/// Why a copy was not completed.
#[derive(Debug)]
pub enum CopyError {
    /// A pack is damaged or cannot be read.
    Pack(String),
    /// The receiver failed.
    Receiver(io::Error),
    /// A stop was asked for.
    Cancelled,
    /// It turns out that git has to do it.
    Unsuited(Unsuited),
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

    /// Writes the pack. Blocking.
    pub fn write(
        &self,
        format: ObjectFormat,
        out: &mut impl Write,
        cancel: &CancellationToken,
    ) -> Result<(), CopyError> {
        if let (Parts::Whole(files), true) = (&self.parts, self.loose.is_empty())
            && let [file] = files.as_slice()
        {
            return Ok(copy_file(file, out, cancel)?);
        }
        let mut out = PackWriter { out, hash: PackHash::new(format), written: 0 };
        let failed = CopyError::Receiver;
        out.write_all(&data::header::encode(data::Version::V2, self.objects)).map_err(failed)?;
        match &self.parts {
            Parts::Whole(files) => {
                for file in files {
                    copy_entries(file, &mut out, cancel)?;
                }
            }
            Parts::Some(selection) => selection.write(&mut out, cancel)?,
        }
        for entry in &self.loose {
            out.write_all(entry).map_err(failed)?;
        }
        out.out.write_all(&out.hash.finish()).map_err(failed)
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
enum Placed {
    Nowhere,
    /// As they lay, the first one at this offset.
    Whole(u64),
    /// By place; 0 for those that were left out.
    Some(Vec<u64>),
}

impl Selection {
    fn write<W: Write>(
        &self,
        out: &mut PackWriter<'_, W>,
        cancel: &CancellationToken,
    ) -> Result<(), CopyError> {
        let mut placed: Vec<Placed> = Vec::new();
        for (number, pack) in self.set.packs().iter().enumerate() {
            let place = match self.arrangement.parts[number] {
                Part::Nothing => Placed::Nowhere,
                Part::Whole => {
                    let first = out.written;
                    copy_entries(pack.file(), out, cancel)?;
                    Placed::Whole(first)
                }
                Part::Some => Placed::Some(self.copy_some(number, &placed, out, cancel)?),
            };
            placed.push(place);
        }
        Ok(())
    }

    fn copy_some<W: Write>(
        &self,
        number: usize,
        before: &[Placed],
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
            if orphans.binary_search(&place).is_ok() {
                let kind = decoder.decode(number as u32, pack, place, &mut data)?;
                let entry = object_entry(kind, &data).map_err(|e| Unsuited(e.to_string()))?;
                let left = room.checked_sub(entry.len() as u64);
                room = left.ok_or_else(|| Unsuited("much would have to be written out".into()))?;
                out.write_all(&entry).map_err(CopyError::Receiver)?;
                continue;
            }
            let entry = pack.entry(place)?;
            if entry.header.is_delta() {
                let at = pack.base(&entry).map(|place| Location { pack: number as u32, place });
                let base = at.and_then(|at| source(&self.set, &self.reached, at));
                let base = base.ok_or_else(|| Unsuited("the base of a delta is gone".into()))?;
                let offset = match base.pack as usize {
                    same if same == number => Some(offsets[base.place as usize]).filter(|offset| *offset > 0),
                    other => before[other].offset(&self.set.packs()[other], base.place),
                };
                let header = match offset {
                    Some(offset) => Header::OfsDelta { base_distance: out.written - offset },
                    // The base follows, in this pack.
                    None => Header::RefDelta { base_id: self.set.pack(base).oid(base.place).to_owned() },
                };
                header.write_to(entry.decompressed_size, out).map_err(CopyError::Receiver)?;
                feed.skip_to(entry.data_offset.min(range.end))?;
            }
            feed.copy_to(range.end, out)?;
        }
        feed.finish()?;
        Ok(offsets)
    }
}

impl Placed {
    fn offset(&self, pack: &Pack, place: u32) -> Option<u64> {
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
    written: u64,
}

impl<W: Write> Write for PackWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
