//! A sorted list of refs with their object ids, compact enough for hundreds of thousands.
//!
//! Does not own: HEAD and symbolic refs (`RefSnapshot`). Names are raw bytes; the list is always sorted by name and
//! free of duplicates, so that two lists can be compared in one pass.

use std::cmp::Ordering;

use crate::Oid;

/// Refs under `refs/`, sorted bytewise by full name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefList {
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u32,
    len: u32,
    oid: Oid,
}

impl RefList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a ref; `false`, and nothing appended, when `name` does not sort after the last one.
    #[must_use]
    pub fn push(&mut self, name: &[u8], oid: Oid) -> bool {
        if self.entries.last().is_some_and(|last| self.name(last) >= name) {
            return false;
        }
        let (Ok(start), Ok(len)) = (u32::try_from(self.arena.len()), u32::try_from(name.len())) else {
            return false;
        };
        self.arena.extend_from_slice(name);
        self.entries.push(Entry { start, len, oid });
        true
    }

    /// The list of these refs, sorted; of two with the same name the later one wins.
    pub fn from_unsorted(mut refs: Vec<(Vec<u8>, Oid)>) -> Self {
        refs.reverse();
        refs.sort_by(|a, b| a.0.cmp(&b.0));
        refs.dedup_by(|later, first| later.0 == first.0);
        let mut list = Self::new();
        for (name, oid) in &refs {
            let pushed = list.push(name, *oid);
            debug_assert!(pushed, "sorted and deduplicated names ascend");
        }
        list
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.start as usize..(entry.start + entry.len) as usize]
    }

    /// The refs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Oid)> + '_ {
        self.entries.iter().map(|entry| (self.name(entry), entry.oid))
    }

    /// How many refs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The object id of the ref with this full name.
    pub fn get(&self, name: &[u8]) -> Option<Oid> {
        let at = self.entries.binary_search_by(|entry| self.name(entry).cmp(name)).ok()?;
        Some(self.entries[at].oid)
    }

    /// Walks this list and an older one side by side: each name once, with its object id in either.
    pub fn compare<'a>(
        &'a self,
        older: &'a RefList,
    ) -> impl Iterator<Item = (&'a [u8], Option<Oid>, Option<Oid>)> {
        let (mut new, mut old) = (self.iter().peekable(), older.iter().peekable());
        std::iter::from_fn(move || {
            let order = match (new.peek(), old.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let a = if order.is_le() { new.next() } else { None };
            let b = if order.is_ge() { old.next() } else { None };
            let name = a.or(b).map(|(name, _)| name)?;
            Some((name, a.map(|(_, oid)| oid), b.map(|(_, oid)| oid)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(n: u8) -> Oid {
        Oid::from_bytes(&[n; 20]).expect("20 bytes")
    }

    #[test]
    fn lists_stay_sorted_and_unique() {
        let list = RefList::from_unsorted(vec![
            (b"refs/b".to_vec(), oid(1)),
            (b"refs/a".to_vec(), oid(2)),
            (b"refs/b".to_vec(), oid(3)),
        ]);
        let refs: Vec<_> = list.iter().collect();
        assert_eq!(refs, [(&b"refs/a"[..], oid(2)), (&b"refs/b"[..], oid(3))]);
        assert_eq!(list.get(b"refs/b"), Some(oid(3)));
        assert_eq!(list.get(b"refs/c"), None);
        let mut list = list;
        assert!(!list.push(b"refs/b", oid(9)));
        assert!(list.push(b"refs/bb", oid(9)));
    }

    #[test]
    fn comparison_sees_added_moved_kept_and_removed() {
        let old = RefList::from_unsorted(vec![
            (b"a".to_vec(), oid(1)),
            (b"b".to_vec(), oid(2)),
            (b"c".to_vec(), oid(3)),
        ]);
        let new = RefList::from_unsorted(vec![
            (b"b".to_vec(), oid(2)),
            (b"c".to_vec(), oid(4)),
            (b"d".to_vec(), oid(5)),
        ]);
        let seen: Vec<_> = new.compare(&old).collect();
        assert_eq!(
            seen,
            [
                (&b"a"[..], None, Some(oid(1))),
                (&b"b"[..], Some(oid(2)), Some(oid(2))),
                (&b"c"[..], Some(oid(4)), Some(oid(3))),
                (&b"d"[..], Some(oid(5)), None),
            ]
        );
    }
}
