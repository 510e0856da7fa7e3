//! Making a delta: what of an object is in another one, and what is not, as gitformat-pack(5) has it.
//!
//! Does not own: which object is the base. The base is known by its blocks: wherever one begins again in the result, as
//! much as possible around it is copied. A delta that comes out wrong would be a defect, so every one is applied once.

use super::delta::apply;

/// Bytes by which equal places are found.
const BLOCK: usize = 16;
/// Bytes that one command copies: more are not understood by all readers.
const MOST_COPIED: usize = 0x10000;
/// Bytes that one command inserts.
const MOST_NEW: usize = 0x7f;
/// Equal places that are compared.
const MOST_TRIED: usize = 32;
/// No block.
const NONE: u32 = u32::MAX;

/// A delta of at most `limit` bytes that makes `result` of `base`; none when it would be longer.
pub fn delta_of(base: &[u8], result: &[u8], limit: usize) -> Option<Vec<u8>> {
    // What is copied starts below 4 GiB.
    if u32::try_from(base.len()).is_err() {
        return None;
    }
    let blocks = Blocks::of(base);
    let mut delta = Delta { commands: Vec::with_capacity(limit.min(result.len())), limit };
    size(base.len(), &mut delta.commands);
    size(result.len(), &mut delta.commands);
    // What comes before `new` is said, and what comes before `at` is not in the base.
    let (mut new, mut at) = (0, 0);
    while let Some(block) = result.get(at..at + BLOCK) {
        let Some((mut from, len)) = blocks.longest(base, block, &result[at..]) else {
            at += 1;
            // What cannot be copied any more only gets longer.
            if at - new > limit {
                return None;
            }
            continue;
        };
        let end = at + len;
        while at > new && from > 0 && base[from - 1] == result[at - 1] {
            (from, at) = (from - 1, at - 1);
        }
        delta.insert(&result[new..at])?;
        delta.copy(from, end - at)?;
        (new, at) = (end, end);
    }
    delta.insert(&result[new..])?;
    let Delta { commands, .. } = delta;
    let mut made = Vec::new();
    apply(base, &commands, result.len() as u64, &mut made).filter(|()| made == result)?;
    Some(commands)
}

/// How many bytes two begin with alike.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Where blocks of the base are: for each slot the first one, for each block the next one with its slot.
struct Blocks {
    first: Vec<u32>,
    next: Vec<u32>,
    shift: u32,
}

impl Blocks {
    fn of(base: &[u8]) -> Self {
        let count = base.len() / BLOCK;
        let bits = count.next_power_of_two().trailing_zeros().clamp(4, 20);
        let mut blocks =
            Self { first: vec![NONE; 1 << bits], next: vec![NONE; count], shift: u64::BITS - bits };
        for (number, block) in base.chunks_exact(BLOCK).enumerate().rev() {
            let slot = blocks.slot(block);
            blocks.next[number] = std::mem::replace(&mut blocks.first[slot], number as u32);
        }
        blocks
    }

    /// Where the most of `rest` is, which begins with this block, and how much.
    fn longest(&self, base: &[u8], block: &[u8], rest: &[u8]) -> Option<(usize, usize)> {
        let mut at = self.first[self.slot(block)];
        let mut longest = None;
        for _ in 0..MOST_TRIED {
            let Some(next) = self.next.get(at as usize) else { break };
            let from = at as usize * BLOCK;
            let len = common(&base[from..], rest);
            if len >= BLOCK && longest.is_none_or(|(_, longest)| len > longest) {
                longest = Some((from, len));
            }
            at = *next;
        }
        longest
    }

    fn slot(&self, block: &[u8]) -> usize {
        let (first, second) = block.split_at(BLOCK / 2);
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mixed = number(first).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ number(second);
        (mixed.wrapping_mul(0xff51_afd7_ed55_8ccd) >> self.shift) as usize
    }
}

struct Delta {
    commands: Vec<u8>,
    limit: usize,
}

impl Delta {
    fn insert(&mut self, bytes: &[u8]) -> Option<()> {
        for piece in bytes.chunks(MOST_NEW) {
            self.commands.push(piece.len() as u8);
            self.commands.extend_from_slice(piece);
        }
        (self.commands.len() <= self.limit).then_some(())
    }

    fn copy(&mut self, mut from: usize, mut len: usize) -> Option<()> {
        while len > 0 {
            let piece = len.min(MOST_COPIED);
            let command = self.commands.len();
            self.commands.push(0x80);
            let size = if piece == MOST_COPIED { 0 } else { piece };
            for (byte, bit) in (from as u32).to_le_bytes().into_iter().zip(0..4) {
                self.number(command, byte, bit);
            }
            for (byte, bit) in (size as u32).to_le_bytes().into_iter().zip(4..7) {
                self.number(command, byte, bit);
            }
            (from, len) = (from + piece, len - piece);
        }
        (self.commands.len() <= self.limit).then_some(())
    }

    /// A byte of a number, which is left out when it is zero.
    fn number(&mut self, command: usize, byte: u8, bit: u32) {
        if byte != 0 {
            self.commands[command] |= 1 << bit;
            self.commands.push(byte);
        }
    }
}

/// A size: seven bits in each byte, lowest first.
fn size(mut size: usize, out: &mut Vec<u8>) {
    while size > 0x7f {
        out.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without order.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        std::iter::repeat_with(&mut next).take(len).collect()
    }

    #[test]
    fn what_stayed_is_copied_and_what_is_new_inserted() {
        let base = noise(1, 1000);
        let mut result = base.clone();
        result.splice(500..501, *b"other");
        result.drain(..3);
        let delta = delta_of(&base, &result, usize::MAX).expect("no limit");
        // Two sizes of two bytes, 3 to 499 copied, five new ones, 501 to the end copied.
        assert_eq!(delta, b"\xe8\x07\xe9\x07\xb1\x03\xf1\x01\x05other\xb3\xf5\x01\xf3\x01");
        assert_eq!(delta_of(&base, &result, delta.len()), Some(delta.clone()));
        assert_eq!(delta_of(&base, &result, delta.len() - 1), None);
    }

    #[test]
    fn whatever_it_is_made_of_comes_out_again() {
        let large = noise(2, 80_000);
        let words = b"all work and no play ".repeat(1000);
        let parts: Vec<&[u8]> = vec![
            b"",
            b"a",
            &large[..15],
            &large[..16],
            &large[..17],
            &large[1..200],
            &large,
            &large[30_000..],
            &words,
            &words[5..],
            &[0; 5000],
        ];
        for base in &parts {
            for first in &parts {
                for second in &parts {
                    let result = [*first, second].concat();
                    let delta = delta_of(base, &result, usize::MAX).expect("no limit");
                    let mut made = Vec::new();
                    apply(base, &delta, u64::MAX >> 1, &mut made).expect("fits");
                    assert!(made == result, "{} and {} on {}", first.len(), second.len(), base.len());
                    let all_there =
                        base.len() >= 16 && result.len() >= 16 && base == first && second.is_empty();
                    assert!(!all_there || delta.len() < 50, "{} bytes for the same", delta.len());
                }
            }
        }
    }

    #[test]
    fn a_hopeless_one_is_given_up() {
        assert_eq!(delta_of(&noise(3, 5000), &noise(4, 5000), 2500), None);
    }
}
