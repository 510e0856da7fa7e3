//! Writing a thin pack: every new object, as a delta on what was in its place before where that is shorter.
//!
//! Does not own: which objects are new. A base comes before what builds on it, or is the reader's, so deltas never go
//! round in a circle.

use std::collections::HashMap;

use gix::{
    ObjectId,
    hashtable::HashSet,
    object::Kind,
    odb::pack::data::{self, entry::Header},
};
use packhorse_vault::ObjectFormat;

use super::{New, News, much, odd};
use crate::packs::{PackHash, Unsuited, delta_of, object_entry, packed_entry};

/// Deltas on top of each other.
pub(super) const DEPTH: u32 = 50;
/// Bytes of an object below which a delta is not tried.
const TINY: usize = 50;
/// Bytes of an object up to which a delta and the object are compared.
const SMALL: usize = 4096;

impl News<'_> {
    /// The pack of everything that was found.
    pub(super) fn into_pack(mut self, format: ObjectFormat) -> Result<Vec<u8>, Unsuited> {
        let found = std::mem::take(&mut self.found);
        let all: HashSet<ObjectId> = found.iter().map(|new| new.id).collect();
        let mut pack = data::header::encode(data::Version::V2, found.len() as u32).to_vec();
        let mut placed: HashMap<ObjectId, Placed> = HashMap::with_capacity(found.len());
        for New { id, before } in found {
            let (kind, data) = self.read(&id)?;
            let offset = pack.len() as u64;
            let mut delta = None;
            for before in before.into_iter().filter(|_| data.len() >= TINY) {
                // A base that is in the pack comes first, or deltas could go round in a circle.
                if all.contains(&before) && !placed.contains_key(&before) {
                    continue;
                }
                let other = self.delta(kind, &data, before, offset, &placed)?;
                delta = shorter(delta, other);
            }
            let (entry, depth) = match delta {
                Some(delta) if data.len() > SMALL => delta,
                delta => shorter(delta, Some((object_entry(kind, &data).map_err(|e| odd(&id, e))?, 0)))
                    .ok_or_else(much)?,
            };
            self.left = self.left.checked_sub(entry.len()).ok_or_else(much)?;
            pack.extend_from_slice(&entry);
            placed.insert(id, Placed { offset, depth });
        }
        let mut hash = PackHash::new(format);
        hash.update(&pack);
        pack.extend_from_slice(&hash.finish());
        Ok(pack)
    }

    /// The entry that makes an object of the one before, if that is worth it, and how many deltas it needs.
    fn delta(
        &mut self,
        kind: Kind,
        data: &[u8],
        before: ObjectId,
        offset: u64,
        placed: &HashMap<ObjectId, Placed>,
    ) -> Result<Option<Packed>, Unsuited> {
        let place = placed.get(&before);
        let depth = place.map_or(1, |place| place.depth + 1);
        if depth > DEPTH {
            return Ok(None);
        }
        let base = self.read_as(&before, kind)?;
        let Some(delta) = delta_of(&base, data, data.len() / 2) else { return Ok(None) };
        let header = match place {
            Some(place) => Header::OfsDelta { base_distance: offset - place.offset },
            None => Header::RefDelta { base_id: before },
        };
        let entry = packed_entry(header, &delta).map_err(|e| odd(&before, e))?;
        Ok(Some((entry, depth)))
    }
}

/// An entry of the pack, and on how many deltas it builds.
type Packed = (Vec<u8>, u32);

fn shorter(one: Option<Packed>, other: Option<Packed>) -> Option<Packed> {
    [one, other].into_iter().flatten().min_by_key(|(entry, _)| entry.len())
}

/// Where an object is in the pack, and on how many deltas it builds.
struct Placed {
    offset: u64,
    depth: u32,
}
