//! The index of a copied pack, made from the indices of the packs that it was copied from.
//!
//! Does not own: copying (`write`). A restore that has it needs to look into no object. Nothing is inflated here either:
//! names and checksums of entries are known from the source packs, and where an entry went from the copy.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
};

use gix::ObjectId;
use tokio::sync::SemaphorePermit;

use super::write::Placed;
use crate::packs::{IndexLine, Location, PackFile, PackHash, PackSet, index_size, write_index};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Checksums of the entries that do not have the bytes that they had in their pack, in order.
pub type Changed = Vec<(Location, u32)>;

/// A pack that was written.
pub struct Written {
    pub(super) index: IndexSource,
    pub(super) objects: u32,
    pub(super) _memory: SemaphorePermit<'static>,
}

/// What an index is made from.
pub(super) enum IndexSource {
    /// The pack is a file as it is, and so is its index.
    File(PackFile, File),
    /// The pack was put together.
    Made(Made),
}

/// Where everything in a pack that was put together went.
pub(super) struct Made {
    set: PackSet,
    placed: Vec<Placed>,
    changed: Changed,
    /// By name: offset and checksum.
    loose: Vec<(ObjectId, u64, u32)>,
    checksum: Vec<u8>,
}

impl Written {
    /// Objects of the pack.
    pub fn objects(&self) -> u32 {
        self.objects
    }

    /// Bytes of its index.
    pub fn index_size(&self) -> u64 {
        let format = match &self.index {
            IndexSource::File(pack, _) => pack.format(),
            IndexSource::Made(made) => made.set.format(),
        };
        index_size(format, self.objects)
    }

    /// Writes the index. Blocking. An error is the receiver's, or says that the source's index cannot be read.
    pub fn write_index(self, out: &mut impl Write) -> io::Result<()> {
        match self.index {
            IndexSource::File(pack, index) => copy_index(&pack, &index, out),
            IndexSource::Made(made) => made.write(out),
        }
    }
}

/// Copies an index, which was proven when it was opened, and is once more.
fn copy_index(pack: &PackFile, index: &File, out: &mut impl Write) -> io::Result<()> {
    let trailer = pack.format().len_in_bytes() as u64;
    let end = index.metadata()?.len().saturating_sub(trailer);
    let (mut hash, mut at, mut buffer) = (PackHash::new(pack.format()), 0, vec![0; CHUNK]);
    while at < end {
        let wanted = (end - at).min(CHUNK as u64) as usize;
        index.read_exact_at(&mut buffer[..wanted], at)?;
        hash.update(&buffer[..wanted]);
        out.write_all(&buffer[..wanted])?;
        at += wanted as u64;
    }
    let hash = hash.finish();
    index.read_exact_at(&mut buffer[..hash.len()], end)?;
    if hash != buffer[..hash.len()] {
        return Err(io::Error::other("the index of a pack changed while it was read"));
    }
    out.write_all(&hash)
}

/// An entry of the index: one of a pack, by number, or a loose one.
#[derive(Clone, Copy)]
struct Line {
    /// The pack's number, or the number of packs.
    source: u32,
    number: u32,
}

impl Made {
    pub(super) fn new(
        set: PackSet,
        placed: Vec<Placed>,
        changed: Changed,
        mut loose: Vec<(ObjectId, u64, u32)>,
        checksum: Vec<u8>,
    ) -> Self {
        loose.sort_unstable();
        Self { set, placed, changed, loose, checksum }
    }

    fn write(self, out: &mut impl Write) -> io::Result<()> {
        let order = self.lines();
        let lines = order.iter().map(|line| IndexLine {
            oid: self.oid(*line),
            crc: self.crc(*line),
            offset: self.offset(*line),
        });
        write_index(self.set.format(), lines, &self.checksum, out)
    }

    /// Everything that is in the pack, by name.
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (source, pack) in self.set.packs().iter().enumerate() {
            let placed = &self.placed[source];
            let is_there = |number: &u32| placed.offset(pack, pack.place_of(*number)).is_some();
            lines.extend(
                (0..pack.count()).filter(is_there).map(|number| Line { source: source as u32, number }),
            );
        }
        let loose = self.set.packs().len() as u32;
        lines.extend((0..self.loose.len() as u32).map(|number| Line { source: loose, number }));
        // Each source is sorted already, which this sort makes use of.
        lines.sort_by(|one, other| self.oid(*one).cmp(self.oid(*other)));
        lines
    }

    fn oid(&self, line: Line) -> &gix::oid {
        match self.set.packs().get(line.source as usize) {
            Some(pack) => pack.oid_of(line.number),
            None => &self.loose[line.number as usize].0,
        }
    }

    fn crc(&self, line: Line) -> u32 {
        let Some(pack) = self.set.packs().get(line.source as usize) else {
            return self.loose[line.number as usize].2;
        };
        let at = Location { pack: line.source, place: pack.place_of(line.number) };
        match self.changed.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(found) => self.changed[found].1,
            Err(_) => pack.crc32(line.number),
        }
    }

    fn offset(&self, line: Line) -> u64 {
        let Some(pack) = self.set.packs().get(line.source as usize) else {
            return self.loose[line.number as usize].1;
        };
        // Only what is there has a line.
        self.placed[line.source as usize].offset(pack, pack.place_of(line.number)).unwrap_or_default()
    }
}
