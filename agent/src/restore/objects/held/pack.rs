//! The entries of a pack in memory, and the objects that they are.
//!
//! Does not own: files. Nothing in a pack is believed: sizes are what was inflated, deltas are checked, and what takes more
//! than its share of memory or of rounds is refused.

use std::{collections::HashMap, ops::Range};

use gix::{
    ObjectId,
    object::Kind,
    odb::pack::data::{self, entry::Header},
};
use packhorse_vault::ObjectFormat;
use sirocco::{Format, inflate};

use crate::{
    git::hash_kind,
    packs::{IndexLine, PackHash, apply_in_place, object_entry, result_size},
    restore::objects::ObjectsThere,
};

/// Times that all waiting deltas are looked through; packs of git need one or two.
const ROUNDS: usize = 64;
/// Room behind an object while it is inflated, with which inflating takes its quick way to the end.
const SLACK: usize = 512;
/// Bytes by which the room for objects grows.
const ROOM: usize = 64 << 10;

/// A pack whose entries are inflated.
pub(super) struct HeldPack<'a> {
    bytes: &'a [u8],
    format: ObjectFormat,
    objects: Vec<Object>,
    /// What all entries unfold to, and room behind it.
    data: Vec<u8>,
    /// Bytes of it that are taken.
    taken: usize,
    /// Entries that a thin pack lacks.
    appended: Vec<u8>,
    /// Bytes that may yet be unfolded.
    left: usize,
    inflate: Box<inflate::Decoder>,
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
            data: Vec::with_capacity(limit + SLACK + ROOM),
            taken: 0,
            appended: Vec::new(),
            left: limit,
            inflate: Box::new(inflate::Decoder::new(Format::Zlib)),
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
        let crc = crc32fast::hash(&bytes[..header + consumed]);
        let base = match entry.header {
            Header::OfsDelta { base_distance } => {
                let offset = (at as u64).checked_sub(base_distance)?;
                Base::Entry(self.objects.binary_search_by_key(&offset, |object| object.offset).ok()?)
            }
            Header::RefDelta { base_id } => Base::Named(base_id),
            _ => Base::None,
        };
        let (offset, crc, kind) = (at as u64, crc, entry.header.as_kind());
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
        let place = self.make_room(size + SLACK);
        let inflated = self.inflate.decompress(bytes, &mut self.data[place], true).ok()?;
        // Done is only what has the checksum that its end says.
        let whole = inflated.done && inflated.output.len() == size;
        let consumed = inflated.consumed;
        whole.then(|| (self.take(size), consumed))
    }

    /// Makes a delta the object that it leads to, when its base is known: whether it was.
    fn unfold(&mut self, at: usize, base: usize) -> Option<bool> {
        let (delta, base) = (self.objects[at].data.clone(), &self.objects[base]);
        let (Some(kind), base) = (base.kind, base.data.clone()) else { return Some(false) };
        let size = usize::try_from(result_size(&self.data[delta.clone()])?).ok()?;
        self.left = self.left.checked_sub(size)?;
        self.make_room(size);
        let (before, behind) = self.data.split_at_mut(self.taken);
        apply_in_place(&before[base], &before[delta], &mut behind[..size])?;
        let data = self.take(size);
        let oid = self.name(kind, &self.data[data.clone()])?;
        let delta = &mut self.objects[at];
        (delta.oid, delta.kind, delta.data) = (oid, Some(kind), data);
        Some(true)
    }

    /// Says where the next `size` bytes are; they may be written, and are taken only then.
    fn make_room(&mut self, size: usize) -> Range<usize> {
        let end = self.taken + size;
        if end > self.data.len() {
            self.data.resize(end + ROOM, 0);
        }
        self.taken..end
    }

    fn take(&mut self, size: usize) -> Range<usize> {
        let start = self.taken;
        self.taken += size;
        start..self.taken
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
            let place = self.make_room(object.len());
            self.data[place].copy_from_slice(&object);
            let data = self.take(object.len());
            let crc = crc32fast::hash(&entry);
            let offset = (self.bytes.len() - self.format.len_in_bytes() + self.appended.len()) as u64;
            named.insert(oid, self.objects.len());
            self.objects.push(Object { offset, crc, oid, kind: Some(kind), data, base: Base::None });
            self.appended.extend_from_slice(&entry);
            found = true;
        }
        found.then_some(())
    }

    /// All objects by their names.
    pub(super) fn sorted(&self) -> Vec<&Object> {
        // By the first bytes, which tell nearly all apart.
        let begin =
            |object: &Object| object.oid.as_bytes().first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let mut objects: Vec<_> = self.objects.iter().map(|object| (begin(object), object)).collect();
        objects.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.oid.cmp(&b.1.oid)));
        objects.into_iter().map(|(_, object)| object).collect()
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
