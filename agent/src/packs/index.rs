//! Writing the index of a pack, as gitformat-pack(5) describes version 2.
//!
//! Does not own: what is in the pack, or the pack's hash. Whoever has the entries in the order of their names can have an
//! index of them; they are asked for several times, because the format holds names, checksums and offsets in tables.

use std::io::{self, Write};

use packhorse_vault::ObjectFormat;

use super::PackHash;

/// The first offset that does not fit in the table of short ones.
const LONG: u64 = 1 << 31;
/// Bytes before the tables: magic, version, and how many names begin with each byte or a smaller one.
const HEAD: u64 = 8 + 256 * 4;
/// Bytes that are hashed and written at once.
const CHUNK: usize = 8 << 10;

/// An entry of a pack.
#[derive(Clone, Copy, Debug)]
pub struct IndexLine<'a> {
    /// The object's name.
    pub oid: &'a gix::oid,
    /// The checksum of the entry's bytes.
    pub crc: u32,
    /// Where the entry starts.
    pub offset: u64,
}

/// Bytes of an index, if all offsets are short.
pub fn index_size(format: ObjectFormat, objects: u32) -> u64 {
    let id = format.len_in_bytes() as u64;
    HEAD + u64::from(objects) * (id + 8) + 2 * id
}

/// Writes the index of a pack that ends with `checksum`; lines ascend by name.
pub fn write_index<'a>(
    format: ObjectFormat,
    lines: impl Iterator<Item = IndexLine<'a>> + Clone,
    checksum: &[u8],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut out = Hashing { out, hash: PackHash::new(format), waiting: Vec::with_capacity(CHUNK) };
    out.write(b"\xfftOc\0\0\0\x02")?;
    let mut fan = [0_u32; 256];
    lines.clone().for_each(|line| fan[usize::from(line.oid.as_bytes()[0])] += 1);
    let mut up_to = 0;
    for count in fan {
        up_to += count;
        out.write(&up_to.to_be_bytes())?;
    }
    lines.clone().try_for_each(|line| out.write(line.oid.as_bytes()))?;
    lines.clone().try_for_each(|line| out.write(&line.crc.to_be_bytes()))?;
    let mut long = Vec::new();
    for line in lines {
        let short = match u32::try_from(line.offset) {
            Ok(short) if line.offset < LONG => short,
            _ => {
                long.push(line.offset);
                LONG as u32 | (long.len() - 1) as u32
            }
        };
        out.write(&short.to_be_bytes())?;
    }
    long.into_iter().try_for_each(|offset| out.write(&offset.to_be_bytes()))?;
    out.write(checksum)?;
    out.pass_on()?;
    out.out.write_all(&out.hash.finish())
}

/// Hashes what goes into the index, many small pieces at once.
struct Hashing<'a, W> {
    out: &'a mut W,
    hash: PackHash,
    waiting: Vec<u8>,
}

impl<W: Write> Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.waiting.len() + bytes.len() > CHUNK {
            self.pass_on()?;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.hash.update(&self.waiting);
        self.out.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gix::odb::pack::index::File;

    use super::*;
    use crate::git::hash_kind;

    #[test]
    fn offsets_beyond_two_gibibytes_have_a_table_of_their_own() {
        let format = ObjectFormat::Sha1;
        let oids: Vec<gix::ObjectId> = (1..=4_u8).map(|n| gix::ObjectId::from([n; 20])).collect();
        let offsets = [12, LONG - 1, LONG, 5 * LONG];
        let lines = oids.iter().zip(offsets).map(|(oid, offset)| IndexLine { oid, crc: 7, offset });
        let mut bytes = Vec::new();
        write_index(format, lines, &[9; 20], &mut bytes).expect("to memory");
        assert_eq!(bytes.len() as u64, index_size(format, 4) + 2 * 8);
        assert!(PackHash::ends(format, &bytes));
        let index = File::from_data(bytes, "made.idx".into(), hash_kind(format)).expect("an index");
        let read: Vec<u64> = (0..4).map(|number| index.pack_offset_at_index(number)).collect();
        assert_eq!(read, offsets);
    }
}
