//! The tree that a walk looked into last, with where its entries begin and end.
//!
//! Does not own: what entries mean. Neighbours in a pack are mostly versions of one folder, so most entries of a tree are,
//! byte for byte, those of the one before, and were visited with it. An entry is told by all its bytes, which end where it
//! ends, so two that begin alike are alike.

/// Entries of the tree before that may have gone at one place.
const GONE: usize = 2;

/// The tree that was looked into last.
#[derive(Default)]
pub struct TreeBefore {
    pack: Option<u32>,
    data: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<usize>,
    /// A buffer.
    spare: Vec<usize>,
}

impl TreeBefore {
    /// Bytes of memory that it takes, for trees up to `limit` bytes: these, and where entries of 28 bytes or more end.
    pub fn memory(limit: u64) -> u64 {
        2 * limit
    }

    /// Forgets a tree that is not of this pack, because what it leads to was noted for another.
    pub fn keep_only_of(&mut self, pack: Option<u32>) {
        if pack.is_none() || self.pack != pack {
            self.ends.clear();
        }
    }

    /// The length of the first entry of `rest`, when it is the `next` one here, or one of those after it.
    pub fn find(&self, next: &mut usize, rest: &[u8]) -> Option<usize> {
        for number in *next..(*next + 1 + GONE).min(self.ends.len()) {
            let entry = self.entry(number);
            if rest.starts_with(entry) {
                *next = number + 1;
                return Some(entry.len());
            }
        }
        let entry = (*next < self.ends.len()).then(|| self.entry(*next))?;
        // The same name with another id: what follows is likely the same again.
        let name = entry.iter().position(|byte| *byte == 0).map_or(entry.len(), |zero| zero + 1);
        if rest.starts_with(&entry[..name]) {
            *next += 1;
        }
        None
    }

    fn entry(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.data[start..self.ends[number]]
    }

    /// A buffer for the ends of the entries of the next tree.
    pub fn take_spare(&mut self) -> Vec<usize> {
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        spare
    }

    /// Makes this the tree before.
    pub fn replace(&mut self, pack: Option<u32>, data: &[u8], ends: Vec<usize>) {
        self.pack = pack;
        self.data.clear();
        self.data.extend_from_slice(data);
        self.spare = std::mem::replace(&mut self.ends, ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of these names, each with its id's only byte, and what of it was not there before.
    fn fresh(before: &mut TreeBefore, pack: u32, entries: &[(&str, u8)]) -> Vec<String> {
        let entry = |(name, id): &(&str, u8)| [format!("100644 {name}\0").as_bytes(), &[*id; 20]].concat();
        let data = entries.iter().flat_map(entry).collect::<Vec<u8>>();
        before.keep_only_of(Some(pack));
        let (mut ends, mut at, mut next) = (before.take_spare(), 0, 0);
        let mut fresh = Vec::new();
        for (name, _) in entries {
            at += before.find(&mut next, &data[at..]).unwrap_or_else(|| {
                fresh.push((*name).to_owned());
                name.len() + 28
            });
            ends.push(at);
        }
        before.replace(Some(pack), &data, ends);
        fresh
    }

    #[test]
    fn only_what_changed_is_not_found() {
        let mut before = TreeBefore::default();
        let mut next = |pack: u32, entries: &[(&str, u8)]| fresh(&mut before, pack, entries);
        assert_eq!(next(0, &[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]), ["a", "b", "c", "d", "e"]);
        assert_eq!(next(0, &[("a", 1), ("b", 2), ("c", 1), ("d", 1), ("e", 1)]), ["b"]);
        // Added, and gone; the same name with what was another's id is another entry.
        assert_eq!(next(0, &[("a", 1), ("aa", 1), ("b", 2), ("e", 1)]), ["aa"]);
        assert_eq!(next(0, &[("a", 2), ("aa", 2), ("b", 2), ("e", 1)]), ["a", "aa"]);
        // What another pack's tree led to is not known of this one.
        assert_eq!(next(1, &[("a", 2), ("b", 2)]), ["a", "b"]);
        assert_eq!(next(1, &[("a", 2), ("b", 2)]), [""; 0]);
    }
}
