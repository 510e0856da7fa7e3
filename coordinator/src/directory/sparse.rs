//! The map of a sparse file: which runs of its bytes are in the archive.
//!
//! Does not own: the member or its bytes. In GNU's version 1.0 the map is the start of the contents: decimal numbers,
//! one a line, padded to whole blocks. A map whose runs overlap or do not add up to what is stored is refused.

use std::io::{self, Read};

use super::{
    members::{BLOCK, Members},
    pax::{malformed, number},
};

/// A run of a file's bytes that are in the archive; the rest is holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl<R: Read> Members<R> {
    /// The runs of the current file's bytes that follow; read each with [`Members::contents`].
    pub(super) fn extents(&mut self, size: u64) -> io::Result<Vec<Extent>> {
        if !self.sparse {
            return Ok(vec![Extent { offset: 0, length: size }]);
        }
        self.sparse = false;
        let mut numbers = MapNumbers { members: self, block: Vec::new() };
        let count = numbers.next()?;
        let mut extents = Vec::new();
        let mut end = 0;
        for _ in 0..count {
            let extent = Extent { offset: numbers.next()?, length: numbers.next()? };
            if extent.offset < end {
                return Err(malformed("a sparse file's map"));
            }
            end = extent.offset.checked_add(extent.length).ok_or_else(|| malformed("a sparse file's map"))?;
            extents.push(extent);
        }
        let stored: u64 = extents.iter().map(|extent| extent.length).sum();
        if end > size || stored != self.left {
            return Err(malformed("a sparse file's map"));
        }
        Ok(extents)
    }
}

/// The decimal numbers, one a line, that a sparse file's contents start with; they fill whole blocks.
struct MapNumbers<'a, R> {
    members: &'a mut Members<R>,
    block: Vec<u8>,
}

impl<R: Read> MapNumbers<'_, R> {
    fn next(&mut self) -> io::Result<u64> {
        loop {
            if let Some(end) = self.block.iter().position(|byte| *byte == b'\n') {
                let value = number(&self.block[..end]);
                self.block.drain(..=end);
                return value;
            }
            if self.block.len() > 20 {
                return Err(malformed("a sparse file's map"));
            }
            let mut block = [0; BLOCK];
            self.members.contents(&mut block)?;
            self.block.extend_from_slice(&block);
        }
    }
}
