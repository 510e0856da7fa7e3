//! Objects out of a pack: inflated, their deltas resolved.
//!
//! Does not own: which objects. Bases are kept in a cache of fixed size, because histories and folders lie in long
//! chains of deltas and are asked for in about that order. For what is small: an object above 48 MiB is refused.

use gix::{
    object::Kind,
    odb::pack::{
        cache::{DecodeEntry as _, lru::MemoryCappedHashmap},
        data::{Entry, entry::Header},
    },
    zlib::{Inflate, Status},
};

use super::{LARGEST_OBJECT, Pack, Unsuited, delta};

/// A decoder with its cache; used for the packs of one repository, which it tells apart by number.
pub struct Decoder {
    inflate: Inflate,
    cache: MemoryCappedHashmap,
    compressed: Vec<u8>,
    delta: Vec<u8>,
    base: Vec<u8>,
}

impl Decoder {
    /// A decoder that keeps up to `cache` bytes of bases.
    pub fn new(cache: usize) -> Self {
        Self {
            inflate: Inflate::default(),
            cache: MemoryCappedHashmap::new(cache),
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
            if let Some((kind, _)) = self.cache.get(number, u64::from(at), out) {
                break kind;
            }
            let entry = pack.entry(at)?;
            if let Some(kind) = entry.header.as_kind() {
                self.inflate(pack, at, &entry, out)?;
                self.cache.put(number, u64::from(at), out, kind, 0);
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
            let applied = delta::apply(&self.base, &delta, out);
            self.delta = delta;
            applied.ok_or_else(|| damaged(pack, at))?;
            self.cache.put(number, u64::from(at), out, kind, 0);
        }
        Ok(kind)
    }

    fn inflate(&mut self, pack: &Pack, place: u32, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Unsuited> {
        if entry.decompressed_size > LARGEST_OBJECT {
            return Err(Unsuited::at(pack.path(), format!("{} is large", pack.oid(place))));
        }
        let range = entry.data_offset.min(pack.range(place).end)..pack.range(place).end;
        let compressed = pack.read(range, &mut self.compressed).map_err(|e| Unsuited::at(pack.path(), e))?;
        out.resize(entry.decompressed_size as usize, 0);
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
