//! How much memory the delta chains of a pack take to resolve.
//!
//! Does not own: resolving. The resolver walks each delta tree depth first and keeps an object for as long as a delta
//! on it is still waiting, so what counts is, over the way from a root to any entry, the size of all objects with more
//! than one delta. Sizes of deltas' results are not known before they are resolved; the root's size stands for them.

/// Roots smaller than this, with any chain that git makes on them, are no concern.
const SMALL: u64 = 16 * 1024;

/// What is known about the chains of large objects in one pack.
#[derive(Default)]
pub(super) struct Chains {
    seen: Vec<Seen>,
    largest: u64,
    by_name: bool,
}

struct Seen {
    offset: u64,
    size: u64,
    base: Option<u32>,
    deltas: u32,
}

impl Chains {
    /// Notes an object that is stored whole.
    pub(super) fn root(&mut self, offset: u64, size: u64) {
        self.largest = self.largest.max(size);
        if size >= SMALL {
            self.seen.push(Seen { offset, size, base: None, deltas: 0 });
        }
    }

    /// Notes a delta on the entry at `base`.
    pub(super) fn delta(&mut self, offset: u64, base: u64, delta_size: u64) {
        self.largest = self.largest.max(delta_size);
        let Ok(at) = self.seen.binary_search_by_key(&base, |seen| seen.offset) else { return };
        self.seen[at].deltas += 1;
        let size = self.seen[at].size;
        self.seen.push(Seen { offset, size, base: u32::try_from(at).ok(), deltas: 0 });
    }

    /// Notes a delta on an entry that is named by its object id, which may stand anywhere.
    pub(super) fn delta_by_name(&mut self, delta_size: u64) {
        self.largest = self.largest.max(delta_size);
        self.by_name = true;
    }

    /// Whether any delta names its base by object id.
    pub(super) fn has_names(&self) -> bool {
        self.by_name
    }

    /// The most bytes that one thread keeps while it resolves the pack.
    pub(super) fn bytes_kept(&self) -> u64 {
        // A base, the delta and the result are in memory at once.
        let working = self.largest.saturating_mul(3);
        if self.by_name {
            return working.saturating_add(self.largest.saturating_mul(47));
        }
        let mut kept = vec![0_u64; self.seen.len()];
        let mut most = 0;
        for (at, seen) in self.seen.iter().enumerate() {
            let below = seen.base.map_or(0, |base| kept[base as usize]);
            kept[at] = if seen.deltas > 1 { below.saturating_add(seen.size) } else { below };
            most = most.max(kept[at]);
        }
        working.saturating_add(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 20;

    #[test]
    fn a_straight_chain_keeps_nothing_and_branches_keep_their_bases() {
        let mut straight = Chains::default();
        straight.root(12, SIZE);
        for at in 1..40 {
            straight.delta(12 + at, 11 + at, 100);
        }
        assert_eq!(straight.bytes_kept(), 3 * SIZE);
        straight.delta(100, 12, 100);
        straight.delta(101, 13, 100);
        straight.delta(102, 14, 100);
        assert_eq!(straight.bytes_kept(), 6 * SIZE);
    }

    #[test]
    fn small_roots_are_no_concern_and_names_are_taken_for_the_worst() {
        let mut chains = Chains::default();
        chains.root(12, 100);
        chains.delta(20, 12, 10);
        assert_eq!(chains.bytes_kept(), 300);
        assert!(!chains.has_names());
        chains.delta_by_name(10);
        assert!(chains.has_names());
        assert_eq!(chains.bytes_kept(), 5000);
    }
}
