//! The entries of a pack in memory, and the objects that they are.
//!
//! Does not own: files. Nothing in a pack is believed: sizes are what was inflated, deltas are checked, and what takes more
//! than its share of memory or of rounds is refused.

use std::{collections::HashMap, ops::Range};

use gix::{
    ObjectId,
    object::Kind,
    odb::pack::data::{self, entry::Header},
    zlib::{Inflate, Status},
};
use packhorse_vault::ObjectFormat;

use crate::{
    git::hash_kind,
    packs::{IndexLine, PackHash, apply_delta, object_entry},
    restore::objects::ObjectsThere,
};

/// Times that all waiting deltas are looked through; packs of git need one or two.
const ROUNDS: usize = 64;
/// Room behind an object while it is inflated, with which inflating takes its quick way to the end.
const SLACK: usize = 512;

/// A pack whose entries are inflated.
pub(super) struct HeldPack<'a> {
    bytes: &'a [u8],
    format: ObjectFormat,
    objects: Vec<Object>,
    /// What all entries unfold to.
    data: Vec<u8>,
    /// Where an object is put together.
    whole: Vec<u8>,
    /// Entries that a thin pack lacks.
    appended: Vec<u8>,
    /// Bytes that may yet be unfolded.
    left: usize,
    inflate: Inflate,
}

/// An entry, and the object that it is.
pub(super) struct Object {
    offset: u64,
    crc: u32,
    /// Null until it is known.
    pub oid: ObjectId,
    /// None while it is a delta.
    kind: Option<Kind>,
    /// Where it is in what all entries unfold to.
    data: Range<usize>,
    base: Base,
}

impl Object {
    /// The line of the index.
    pub fn line(&self) -> IndexLine<'_> {
        IndexLine { oid: &self.oid, crc: self.crc, offset: self.offset }
    }
}

#[derive(Clone, Copy)]
enum Base {
    None,
    Entry(usize),
    Named(ObjectId),
}

impl<'a> HeldPack<'a> {
    /// Reads and inflates all entries; none when anything is odd, the trailer's hash included.
    pub(super) fn parse(bytes: &'a [u8], format: ObjectFormat, limit: usize) -> Option<Self> {
        let header: &[u8; 12] = bytes.first_chunk()?;
        let (version, count) = data::header::decode(header).ok()?;
        let end = bytes.len().checked_sub(format.len_in_bytes())?;
        // An entry takes more than one byte, so no count makes this large.
        if version != data::Version::V2 || count as usize > bytes.len() || !PackHash::ends(format, bytes) {
            return None;
        }
        let mut pack = Self {
            bytes,
            format,
            objects: Vec::with_capacity(count as usize),
            data: Vec::with_capacity(limit + SLACK),
            whole: Vec::new(),
            appended: Vec::new(),
            left: limit,
            inflate: Inflate::default(),
        };
        let mut at = 12;
        for _ in 0..count {
            at = pack.entry(at, end)?;
        }
        (at == end).then_some(pack)
    }

    /// Reads the entry at an offset, and says where the next one begins.
    fn entry(&mut self, at: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..end)?;
        let entry = data::Entry::from_bytes(bytes, at as u64, hash_kind(self.format)).ok()?;
        let header = entry.data_offset as usize - at;
        let size = usize::try_from(entry.decompressed_size).ok()?;
        self.left = self.left.checked_sub(size)?;
        let (data, consumed) = self.inflate(&bytes[header..], size)?;
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[..header + consumed]);
        let base = match entry.header {
            Header::OfsDelta { base_distance } => {
                let offset = (at as u64).checked_sub(base_distance)?;
                Base::Entry(self.objects.binary_search_by_key(&offset, |object| object.offset).ok()?)
            }
            Header::RefDelta { base_id } => Base::Named(base_id),
            _ => Base::None,
        };
        let (offset, crc, kind) = (at as u64, crc.sum(), entry.header.as_kind());
        let oid = match kind {
            Some(kind) => self.name(kind, &self.data[data.clone()])?,
            None => ObjectId::null(hash_kind(self.format)),
        };
        self.objects.push(Object { offset, crc, oid, kind, data, base });
        if let Base::Entry(base) = base {
            self.unfold(self.objects.len() - 1, base)?;
        }
        Some(at + header + consumed)
    }

    /// Inflates `size` bytes behind those that are there; says where they are, and how many bytes they were made of.
    fn inflate(&mut self, bytes: &[u8], size: usize) -> Option<(Range<usize>, usize)> {
        let start = self.data.len();
        self.data.resize(start + size + SLACK, 0);
        self.inflate.reset();
        let inflated = self.inflate.once(bytes, &mut self.data[start..]);
        self.data.truncate(start + size);
        match inflated {
            Ok((Status::StreamEnd, consumed, written)) if written == size => {
                Some((start..start + size, consumed))
            }
            _ => None,
        }
    }

    /// Makes a delta the object that it leads to, when its base is known: whether it was.
    fn unfold(&mut self, at: usize, base: usize) -> Option<bool> {
        let (delta, base) = (&self.objects[at], &self.objects[base]);
        let Some(kind) = base.kind else { return Some(false) };
        let [old, new] = [base, delta].map(|object| &self.data[object.data.clone()]);
        apply_delta(old, new, self.left as u64, &mut self.whole)?;
        self.left = self.left.checked_sub(self.whole.len())?;
        let oid = self.name(kind, &self.whole)?;
        if delta.data.end == self.data.len() {
            self.data.truncate(delta.data.start);
        }
        let data = self.keep_whole();
        let delta = &mut self.objects[at];
        (delta.oid, delta.kind, delta.data) = (oid, Some(kind), data);
        Some(true)
    }

    fn keep_whole(&mut self) -> Range<usize> {
        let start = self.data.len();
        self.data.extend_from_slice(&self.whole);
        start..self.data.len()
    }

    fn name(&self, kind: Kind, data: &[u8]) -> Option<ObjectId> {
        let mut hash = PackHash::new(self.format);
        hash.update(&gix::objs::encode::loose_header(kind, data.len() as u64));
        hash.update(data);
        ObjectId::try_from(hash.finish().as_slice()).ok()
    }

    /// Makes objects of the deltas that are left; those on objects that are not in the pack find them `there`.
    pub(super) fn resolve(&mut self, there: Option<&ObjectsThere>) -> Option<()> {
        let mut waiting: Vec<usize> =
            (0..self.objects.len()).filter(|at| self.objects[*at].kind.is_none()).collect();
        if waiting.is_empty() {
            return Some(());
        }
        let known = self.objects.iter().enumerate().filter(|(_, object)| object.kind.is_some());
        let mut named: HashMap<ObjectId, usize> = known.map(|(at, object)| (object.oid, at)).collect();
        for _ in 0..ROUNDS {
            let before = waiting.len();
            waiting = self.round(waiting, &mut named)?;
            if waiting.is_empty() {
                return Some(());
            }
            if waiting.len() == before {
                self.append(&waiting, &mut named, there?)?;
            }
        }
        None
    }

    /// Looks through the waiting deltas once, and says which still wait.
    fn round(&mut self, waiting: Vec<usize>, named: &mut HashMap<ObjectId, usize>) -> Option<Vec<usize>> {
        let mut still = Vec::new();
        for at in waiting {
            let base = match self.objects[at].base {
                Base::Named(oid) => named.get(&oid).copied(),
                Base::Entry(base) => Some(base),
                Base::None => None,
            };
            let known = match base {
                Some(base) => self.unfold(at, base)?,
                None => false,
            };
            if known {
                named.insert(self.objects[at].oid, at);
            } else {
                still.push(at);
            }
        }
        Some(still)
    }

    /// Appends the objects that the waiting deltas name; at least one must be found.
    fn append(
        &mut self,
        waiting: &[usize],
        named: &mut HashMap<ObjectId, usize>,
        there: &ObjectsThere,
    ) -> Option<()> {
        let mut found = false;
        for at in waiting {
            let Base::Named(oid) = self.objects[*at].base else { continue };
            if named.contains_key(&oid) {
                continue;
            }
            let Some((kind, object)) = there.read(&oid, self.left as u64) else { continue };
            let entry = object_entry(kind, &object).ok()?;
            self.left = self.left.checked_sub(object.len() + entry.len())?;
            self.whole = object;
            let data = self.keep_whole();
            let mut crc = flate2::Crc::new();
            crc.update(&entry);
            let offset = (self.bytes.len() - self.format.len_in_bytes() + self.appended.len()) as u64;
            named.insert(oid, self.objects.len());
            self.objects.push(Object {
                offset,
                crc: crc.sum(),
                oid,
                kind: Some(kind),
                data,
                base: Base::None,
            });
            self.appended.extend_from_slice(&entry);
            found = true;
        }
        found.then_some(())
    }

    /// All objects by their names.
    pub(super) fn sorted(&self) -> Vec<&Object> {
        let mut objects: Vec<&Object> = self.objects.iter().collect();
        objects.sort_unstable_by_key(|object| object.oid);
        objects
    }

    /// What was appended to the entries.
    pub(super) fn appended(&self) -> &[u8] {
        &self.appended
    }

    /// Header, entries as they came, and trailer of the pack as a whole.
    pub(super) fn bytes(&self) -> ([u8; 12], &[u8], Vec<u8>) {
        let (entries, trailer) = self.bytes.split_at(self.bytes.len() - self.format.len_in_bytes());
        let head = data::header::encode(data::Version::V2, self.objects.len() as u32);
        let body = &entries[head.len()..];
        if self.appended.is_empty() {
            return (head, body, trailer.to_vec());
        }
        let mut hash = PackHash::new(self.format);
        [&head, body, &self.appended].into_iter().for_each(|part| hash.update(part));
        (head, body, hash.finish())
    }
}
