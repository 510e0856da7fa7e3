//! The index of a pack in memory, as gitformat-pack(5) describes version 2.
//!
//! Does not own: the objects (`pack`). Offsets fit into 31 bits, because the pack is small.

use packhorse_vault::ObjectFormat;

use super::pack::Object;
use crate::packs::PackHash;

/// The index of these objects, sorted by name, in a pack with this trailer.
pub(super) fn index(format: ObjectFormat, objects: &[&Object], trailer: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1032 + objects.len() * (trailer.len() + 8) + 2 * trailer.len());
    out.extend_from_slice(b"\xfftOc\0\0\0\x02");
    for first in 0..=u8::MAX {
        let up_to = objects.partition_point(|object| object.oid.as_bytes()[0] <= first);
        out.extend_from_slice(&(up_to as u32).to_be_bytes());
    }
    objects.iter().for_each(|object| out.extend_from_slice(object.oid.as_bytes()));
    objects.iter().for_each(|object| out.extend_from_slice(&object.crc.to_be_bytes()));
    objects.iter().for_each(|object| out.extend_from_slice(&(object.offset as u32).to_be_bytes()));
    out.extend_from_slice(trailer);
    let mut hash = PackHash::new(format);
    hash.update(&out);
    out.extend_from_slice(&hash.finish());
    out
}
