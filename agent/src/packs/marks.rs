//! A set of a pack's entries, one bit for each, by place in the pack.
//!
//! Does not own: what the marks mean. Words of 64 bits, lowest bit first, as in git's bitmaps, so that these can be
//! merged word by word.

/// Some of a pack's entries.
#[derive(Clone, Debug)]
pub struct Marks {
    words: Vec<u64>,
    len: u32,
}

impl Marks {
    /// None of `len` entries.
    pub fn none(len: u32) -> Self {
        Self { words: vec![0; (len as usize).div_ceil(64)], len }
    }

    /// Marks all entries.
    pub fn fill(&mut self) {
        let all = vec![u64::MAX; self.words.len()];
        self.merge(&all);
    }

    /// Marks an entry and says whether it was not marked before.
    pub fn mark(&mut self, place: u32) -> bool {
        let (word, bit) = (&mut self.words[place as usize / 64], 1 << (place % 64));
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Whether an entry is marked.
    pub fn has(&self, place: u32) -> bool {
        self.words[place as usize / 64] & 1 << (place % 64) != 0
    }

    /// Marks what `others` marks; bits beyond the last entry are ignored.
    pub fn merge(&mut self, others: &[u64]) {
        for (word, other) in self.words.iter_mut().zip(others) {
            *word |= other;
        }
        if let (Some(last), rest @ 1..) = (self.words.last_mut(), self.len % 64) {
            *last &= (1 << rest) - 1;
        }
    }

    /// Entries, marked or not.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Marked entries.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The marked places, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }

    /// Words that a bitmap of these entries has.
    pub fn words(&self) -> usize {
        self.words.len()
    }
}
