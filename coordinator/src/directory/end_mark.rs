//! Whether an archive is whole: it ends with two blocks of zeros.
//!
//! Does not own: the members before them. tar pads its output to ten kibibytes, so more zeros may follow.

/// Bytes of the end mark.
const MARK: u64 = 1024;

/// The end of an archive, as far as it was seen.
#[derive(Default)]
pub(super) struct EndMark {
    zeros: u64,
    total: u64,
}

impl EndMark {
    /// Takes the next bytes of the archive.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        self.zeros = if zeros == bytes.len() as u64 { self.zeros + zeros } else { zeros };
        self.total += bytes.len() as u64;
    }

    /// Whether the archive ended as a whole one does.
    pub(super) fn is_reached(&self) -> bool {
        self.zeros >= MARK && self.total.is_multiple_of(512)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_of_zeros_at_a_block_boundary() {
        let reached = |chunks: &[&[u8]]| {
            let mut end = EndMark::default();
            chunks.iter().for_each(|chunk| end.push(chunk));
            end.is_reached()
        };
        let (ones, zeros) = ([1; 512], [0; 512]);
        assert!(reached(&[&ones, &zeros, &zeros]));
        assert!(reached(&[&[ones, zeros].concat(), &zeros, &zeros]));
        assert!(!reached(&[&ones, &zeros]));
        assert!(!reached(&[&zeros, &zeros, &ones]));
        assert!(!reached(&[&ones, &zeros, &zeros, &[0]]));
        assert!(!reached(&[]));
    }
}
