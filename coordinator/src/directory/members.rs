//! The members of an archive, one after another, as a stream.
//!
//! Does not own: where they go, or whether that is safe (`unpack`). The `tar` crate reads the fixed header; the walk
//! over the members is ours, because the crate's does not read GNU's sparse files in POSIX archives, misreads names
//! with a line break, and takes an archive without an end mark for whole.

use std::io::{self, Read};

use rustix::fs::FileType;
use tar::{EntryType, Header};

use super::pax::{Pax, malformed};

/// Everything in an archive fills whole blocks.
pub(super) const BLOCK: usize = 512;
/// Longest extended header or long name: each extended attribute may have 64 kibibytes.
pub(super) const LONGEST: u64 = 16 << 20;

/// One member, without its contents.
#[derive(Debug)]
pub(super) struct Member {
    /// Path as stored.
    pub(super) path: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) mode: u32,
    /// Owner.
    pub(super) uid: u64,
    /// Group.
    pub(super) gid: u64,
    /// Names of both, empty where the archive has none.
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
    /// Time of modification, in seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// Extended attributes, by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists as text: of the entry, and of what is made in it.
    pub(super) acls: [Option<Vec<u8>>; 2],
}

/// What a member is.
#[derive(Debug)]
pub(super) enum Kind {
    Folder,
    /// A file of this size.
    File(u64),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name of an earlier member.
    HardLink(Vec<u8>),
    Pipe,
    /// A device and its numbers.
    Device(FileType, u32, u32),
    /// Something that is never unpacked, and what it is.
    Other(&'static str),
}

/// A reader of members.
pub(super) struct Members<R> {
    reader: R,
    /// Bytes of the current member's contents that are not read yet.
    pub(super) left: u64,
    /// Bytes after the contents, up to the next block.
    padding: u64,
    /// Whether the contents start with a map that is not read yet.
    pub(super) sparse: bool,
}

impl<R: Read> Members<R> {
    /// Reads the archive from its start.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0, sparse: false }
    }

    /// Gives back the reader, which stands after the end mark once [`Members::next`] has returned none.
    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// The next member; none after the end mark.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let (mut pax, mut long_name, mut long_link) = (Pax::default(), None, None);
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size()?;
            match header.entry_type() {
                EntryType::XHeader => pax = Pax::parse(&self.text(size)?)?,
                EntryType::GNULongName => long_name = Some(without_zeros(self.text(size)?)),
                EntryType::GNULongLink => long_link = Some(without_zeros(self.text(size)?)),
                EntryType::XGlobalHeader => return Err(malformed("a global header")),
                _ => {
                    pax.path = pax.path.or(long_name);
                    pax.link = pax.link.or(long_link);
                    return self.member(&header, pax).map(Some);
                }
            }
        }
    }

    /// Reads from the current member's contents, at most to their end.
    pub(super) fn contents(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len() as u64;
        self.left = self.left.checked_sub(length).ok_or_else(|| malformed("a file"))?;
        self.reader.read_exact(buffer)
    }

    fn member(&mut self, header: &Header, pax: Pax) -> io::Result<Member> {
        let kind = header.entry_type();
        let stored = if kind.is_file() || kind.is_contiguous() {
            pax.size.map_or_else(|| header.entry_size(), Ok)?
        } else {
            header.entry_size()?
        };
        self.expect(stored)?;
        self.sparse = pax.real_size.is_some();
        let link = || pax.link.clone().or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let link = || link().ok_or_else(|| malformed("a link without a target"));
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => Kind::File(pax.real_size.unwrap_or(stored)),
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink(link()?),
            EntryType::Link => Kind::HardLink(link()?),
            EntryType::Fifo => Kind::Pipe,
            EntryType::Char => device(FileType::CharacterDevice, header)?,
            EntryType::Block => device(FileType::BlockDevice, header)?,
            _ => Kind::Other("is of a type that no archive of ours has"),
        };
        let kind = pax.unusable.map_or(kind, Kind::Other);
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => (i64::try_from(header.mtime()?).map_err(|_| malformed("a time"))?, 0),
        };
        Ok(Member {
            path: pax.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            kind,
            mode: header.mode()? & 0o7777,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            user: pax.user.or_else(|| header.username_bytes().map(Vec::from)).unwrap_or_default(),
            group: pax.group.or_else(|| header.groupname_bytes().map(Vec::from)).unwrap_or_default(),
            mtime,
            xattrs: pax.xattrs,
            acls: [pax.acl_access, pax.acl_default],
        })
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.reader.read_exact(header.as_mut_bytes())?;
        if is_zero(header.as_bytes()) {
            self.reader.read_exact(header.as_mut_bytes())?;
            return if is_zero(header.as_bytes()) { Ok(None) } else { Err(malformed("an end mark")) };
        }
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>();
        if sum + 8 * u32::from(b' ') != header.cksum()? {
            return Err(malformed("a header"));
        }
        Ok(Some(header))
    }

    fn expect(&mut self, size: u64) -> io::Result<()> {
        let whole = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| malformed("a size"))?;
        (self.left, self.padding) = (size, whole - size);
        Ok(())
    }

    fn skip(&mut self) -> io::Result<()> {
        let length = self.left + self.padding;
        if io::copy(&mut (&mut self.reader).take(length), &mut io::sink())? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn text(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST {
            return Err(malformed("an extended header"));
        }
        self.expect(size)?;
        let mut text = vec![0; usize::try_from(size).map_err(|_| malformed("an extended header"))?];
        self.contents(&mut text)?;
        Ok(text)
    }
}

fn device(kind: FileType, header: &Header) -> io::Result<Kind> {
    let number = |number: io::Result<Option<u32>>| number?.ok_or_else(|| malformed("a device"));
    Ok(Kind::Device(kind, number(header.device_major())?, number(header.device_minor())?))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn without_zeros(mut text: Vec<u8>) -> Vec<u8> {
    text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
    text
}
