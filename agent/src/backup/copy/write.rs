//! Writing the copy: a header, entries from the packs, loose objects, a trailer.
//!
//! Does not own: what is copied (`arrange`). Entries keep their bytes; only where something was left out between a delta
//! and its base is the distance written anew, and where the base itself was left out, the object. Every byte of a pack that takes part is read, so its checksum is proven
//! before this returns without an error.

use std::io::{self, Write};

use gix::odb::pack::data::entry::Header;
use packhorse_vault::ObjectFormat;
use tokio_util::sync::CancellationToken;

use super::{
    PackCopy,
    arrange::{Part, copied},
};
use crate::packs::{Decoder, Feed, FeedError, Location, Pack, PackHash, object_entry};

/// Why a copy was not completed.
#[derive(Debug)]
pub enum CopyError {
    /// A pack is damaged or cannot be read.
    Pack(String),
    /// The receiver failed.
    Receiver(io::Error),
    /// A stop was asked for.
    Cancelled,
}

impl PackCopy {
    /// Bytes of the pack, about.
    pub fn size(&self) -> u64 {
        self.arrangement.size
    }

    /// Writes the pack. Blocking.
    pub fn write(&self, out: &mut impl Write, cancel: &CancellationToken) -> Result<(), CopyError> {
        let mut out = Cancellable { out, cancel };
        let written = match self.arrangement.only_pack(&self.set, &self.reached) {
            Some(pack) => copy_file(pack, &mut out),
            None => self.assemble(&mut out),
        };
        match written {
            Ok(()) => Ok(()),
            Err(_) if cancel.is_cancelled() => Err(CopyError::Cancelled),
            Err(FeedError::Pack(finding)) => Err(CopyError::Pack(finding)),
            Err(FeedError::Receiver(error)) => Err(CopyError::Receiver(error)),
        }
    }

    fn assemble(&self, out: &mut impl Write) -> Result<(), FeedError> {
        let mut out = PackWriter::new(out, self.set.format());
        out.header(self.arrangement.objects)?;
        let mut copies: Vec<Copied> = Vec::new();
        for (number, pack) in self.set.packs().iter().enumerate() {
            let copy = match self.arrangement.parts[number] {
                Part::Nothing => Copied::Nothing,
                Part::Whole => copy_whole(pack, &mut out)?,
                Part::Some => self.copy_some(number, &copies, &mut out)?,
            };
            copies.push(copy);
        }
        for entry in &self.reached.loose {
            out.write_all(entry).map_err(FeedError::Receiver)?;
        }
        out.trailer()
    }

    fn copy_some<W: Write>(
        &self,
        number: usize,
        before: &[Copied],
        out: &mut PackWriter<'_, W>,
    ) -> Result<Copied, FeedError> {
        let pack = &self.set.packs()[number];
        let orphans = &self.arrangement.orphans[number];
        let mut decoder = Decoder::new(self.cache);
        let mut feed = Feed::new(pack);
        let mut offsets = vec![0; pack.count() as usize];
        for place in self.reached.marks[number].iter() {
            let range = pack.range(place);
            offsets[place as usize] = out.written;
            feed.skip_to(range.start)?;
            if orphans.binary_search(&place).is_ok() {
                let object = whole(&mut decoder, number, pack, place)?;
                out.write_all(&object).map_err(FeedError::Receiver)?;
                continue;
            }
            let entry = pack.entry(place).map_err(|e| FeedError::Pack(e.to_string()))?;
            if entry.header.is_delta() {
                let base = pack.base(&entry).map(|place| Location { pack: number as u32, place });
                let base = base.and_then(|base| copied(&self.set, &self.reached, base));
                let base = base.ok_or_else(|| FeedError::Pack("the base of a delta is gone".into()))?;
                let written = match base.pack as usize {
                    same if same == number => Some(offsets[base.place as usize]).filter(|offset| *offset > 0),
                    other => {
                        before.get(other).and_then(|copy| copy.offset(&self.set.packs()[other], base.place))
                    }
                };
                let header = match written {
                    Some(offset) => Header::OfsDelta { base_distance: out.written - offset },
                    // The base follows.
                    None => Header::RefDelta { base_id: self.set.pack(base).oid(base.place).to_owned() },
                };
                header.write_to(entry.decompressed_size, out).map_err(FeedError::Receiver)?;
                feed.skip_to(entry.data_offset.min(range.end))?;
            }
            feed.copy_to(range.end, out)?;
        }
        feed.finish()?;
        Ok(Copied::Some(offsets))
    }
}

/// Where the entries of a pack went.
enum Copied {
    Nothing,
    /// As they lay, the first one at this offset.
    Whole(u64),
    /// By place; 0 for those that were left out.
    Some(Vec<u64>),
}

impl Copied {
    fn offset(&self, pack: &Pack, place: u32) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Whole(first) => Some(pack.range(place).start - pack.body().start + first),
            Self::Some(offsets) => Some(offsets[place as usize]).filter(|offset| *offset > 0),
        }
    }
}

/// An object as an entry that is no delta.
fn whole(decoder: &mut Decoder, number: usize, pack: &Pack, place: u32) -> Result<Vec<u8>, FeedError> {
    let failed = |finding: &dyn std::fmt::Display| FeedError::Pack(finding.to_string());
    let mut data = Vec::new();
    let kind = decoder.decode(number as u32, pack, place, &mut data).map_err(|e| failed(&e))?;
    object_entry(kind, &data).map_err(|e| failed(&e))
}

fn copy_file(pack: &Pack, out: &mut impl Write) -> Result<(), FeedError> {
    let mut feed = Feed::new(pack);
    feed.copy_to(pack.body().end, out)?;
    feed.finish()?;
    out.write_all(pack.checksum()).map_err(FeedError::Receiver)
}

fn copy_whole<W: Write>(pack: &Pack, out: &mut PackWriter<'_, W>) -> Result<Copied, FeedError> {
    let first = out.written;
    let mut feed = Feed::new(pack);
    feed.skip_to(pack.body().start)?;
    feed.copy_to(pack.body().end, out)?;
    feed.finish()?;
    Ok(Copied::Whole(first))
}

/// Counts and hashes what goes into the pack.
struct PackWriter<'a, W> {
    out: &'a mut W,
    hash: PackHash,
    written: u64,
}

impl<'a, W: Write> PackWriter<'a, W> {
    fn new(out: &'a mut W, format: ObjectFormat) -> Self {
        Self { out, hash: PackHash::new(format), written: 0 }
    }

    fn header(&mut self, objects: u32) -> Result<(), FeedError> {
        let header = gix::odb::pack::data::header::encode(gix::odb::pack::data::Version::V2, objects);
        self.write_all(&header).map_err(FeedError::Receiver)
    }

    fn trailer(self) -> Result<(), FeedError> {
        self.out.write_all(&self.hash.finish()).map_err(FeedError::Receiver)
    }
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

/// A receiver that takes nothing more once a stop was asked for.
struct Cancellable<'a, W> {
    out: &'a mut W,
    cancel: &'a CancellationToken,
}

impl<W: Write> Write for Cancellable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("asked to stop"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
