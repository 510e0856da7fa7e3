//! One pack and its index.
//!
//! Does not own: proving the pack's own checksum ([`super::Feed`]) or resolving deltas ([`super::Decoder`]). The index is
//! held in memory, and the pack when it is small. An entry is known by its place: its number in the order in
//! which entries lie in the pack, which is also its number in git's bitmaps.

use std::{
    fs::File,
    io::{self, Read as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use gix::odb::pack::{data, index};
use packhorse_vault::{ObjectFormat, Oid};

use super::{PackHash, Unsuited};
use crate::git::hash_kind;

/// Bytes in which every entry's header fits: a size, then an object id or a distance.
const HEADER_BYTES: u64 = 48;
/// Bits of an entry's number in the index, in a word with its offset.
const NUMBER_BITS: u32 = 24;

/// An open pack.
pub struct Pack {
    file: PackFile,
    index_file: File,
    index: index::File<Vec<u8>>,
    /// By place: where the entry starts, then which it is in the index.
    entries: Vec<u64>,
    /// By number in the index: the place.
    places: Vec<u32>,
}

/// The file of an open pack.
pub struct PackFile {
    path: PathBuf,
    bytes: Bytes,
    /// Where the trailer starts.
    end: u64,
    name: Oid,
    format: ObjectFormat,
}

enum Bytes {
    Held(Vec<u8>),
    OnDisk(File),
}

impl Pack {
    /// Bytes of memory that a pack takes while it is open, beside the pack's own bytes when it is held.
    pub fn memory(index: u64) -> u64 {
        // The index has 28 bytes for each object or more; there are 12 in our tables, and 8 while trees wait to be looked
        // into. Then there are up to 28 to write the index of a copy in part: offset, checksum and order.
        2 * index + index / 2
    }

    /// Opens the pack at `path`, which ends in `.pack`, with the index beside it; a `held` one is read as a whole.
    pub fn open(path: PathBuf, held: bool, format: ObjectFormat) -> Result<Self, Unsuited> {
        let index_path = path.with_extension("idx");
        let index_file = File::open(&index_path).map_err(|e| Unsuited::at(&index_path, e))?;
        let mut index = Vec::new();
        (&index_file).read_to_end(&mut index).map_err(|e| Unsuited::at(&index_path, e))?;
        let file = PackFile::open(path, held, format)?;
        if !PackHash::ends(format, &index) {
            return Err(Unsuited::at(&index_path, "its checksum is wrong"));
        }
        let index = index::File::from_data(index, index_path.clone(), hash_kind(format))
            .map_err(|e| Unsuited::at(&index_path, e))?;
        if index.version() != index::Version::V2 {
            return Err(Unsuited::at(&index_path, "is of version 1"));
        }
        let (entries, places) =
            sort(&index, file.end).ok_or_else(|| Unsuited::at(&index_path, "has odd entries"))?;
        file.check_ends(&index).map_err(|e| Unsuited::at(&file.path, e))?;
        Ok(Self { file, index_file, index, entries, places })
    }

    /// The pack's file.
    pub fn file(&self) -> &PackFile {
        &self.file
    }

    /// Only the files, the pack's and its index's: what is known of its entries is given up.
    pub fn into_files(self) -> (PackFile, File) {
        (self.file, self.index_file)
    }

    /// The checksum of an entry's bytes, which the index has; by number.
    pub fn crc32(&self, number: u32) -> u32 {
        self.index.crc32_at_index(number).unwrap_or_default()
    }

    /// The place of the entry that has a number in the index.
    pub fn place_of(&self, number: u32) -> u32 {
        self.places[number as usize]
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Entries.
    pub fn count(&self) -> u32 {
        self.places.len() as u32
    }

    /// The place of an object.
    pub fn find(&self, oid: &gix::oid) -> Option<u32> {
        self.index.lookup(oid).map(|number| self.places[number as usize])
    }

    /// The object at a place.
    pub fn oid(&self, place: u32) -> &gix::oid {
        self.index.oid_at_index(self.number(place))
    }

    /// The object that has a number in the index.
    pub fn oid_of(&self, number: u32) -> &gix::oid {
        self.index.oid_at_index(number)
    }

    /// The number in the index of the entry at a place.
    pub fn number(&self, place: u32) -> u32 {
        (self.entries[place as usize] & ((1 << NUMBER_BITS) - 1)) as u32
    }

    /// Where the entry at a place lies.
    pub fn range(&self, place: u32) -> Range<u64> {
        let start =
            |place: usize| self.entries.get(place).map_or(self.file.end, |entry| entry >> NUMBER_BITS);
        start(place as usize)..start(place as usize + 1)
    }

    /// The place of the entry that starts at `offset`.
    pub fn place_at(&self, offset: u64) -> Option<u32> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry >> NUMBER_BITS);
        at.ok().map(|at| at as u32)
    }

    /// The header of the entry at a place.
    pub fn entry(&self, place: u32) -> Result<data::Entry, Unsuited> {
        let range = self.range(place);
        let mut buffer = Vec::new();
        let bytes = self.read(range.start..range.end.min(range.start + HEADER_BYTES), &mut buffer);
        let bytes = bytes.map_err(|e| Unsuited::at(self.path(), e))?;
        data::Entry::from_bytes(bytes, range.start, hash_kind(self.file.format))
            .map_err(|e| Unsuited::at(self.path(), e))
    }

    /// The place of a delta's base; none when the entry is no delta, or its base is not in this pack.
    pub fn base(&self, entry: &data::Entry) -> Option<u32> {
        match &entry.header {
            data::entry::Header::OfsDelta { base_distance } => {
                entry.checked_base_pack_offset(*base_distance).and_then(|offset| self.place_at(offset))
            }
            data::entry::Header::RefDelta { base_id } => self.find(base_id),
            _ => None,
        }
    }

    /// Reads bytes of the file, into `buffer` unless they are held anyway.
    pub fn read<'a>(&'a self, range: Range<u64>, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        self.file.read(range, buffer)
    }
}

impl PackFile {
    fn open(path: PathBuf, held: bool, format: ObjectFormat) -> Result<Self, Unsuited> {
        let file = File::open(&path).map_err(|e| Unsuited::at(&path, e))?;
        let len = file.metadata().map_err(|e| Unsuited::at(&path, e))?.len();
        let end = len.checked_sub(format.len_in_bytes() as u64).filter(|end| *end >= 12);
        let end = end.ok_or_else(|| Unsuited::at(&path, "is too short"))?;
        let bytes = if held {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, 0).map_err(|e| Unsuited::at(&path, e))?;
            Bytes::Held(bytes)
        } else {
            Bytes::OnDisk(file)
        };
        let mut file = Self { path, bytes, end, name: Oid::null(format), format };
        let mut buffer = Vec::new();
        let trailer = file.read(end..len, &mut buffer).map_err(|e| Unsuited::at(&file.path, e))?;
        file.name = Oid::from_bytes(trailer).ok_or_else(|| Unsuited::at(&file.path, "is too short"))?;
        Ok(file)
    }

    /// Compares header and trailer with the index.
    fn check_ends(&self, index: &index::File<Vec<u8>>) -> Result<(), String> {
        let mut buffer = Vec::new();
        let header = self.read(0..12, &mut buffer).map_err(|e| e.to_string())?;
        let header: [u8; 12] = header.try_into().map_err(|_| "has no header")?;
        let (version, count) = data::header::decode(&header).map_err(|e| e.to_string())?;
        let fits = count == index.num_objects() && self.checksum() == index.pack_checksum().as_bytes();
        if version != data::Version::V2 || !fits {
            return Err("does not fit its index".into());
        }
        Ok(())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash that its objects have.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The hash of its bytes: its name, whatever the file is called.
    pub fn name(&self) -> Oid {
        self.name
    }

    /// The same as bytes, as its trailer and its index have it.
    pub fn checksum(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// The bytes of all entries.
    pub fn body(&self) -> Range<u64> {
        12..self.end
    }

    /// Reads bytes of the file, into `buffer` unless they are held anyway.
    pub fn read<'a>(&'a self, range: Range<u64>, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        match &self.bytes {
            Bytes::Held(bytes) => {
                let held = bytes.get(range.start as usize..range.end as usize);
                held.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Bytes::OnDisk(file) => {
                buffer.resize((range.end - range.start) as usize, 0);
                file.read_exact_at(buffer, range.start)?;
                Ok(buffer)
            }
        }
    }
}

/// Entries by place, and places by number; none when the index has more or odder entries than we can use.
fn sort(index: &index::File<Vec<u8>>, end: u64) -> Option<(Vec<u64>, Vec<u32>)> {
    let count = index.num_objects();
    if count >= 1 << NUMBER_BITS || end >= 1 << (64 - NUMBER_BITS) {
        return None;
    }
    // Were an object there twice, its copies could be deltas on each other once one of them is left out.
    let twice = |number| index.oid_at_index(number) == index.oid_at_index(number + 1);
    if (0..count.saturating_sub(1)).any(twice) {
        return None;
    }
    let entry = |number| {
        let offset = Some(index.pack_offset_at_index(number)).filter(|offset| *offset < end)?;
        Some(offset << NUMBER_BITS | u64::from(number))
    };
    let mut entries: Vec<u64> = (0..count).map(entry).collect::<Option<_>>()?;
    entries.sort_unstable();
    let offsets = || entries.iter().map(|entry| entry >> NUMBER_BITS);
    let ascending = offsets().zip(offsets().skip(1)).all(|(one, next)| one < next);
    if !ascending || offsets().next().is_some_and(|first| first != 12) {
        return None;
    }
    let mut places = vec![0; count as usize];
    for (place, entry) in entries.iter().enumerate() {
        places[(entry & ((1 << NUMBER_BITS) - 1)) as usize] = place as u32;
    }
    Some((entries, places))
}
