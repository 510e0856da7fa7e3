//! The header of a Git bundle, written and read; what follows it is a pack.
//!
//! Does not own: the pack's objects. Format: git's `bundle-format` documentation, v2 for SHA-1 and v3 with
//! `@object-format` for SHA-256. Linear in the number of refs.

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

use crate::{ObjectFormat, Oid};

/// The references and prerequisites of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleHeader {
    /// The hash of all ids.
    pub object_format: ObjectFormat,
    /// Commits that the receiving repository must have.
    pub prerequisites: Vec<Oid>,
    /// Tips by full name; HEAD last.
    pub refs: Vec<(Vec<u8>, Oid)>,
}

/// Longest header line that is read: a ref name is at most 4 KiB, a prerequisite may carry a subject.
const MAX_LINE: u64 = 64 * 1024;

impl BundleHeader {
    /// The header as stored, with the blank line that ends it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.prerequisites.len() * 42 + self.refs.len() * 80);
        match self.object_format {
            ObjectFormat::Sha1 => out.extend_from_slice(b"# v2 git bundle\n"),
            ObjectFormat::Sha256 => out.extend_from_slice(b"# v3 git bundle\n@object-format=sha256\n"),
        }
        for oid in &self.prerequisites {
            out.push(b'-');
            oid.write_hex(&mut out);
            // Git's reader wants the space that separates the subject, even when there is none.
            out.extend_from_slice(b" \n");
        }
        for (name, oid) in &self.refs {
            oid.write_hex(&mut out);
            out.push(b' ');
            out.extend_from_slice(name);
            out.push(b'\n');
        }
        out.push(b'\n');
        out
    }

    /// Reads a header and leaves `input` at the first byte of the pack.
    pub fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut refs = Vec::new();
        let header = Self::read_each(input, |name, oid| refs.push((name.to_vec(), oid)))?;
        Ok(Self { refs, ..header })
    }

    /// The same without the refs, which are checked and passed over: for whoever has them from elsewhere.
    pub fn read_without_refs(input: &mut impl BufRead) -> io::Result<Self> {
        Self::read_each(input, |_, _| ())
    }

    fn read_each(input: &mut impl BufRead, mut found: impl FnMut(&[u8], Oid)) -> io::Result<Self> {
        let mut line = Vec::new();
        next_line(input, &mut line)?;
        let v3 = match line.as_slice() {
            b"# v2 git bundle" => false,
            b"# v3 git bundle" => true,
            _ => return Err(invalid("is not a Git bundle of version 2 or 3")),
        };
        let mut header =
            Self { object_format: ObjectFormat::Sha1, prerequisites: Vec::new(), refs: Vec::new() };
        loop {
            next_line(input, &mut line)?;
            match line.first() {
                None => return Ok(header),
                Some(b'@') if v3 => header.capability(&line)?,
                Some(b'-') => {
                    let (oid, _) = header.split(&line[1..])?;
                    header.prerequisites.push(oid);
                }
                Some(_) => {
                    let (oid, name) = header.split(&line)?;
                    found(name, oid);
                }
            }
        }
    }

    fn capability(&mut self, line: &[u8]) -> io::Result<()> {
        match line {
            b"@object-format=sha1" => Ok(()),
            b"@object-format=sha256" => {
                self.object_format = ObjectFormat::Sha256;
                Ok(())
            }
            _ => Err(invalid(&format!("needs a capability {:?}", String::from_utf8_lossy(line)))),
        }
    }

    fn split<'a>(&self, line: &'a [u8]) -> io::Result<(Oid, &'a [u8])> {
        let hex_len = self.object_format.len_in_bytes() * 2;
        let oid = line.get(..hex_len).and_then(Oid::from_hex);
        let oid = oid.ok_or_else(|| invalid("has a header line without an object id"))?;
        match line.get(hex_len) {
            None => Ok((oid, b"")),
            Some(b' ') => Ok((oid, &line[hex_len + 1..])),
            Some(_) => Err(invalid("has a header line without a space after the object id")),
        }
    }
}

fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    let mut limited = io::Read::take(&mut *input, MAX_LINE);
    limited.read_until(b'\n', line)?;
    if line.pop() == Some(b'\n') { Ok(()) } else { Err(invalid("ends inside its header")) }
}

fn invalid(finding: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bundle {finding}"))
}

/// A pack of no objects, whose trailer is the hash of its header.
pub fn empty_pack(format: ObjectFormat) -> Vec<u8> {
    // `PACK`, version 2, zero objects: gitformat-pack(5).
    const HEADER: [u8; 12] = *b"PACK\0\0\0\x02\0\0\0\0";
    // SHA-1 of HEADER: a constant, so that this crate needs no SHA-1.
    const SHA1: [u8; 20] = [
        0x02, 0x9d, 0x08, 0x82, 0x3b, 0xd8, 0xa8, 0xea, 0xb5, 0x10, 0xad, 0x6a, 0xc7, 0x5c, 0x82, 0x3c, 0xfd,
        0x3e, 0xd3, 0x1e,
    ];
    let mut pack = HEADER.to_vec();
    match format {
        ObjectFormat::Sha1 => pack.extend_from_slice(&SHA1),
        ObjectFormat::Sha256 => pack.extend_from_slice(&Sha256::digest(HEADER)),
    }
    pack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_for_both_hashes() {
        for (format, len) in [(ObjectFormat::Sha1, 20), (ObjectFormat::Sha256, 32)] {
            let oid = |n| Oid::from_bytes(&vec![n; len]).expect("valid length");
            let header = BundleHeader {
                object_format: format,
                prerequisites: vec![oid(1), oid(2)],
                refs: vec![(b"refs/heads/a b\xff".to_vec(), oid(3)), (b"HEAD".to_vec(), oid(3))],
            };
            let mut bytes = header.to_bytes();
            bytes.extend_from_slice(b"PACKrest");
            let mut input = bytes.as_slice();
            assert_eq!(BundleHeader::read(&mut input).expect("own header"), header);
            assert_eq!(input, b"PACKrest");
            let mut input = bytes.as_slice();
            let brief = BundleHeader::read_without_refs(&mut input).expect("own header");
            assert_eq!((brief, input), (BundleHeader { refs: Vec::new(), ..header }, &b"PACKrest"[..]));
        }
    }

    #[test]
    fn damage_is_refused_at_every_cut() {
        let oid = Oid::from_bytes(&[1; 20]).expect("20 bytes");
        let header = BundleHeader {
            object_format: ObjectFormat::Sha1,
            prerequisites: vec![oid],
            refs: vec![(b"refs/heads/a".to_vec(), oid)],
        };
        let bytes = header.to_bytes();
        for end in 0..bytes.len() {
            assert!(BundleHeader::read(&mut &bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(BundleHeader::read(&mut &b"# v4 git bundle\n\n"[..]).is_err());
        assert!(BundleHeader::read(&mut &b"# v3 git bundle\n@filter=blob:none\n\n"[..]).is_err());
        let endless = vec![b'x'; 1 << 20];
        assert!(BundleHeader::read(&mut endless.as_slice()).is_err());
    }
}
