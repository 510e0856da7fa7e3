//! The entries of a pack, measured as the pack streams by.
//!
//! Does not own: the objects in them (`index`). No entry is held in memory, however large: its bytes are inflated only
//! to find where it ends. What resolving the deltas will take is estimated on the way (`chains`).

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
};

use gix::{
    ObjectId,
    odb::pack::data::{self, entry::Header, input::Entry},
    zlib::stream::inflate::Measure,
};

use super::{chains::Chains, stream::PackStream};

/// An iterator over the entries of a pack.
pub(super) struct Entries<'a, R> {
    stream: &'a mut PackStream<R>,
    measure: Measure,
    left: u32,
    chains: &'a RefCell<Chains>,
}

/// Reads a pack's header and says how many entries follow.
pub(super) fn read_header<R: BufRead>(stream: &mut PackStream<R>) -> io::Result<u32> {
    let mut header = [0; 12];
    stream.read_exact(&mut header)?;
    let (_, count) = data::header::decode(&header)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    Ok(count)
}

impl<'a, R: BufRead> Entries<'a, R> {
    /// The `count` entries that follow a header; there must be at least one.
    pub(super) fn new(stream: &'a mut PackStream<R>, count: u32, chains: &'a RefCell<Chains>) -> Self {
        Self { stream, measure: Measure::default(), left: count, chains }
    }

    fn read_entry(&mut self) -> io::Result<Entry> {
        let pack_offset = self.stream.offset();
        self.stream.start_crc();
        let hash_len = self.stream.kind().len_in_bytes();
        let entry = data::Entry::from_read(&mut self.stream, pack_offset, hash_len)?;
        let header_size = self.stream.offset() - pack_offset;
        self.see(&entry, pack_offset);
        let (decompressed_size, compressed_size) = self.measure.read(&mut self.stream)?;
        if decompressed_size != entry.decompressed_size {
            let finding = format!("entry at {pack_offset} does not have the size that its header says");
            return Err(io::Error::new(io::ErrorKind::InvalidData, finding));
        }
        let crc32 = Some(self.stream.crc());
        self.left -= 1;
        let trailer = if self.left == 0 { Some(self.end()?) } else { None };
        Ok(Entry {
            header: entry.header,
            // A header is at most a few dozen bytes.
            header_size: header_size as u16,
            pack_offset,
            compressed: None,
            compressed_size,
            crc32,
            decompressed_size,
            trailer,
        })
    }

    /// Reads the trailer, which ends the bundle; with that its digest is proven, and the file is complete.
    fn end(&mut self) -> io::Result<ObjectId> {
        let hash = self.stream.read_trailer()?;
        if !self.stream.fill_buf()?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bundle goes on after its pack"));
        }
        self.stream.flush()?;
        Ok(hash)
    }

    fn see(&mut self, entry: &data::Entry, offset: u64) {
        let mut chains = self.chains.borrow_mut();
        match entry.header {
            Header::OfsDelta { base_distance } => {
                chains.delta(offset, offset.saturating_sub(base_distance), entry.decompressed_size);
            }
            Header::RefDelta { .. } => chains.delta_by_name(entry.decompressed_size),
            _ => chains.root(offset, entry.decompressed_size),
        }
    }
}

impl<R: BufRead> Iterator for Entries<'_, R> {
    type Item = gix::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let entry = self.read_entry();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry.map_err(|e| gix::error::message!("{e}").corrupted_error()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}
