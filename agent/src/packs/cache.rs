//! Decoded objects that others are deltas on, within a fixed number of bytes.
//!
//! Does not own: decoding. Two generations: what is used moves to the younger one, and when that is full it becomes the
//! older one, whose predecessor goes. Everything counts with what it really takes, so hostile objects cannot make it
//! grow.

use std::{collections::HashMap, mem};

use gix::object::Kind;

/// What an entry takes beside its bytes.
const OVERHEAD: usize = 128;

type Generation = HashMap<(u32, u32), (Kind, Box<[u8]>)>;

/// A cache of objects by pack and place.
pub struct Cache {
    limit: usize,
    young: Generation,
    old: Generation,
    young_bytes: usize,
}

impl Cache {
    /// A cache that takes at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, young: Generation::new(), old: Generation::new(), young_bytes: 0 }
    }

    /// Copies an object into `out`, when it is there.
    pub fn get(&mut self, pack: u32, place: u32, out: &mut Vec<u8>) -> Option<Kind> {
        let key = (pack, place);
        if let Some(object) = self.old.remove(&key) {
            self.add(key, object);
        }
        let (kind, data) = self.young.get(&key)?;
        out.clear();
        out.extend_from_slice(data);
        Some(*kind)
    }

    /// Keeps an object, unless it is large.
    pub fn put(&mut self, pack: u32, place: u32, kind: Kind, data: &[u8]) {
        if data.len() <= self.limit / 8 {
            self.add((pack, place), (kind, data.into()));
        }
    }

    fn add(&mut self, key: (u32, u32), object: (Kind, Box<[u8]>)) {
        let bytes = object.1.len() + OVERHEAD;
        if self.young_bytes + bytes > self.limit / 2 {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        if let Some((_, before)) = self.young.insert(key, object) {
            self.young_bytes -= before.len() + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_limit_holds() {
        let mut cache = Cache::new(100_000);
        let mut out = Vec::new();
        cache.put(0, 0, Kind::Tree, b"used all the time");
        for place in 1..10_000 {
            cache.put(0, place, Kind::Blob, &vec![1; place as usize % 3000]);
            assert_eq!(cache.get(0, 0, &mut out), Some(Kind::Tree));
            let held = cache.young.values().chain(cache.old.values());
            assert!(held.map(|(_, data)| data.len() + OVERHEAD).sum::<usize>() <= 100_000);
        }
        assert_eq!(out, b"used all the time");
        assert_eq!((cache.get(0, 1, &mut out), cache.get(1, 0, &mut out)), (None, None));
        // Larger than an eighth: not kept.
        cache.put(0, 1, Kind::Blob, &[0; 20_000]);
        assert_eq!(cache.get(0, 1, &mut out), None);
    }
}
