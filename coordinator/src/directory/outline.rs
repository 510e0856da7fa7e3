//! What an archive holds, and whether it is whole, seen from its headers as it is written.
//!
//! Does not own: the members themselves (`members` reads them back). Only headers are looked at, and contents are passed
//! over by their size, so a file of zeros is never taken for the end. Whatever the reader of a restore would refuse to go
//! on from leaves the archive without an end here.

use tar::{EntryType, Header};

use super::{
    members::{BLOCK, LONGEST},
    pax::Pax,
};

/// An archive, as far as it was seen.
#[derive(Default)]
pub(super) struct Outline {
    /// Members that are no folders.
    pub(super) files: u64,
    /// The header, or extended header, that is not whole yet.
    held: Vec<u8>,
    /// Bytes of the extended header that is being held, if it is one.
    text: Option<usize>,
    /// Bytes of contents that are still to be passed over.
    contents: u64,
    /// What the extended header says of the size of the next member.
    size: Option<u64>,
    zeros: u8,
    total: u64,
    is_unreadable: bool,
}

impl Outline {
    /// Takes the next bytes of the archive.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        while !bytes.is_empty() && !self.is_unreadable && self.zeros < 2 {
            let passed = usize::try_from(self.contents).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.contents -= passed as u64;
            bytes = &bytes[passed..];
            let wanted = self.text.map_or(BLOCK, |length| length.next_multiple_of(BLOCK));
            let (taken, rest) = bytes.split_at((wanted - self.held.len()).min(bytes.len()));
            self.held.extend_from_slice(taken);
            bytes = rest;
            if self.held.len() == wanted {
                let held = std::mem::take(&mut self.held);
                self.is_unreadable = match self.text.take() {
                    Some(length) => self.read_text(&held[..length]).is_none(),
                    None => self.read_header(&held).is_none(),
                };
            }
        }
    }

    /// Whether the archive ended as a whole one does; tar pads its output with more zeros.
    pub(super) fn is_whole(&self) -> bool {
        self.zeros == 2 && self.total.is_multiple_of(BLOCK as u64)
    }

    fn read_text(&mut self, text: &[u8]) -> Option<()> {
        self.size = Pax::parse(text).ok()?.size;
        Some(())
    }

    fn read_header(&mut self, block: &[u8]) -> Option<()> {
        if block.iter().all(|byte| *byte == 0) {
            self.zeros += 1;
            return Some(());
        }
        let header = Header::from_byte_slice(block);
        let sum = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>();
        if self.zeros > 0 || sum + 8 * u32::from(b' ') != header.cksum().ok()? {
            return None;
        }
        let size = header.entry_size().ok()?;
        let kind = header.entry_type();
        match kind {
            EntryType::XHeader if size == 0 => {}
            EntryType::XHeader if size <= LONGEST => self.text = Some(usize::try_from(size).ok()?),
            EntryType::XHeader | EntryType::XGlobalHeader => return None,
            EntryType::GNULongName | EntryType::GNULongLink => self.pass(size)?,
            _ => {
                let size =
                    self.size.take().filter(|_| kind.is_file() || kind.is_contiguous()).unwrap_or(size);
                self.files += u64::from(!kind.is_dir());
                self.pass(size)?;
            }
        }
        Some(())
    }

    fn pass(&mut self, size: u64) -> Option<()> {
        self.contents = size.checked_next_multiple_of(BLOCK as u64)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(kind: EntryType, size: u64, contents: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn outline<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (bool, u64) {
        let mut outline = Outline::default();
        pieces.into_iter().for_each(|piece| outline.push(piece));
        (outline.is_whole(), outline.files)
    }

    #[test]
    fn files_are_counted_and_only_two_blocks_of_zeros_after_a_member_are_the_end() {
        let end = vec![0; 1024];
        let folder = member(EntryType::Directory, 0, b"");
        let zeros = member(EntryType::Regular, 2048, &[0; 2048]);
        // The size of a very large file stands in its extended header only.
        let told = member(EntryType::XHeader, 12, b"12 size=700\n");
        let large = member(EntryType::Regular, 0, &[1; 700]);
        let link = member(EntryType::Link, 0, b"");
        let whole = [&folder[..], &zeros, &told, &large, &link, &end].concat();
        assert_eq!(outline([&whole[..]]), (true, 3));
        assert_eq!(outline(whole.chunks(1)), (true, 3), "whatever the pieces are");
        assert_eq!(outline([&whole[..], &end]), (true, 3), "padded");
        assert_eq!(outline([&whole[..], &[0]]), (false, 3), "not a block");
        let broken = [&folder[..], &[7; 512], &end].concat();
        let global = [&member(EntryType::XGlobalHeader, 0, b"")[..], &end].concat();
        let torn = [&folder[..], &[0; 512], &link, &end].concat();
        for (what, archive) in [
            ("in a file of zeros", [&folder[..], &zeros[..2048]].concat()),
            ("one block of zeros", [&folder[..], &[0; 512]].concat()),
            ("no header", broken),
            ("a global header", global),
            ("something after a block of zeros", torn),
            ("nothing", vec![]),
        ] {
            assert!(!outline([&archive[..]]).0, "{what}");
        }
    }
}
