//! A compressed bitmap: runs of equal words, then words as they are.
//!
//! Does not own: which entry a bit stands for. On disk (git's bitmap-format, appendix A): bits and words as 32-bit
//! numbers, the words, and the place of the last marker, all big-endian. A marker's lowest bit is the value of the run,
//! the next 32 bits its length in words, the highest 31 the number of plain words that follow. Everything is checked
//! against the bytes that are there and the bits that are wanted.

/// A bitmap within a larger file.
#[derive(Clone, Copy, Debug)]
pub struct Ewah<'a> {
    words: &'a [[u8; 8]],
}

impl<'a> Ewah<'a> {
    /// Takes a bitmap off the start of `bytes` and gives the rest too; none when it is cut off.
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (_bits, rest) = bytes.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let len = (u32::from_be_bytes(*count) as usize).checked_mul(8)?;
        let (words, rest) = rest.split_at_checked(len)?;
        let (_last_marker, rest) = rest.split_first_chunk::<4>()?;
        Some((Self { words: words.as_chunks().0 }, rest))
    }

    /// Flips in `out` every bit that is set here; none when there are more words than `out` has.
    pub fn flip(self, out: &mut [u64]) -> Option<()> {
        let (mut words, mut at) = (self.words.iter().map(|word| u64::from_be_bytes(*word)), 0_usize);
        while let Some(marker) = words.next() {
            let run = (marker >> 1) as u32 as usize;
            let plain = (marker >> 33) as usize;
            let end = at.checked_add(run)?;
            if marker & 1 == 1 {
                out.get_mut(at..end)?.iter_mut().for_each(|word| *word = !*word);
            }
            at = end.checked_add(plain)?;
            if plain > 0 {
                for word in out.get_mut(end..at)? {
                    *word ^= words.next()?;
                }
            }
        }
        Some(())
    }
}
