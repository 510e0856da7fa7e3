//! Objects out of a pack: inflated, their deltas resolved.
//!
//! Does not own: which objects. Bases are kept in a cache of fixed size, because histories and folders lie in long
//! chains of deltas and are asked for in about that order. For what is small: objects above a limit are refused, and so
//! are entries that take more room than such an object can.

use gix::{
    object::Kind,
    odb::pack::data::{Entry, entry::Header},
    zlib::{Inflate, Status},
};

use super::{Pack, Unsuited, cache::Cache, delta};

/// A decoder with its cache; used for the packs of one repository, which it tells apart by number.
pub struct Decoder {
    inflate: Inflate,
    cache: Cache,
    /// Bytes of the largest object.
    limit: u64,
    compressed: Vec<u8>,
    delta: Vec<u8>,
    base: Vec<u8>,
}

impl Decoder {
    /// Bytes that a decoder takes which keeps `cache` bytes of bases and decodes objects up to `limit`.
    pub fn memory(cache: u64, limit: u64) -> u64 {
        // An object, its base, a delta, and what that was packed into.
        cache + 4 * limit
    }

    /// A decoder that keeps up to `cache` bytes of bases and decodes objects up to `limit` bytes.
    pub fn new(cache: u64, limit: u64) -> Self {
        Self {
            inflate: Inflate::default(),
            cache: Cache::new(cache as usize),
            limit,
            compressed: Vec::new(),
            delta: Vec::new(),
            base: Vec::new(),
        }
    }

    /// What the entry at a place is, without its content.
    pub fn kind(pack: &Pack, place: u32) -> Result<Kind, Unsuited> {
        let mut entry = pack.entry(place)?;
        for _ in 0..pack.count() {
            if let Some(kind) = entry.header.as_kind() {
                return Ok(kind);
            }
            entry = pack.entry(base_of(pack, &entry)?)?;
        }
        Err(Unsuited::at(pack.path(), "has a circle of deltas"))
    }

    /// Reads the object at a place into `out`.
    pub fn decode(
        &mut self,
        number: u32,
        pack: &Pack,
        place: u32,
        out: &mut Vec<u8>,
    ) -> Result<Kind, Unsuited> {
        let mut deltas: Vec<(u32, Entry)> = Vec::new();
        let mut at = place;
        let kind = loop {
            if let Some(kind) = self.cache.get(number, at, out) {
                break kind;
            }
            let entry = pack.entry(at)?;
            if let Some(kind) = entry.header.as_kind() {
                self.inflate(pack, at, &entry, out)?;
                self.cache.put(number, at, kind, out);
                break kind;
            }
            let base = base_of(pack, &entry)?;
            deltas.push((at, entry));
            if deltas.len() > pack.count() as usize {
                return Err(Unsuited::at(pack.path(), "has a circle of deltas"));
            }
            at = base;
        };
        while let Some((at, entry)) = deltas.pop() {
            let mut delta = std::mem::take(&mut self.delta);
            self.inflate(pack, at, &entry, &mut delta)?;
            std::mem::swap(out, &mut self.base);
            let applied = delta::apply(&self.base, &delta, self.limit, out);
            self.delta = delta;
            applied
                .ok_or_else(|| Unsuited::at(pack.path(), format!("{} is damaged or large", pack.oid(at))))?;
            self.cache.put(number, at, kind, out);
        }
        Ok(kind)
    }

    fn inflate(&mut self, pack: &Pack, place: u32, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Unsuited> {
        let range = entry.data_offset.min(pack.range(place).end)..pack.range(place).end;
        let size = entry.decompressed_size;
        // Deflate makes nothing much larger, unless somebody has it do so.
        if size > self.limit || range.end - range.start > size + size / 8 + 1024 {
            return Err(Unsuited::at(pack.path(), format!("{} is large", pack.oid(place))));
        }
        let compressed = pack.read(range, &mut self.compressed).map_err(|e| Unsuited::at(pack.path(), e))?;
        out.clear();
        out.reserve_exact(size as usize);
        out.resize(size as usize, 0);
        self.inflate.reset();
        match self.inflate.once(compressed, out) {
            Ok((Status::StreamEnd, _, written)) if written == out.len() => Ok(()),
            _ => Err(damaged(pack, place)),
        }
    }
}

fn base_of(pack: &Pack, entry: &Entry) -> Result<u32, Unsuited> {
    pack.base(entry).ok_or_else(|| match &entry.header {
        Header::RefDelta { base_id } => {
            Unsuited::at(pack.path(), format!("has a delta on {base_id} elsewhere"))
        }
        _ => Unsuited::at(pack.path(), format!("has a delta at {} on nothing", entry.pack_offset())),
    })
}

fn damaged(pack: &Pack, place: u32) -> Unsuited {
    Unsuited::at(pack.path(), format!("{} is damaged", pack.oid(place)))
}
