//! What is copied from which pack: all of it, some of it, or nothing.
//!
//! Does not own: finding out what is reached. A pack that is reached as a whole is copied without a look at its entries;
//! of another one the reached entries are. Those among them that are deltas on something that is not reached are
//! written out in full, if they are few; more are better packed anew, which git does.

use tokio_util::sync::CancellationToken;

use super::reach::Reached;
use crate::packs::{Location, PackSet, Unsuited};

/// Of so many reached entries, one may be written out in full.
const ONE_IN: u32 = 8;
/// Entries between two looks at the cancel token.
const BETWEEN_LOOKS: usize = 4096;

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
    pub fn of(set: &PackSet, reached: &Reached, cancel: &CancellationToken) -> Result<Self, Unsuited> {
        let mut arrangement = Self { parts: Vec::new(), orphans: Vec::new(), objects: 0, size: 0 };
        for (number, (pack, marks)) in set.packs().iter().zip(&reached.marks).enumerate() {
            let count = marks.count();
            let part = match count {
                0 => Part::Nothing,
                count if count == pack.count() => Part::Whole,
                _ => Part::Some,
            };
            let orphans =
                if part == Part::Some { orphans(set, reached, number as u32, cancel)? } else { Vec::new() };
            if orphans.len() as u32 > count / ONE_IN {
                let finding = format!("has {} deltas on what is not reached", orphans.len());
                return Err(Unsuited(format!("{}: {finding}", pack.path().display())));
            }
            let objects = arrangement.objects.checked_add(count);
            arrangement.objects = objects.ok_or_else(|| Unsuited("has too many objects".into()))?;
            if part != Part::Nothing {
                arrangement.size += pack.file().body().end;
            }
            arrangement.orphans.push(orphans);
            arrangement.parts.push(part);
        }
        arrangement.objects += reached.loose.len() as u32;
        arrangement.size += reached.loose.iter().map(|(_, entry)| entry.len() as u64).sum::<u64>();
        Ok(arrangement)
    }

    /// The only pack that takes part, when it does so as a whole.
    pub fn single(&self) -> Option<usize> {
        let mut used = self.parts.iter().enumerate().filter(|(_, part)| **part != Part::Nothing);
        match (used.next(), used.next()) {
            (Some((number, Part::Whole)), None) => Some(number),
            _ => None,
        }
    }
}

/// The marked entries of a pack that are deltas whose bases are not copied.
fn orphans(
    set: &PackSet,
    reached: &Reached,
    number: u32,
    cancel: &CancellationToken,
) -> Result<Vec<u32>, Unsuited> {
    let (pack, mut orphans) = (&set.packs()[number as usize], Vec::new());
    for (seen, place) in reached.marks[number as usize].iter().enumerate() {
        if seen % BETWEEN_LOOKS == 0 && cancel.is_cancelled() {
            return Err(Unsuited("asked to stop".into()));
        }
        let entry = pack.entry(place)?;
        let base = pack.base(&entry).and_then(|place| source(set, reached, Location { pack: number, place }));
        if entry.header.is_delta() && base.is_none() {
            orphans.push(place);
        }
    }
    Ok(orphans)
}

/// Where the object that lies at `at` is copied from: there, or from an earlier pack; none when it is not copied.
pub fn source(set: &PackSet, reached: &Reached, at: Location) -> Option<Location> {
    let is_copied = |at: &Location| reached.marks[at.pack as usize].has(at.place);
    let elsewhere = || set.find(set.pack(at).oid(at.place)).filter(|other| other.pack < at.pack);
    Some(at).filter(is_copied).or_else(|| elsewhere().filter(is_copied))
}
