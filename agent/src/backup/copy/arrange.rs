//! What is copied from which pack: all of it, some of it, or nothing.
//!
//! Does not own: finding out what is reached. A pack that is reached as a whole is copied without a look at its entries;
//! of another one the reached entries are. Those among them that are deltas on something that is not reached are
//! written out in full, if they are few; more are better packed anew, which git does.

use super::reach::Reached;
use crate::packs::{Location, Pack, PackSet, Unsuited};

/// How a pack takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Not at all.
    Nothing,
    /// Entry by entry, those that are marked.
    Some,
    /// As it lies.
    Whole,
}

/// Of so many reached entries, one may be written out in full.
const ONE_IN: u32 = 8;

/// What a copy consists of.
pub struct Arrangement {
    /// For each pack.
    pub parts: Vec<Part>,
    /// For each pack, the entries whose bases are not copied.
    pub orphans: Vec<Vec<u32>>,
    /// Objects in all.
    pub objects: u32,
    /// Bytes of the pack, about.
    pub size: u64,
}

impl Arrangement {
    /// Decides for every pack.
    pub fn of(set: &PackSet, reached: &Reached) -> Result<Self, Unsuited> {
        let mut arrangement = Self { parts: Vec::new(), orphans: Vec::new(), objects: 0, size: 0 };
        for (number, (pack, marks)) in set.packs().iter().zip(&reached.marks).enumerate() {
            let part = match marks.count() {
                0 => Part::Nothing,
                count if count == pack.count() => Part::Whole,
                _ => Part::Some,
            };
            let mut orphans = Vec::new();
            for place in marks.iter().filter(|_| part == Part::Some) {
                if is_orphan(set, reached, Location { pack: number as u32, place })? {
                    orphans.push(place);
                }
            }
            if orphans.len() as u32 > marks.count() / ONE_IN {
                let finding = format!("has {} deltas on what is not reached", orphans.len());
                return Err(Unsuited(format!("{}: {finding}", pack.path().display())));
            }
            arrangement.orphans.push(orphans);
            let objects = arrangement.objects.checked_add(marks.count());
            arrangement.objects = objects.ok_or_else(|| Unsuited("has too many objects".into()))?;
            if part != Part::Nothing {
                arrangement.size += pack.body().end;
            }
            arrangement.parts.push(part);
        }
        arrangement.objects += reached.loose.len() as u32;
        arrangement.size += reached.loose.iter().map(|entry| entry.len() as u64).sum::<u64>();
        Ok(arrangement)
    }

    /// The one pack that is the copy, byte for byte.
    pub fn only_pack<'a>(&self, set: &'a PackSet, reached: &Reached) -> Option<&'a Pack> {
        let mut used = self.parts.iter().enumerate().filter(|(_, part)| **part != Part::Nothing);
        match (used.next(), used.next()) {
            (Some((number, Part::Whole)), None) if reached.loose.is_empty() => Some(&set.packs()[number]),
            _ => None,
        }
    }
}

/// Whether an entry is a delta whose base is not copied.
fn is_orphan(set: &PackSet, reached: &Reached, at: Location) -> Result<bool, Unsuited> {
    let pack = set.pack(at);
    let entry = pack.entry(at.place)?;
    let base = pack.base(&entry).and_then(|place| copied(set, reached, Location { place, ..at }));
    Ok(entry.header.is_delta() && base.is_none())
}

/// Where the object that lies at `at` is copied from: there, or from an earlier pack; none when it is not copied.
pub fn copied(set: &PackSet, reached: &Reached, at: Location) -> Option<Location> {
    let is_copied = |at: &Location| reached.marks[at.pack as usize].has(at.place);
    Some(at).filter(is_copied).or_else(|| set.find(set.pack(at).oid(at.place)).filter(is_copied))
}
