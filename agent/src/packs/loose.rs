//! Loose objects, read one by one and made into entries of a pack.
//!
//! Does not own: which are wanted. An object counts only when it has the name that its content gives it.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use gix::{object::Kind, objs::decode::loose_header, odb::pack::data::entry::Header};
use packhorse_vault::ObjectFormat;

use super::{PackHash, Unsuited};

/// A loose object.
pub struct LooseObject {
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub data: Vec<u8>,
}

impl LooseObject {
    /// Reads the object below `objects`; none when it does not exist. Objects with more than `limit` bytes are refused.
    pub fn read(
        objects: &Path,
        oid: &gix::oid,
        format: ObjectFormat,
        limit: u64,
    ) -> Result<Option<Self>, Unsuited> {
        let name = oid.to_hex().to_string();
        let path = objects.join(&name[..2]).join(&name[2..]);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unsuited::at(&path, error)),
        };
        let mut bytes = Vec::new();
        // A header has at most 28 bytes.
        ZlibDecoder::new(file)
            .take(limit.saturating_add(28))
            .read_to_end(&mut bytes)
            .map_err(|e| Unsuited::at(&path, e))?;
        let (kind, size, header) = loose_header(&bytes).map_err(|e| Unsuited::at(&path, e))?;
        if size > limit {
            return Err(Unsuited::at(&path, "is large"));
        }
        let mut hash = PackHash::new(format);
        hash.update(&bytes);
        if size != (bytes.len() - header) as u64 || hash.finish() != oid.as_bytes() {
            return Err(Unsuited::at(&path, "is damaged"));
        }
        bytes.drain(..header);
        Ok(Some(Self { kind, data: bytes }))
    }
}

/// Whether the file at `path` holds a whole object with this name, however large it is.
pub fn is_whole(path: &Path, oid: &gix::oid, format: ObjectFormat) -> io::Result<bool> {
    let mut object = ZlibDecoder::new(File::open(path)?);
    let (mut hash, mut chunk) = (PackHash::new(format), [0; 8 << 10]);
    loop {
        match object.read(&mut chunk) {
            Ok(0) => return Ok(hash.finish() == oid.as_bytes()),
            Ok(read) => hash.update(&chunk[..read]),
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            // What the library says of bytes that are not what was deflated.
            Err(_) => return Ok(false),
        }
    }
}

/// An object as an entry of a pack that is no delta.
pub fn object_entry(kind: Kind, data: &[u8]) -> io::Result<Vec<u8>> {
    let header = match kind {
        Kind::Commit => Header::Commit,
        Kind::Tree => Header::Tree,
        Kind::Blob => Header::Blob,
        Kind::Tag => Header::Tag,
    };
    packed_entry(header, data)
}

/// An entry of a pack: its header, and an object or a delta.
pub fn packed_entry(header: Header, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut entry = Vec::with_capacity(data.len() / 2 + 64);
    header.write_to(data.len() as u64, &mut entry)?;
    let mut deflate = ZlibEncoder::new(entry, Compression::default());
    deflate.write_all(data)?;
    deflate.finish()
}
