//! A small pack, held in memory: read once, inflated once, its objects named, and written with its index.
//!
//! Does not own: packs that are not small, or odd: those go the way of `index`, and so does the verdict on a damaged one.
//! No thread and no git is started, which is what small repositories cost otherwise. The objects that a thin pack
//! builds on are looked up in the repository and appended, as `git index-pack --fix-thin` does. Memory comes from the
//! budget of `index`, for the pack and a few times its size of objects; what unfolds to more is not small.
//! Names are made by plain SHA-1: here they only have to agree with what the source's git made of the same bytes.

mod pack;

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
};

use bytes::Bytes;
use packhorse_model::Problem;
use packhorse_vault::{ObjectFormat, ObjectReader};

use self::pack::{HeldPack, Object};
use super::{Brought, Objects, ObjectsThere, create, hex, index};
use crate::{
    packs::{index_size, write_index},
    restore::io_problem::io_problem,
};

/// Bytes of the largest bundle that counts as small.
pub(super) const SMALL: u64 = 2 << 20;
/// How many times its own size a small pack may unfold to, beside a little.
const UNFOLDS: usize = 16;
const A_LITTLE: usize = 512 << 10;

/// What became of a small bundle.
pub(super) enum Held {
    /// Its pack is in the repository, with its index, and these are its objects.
    Kept(Brought),
    /// Another way has to be gone with its pack, of which nothing is in the repository.
    Odd(Bytes),
}

/// Receives the rest of a bundle of this size, which proves its digest, and leaves the pack in the repository.
pub(super) fn receive(
    objects: &Objects<'_>,
    bundle: &str,
    reader: &mut ObjectReader,
    size: u64,
    there: Option<&ObjectsThere>,
) -> Result<Held, Problem> {
    let limit = size as usize * UNFOLDS + A_LITTLE;
    // There is room for any small bundle, sooner or later.
    let _room = index::reserve(size + limit as u64, objects.git.cancel());
    objects.check_stop()?;
    let bytes = read(reader, size).map_err(|e| objects.read_problem(bundle, &e))?;
    let Some(pack) = resolve(&bytes, objects.format, limit, there) else { return Ok(Held::Odd(bytes)) };
    let sorted = pack.sorted();
    if sorted.windows(2).any(|pair| pair[0].oid == pair[1].oid) {
        return Ok(Held::Odd(bytes));
    }
    if !sorted.is_empty() {
        let folder = objects.repository.join("objects/pack");
        let written = write(&pack, objects.format, &sorted, &folder);
        written.map_err(|e| io_problem("write pack", folder.display(), &e))?;
    }
    objects.progress.add_bytes(bytes.len() as u64);
    Ok(Held::Kept(Brought::new(sorted.iter().map(|object| object.oid).collect())))
}

/// Reads to the end; what comes in one piece is not copied.
fn read(reader: &mut ObjectReader, size: u64) -> io::Result<Bytes> {
    let (first, second) = (reader.next_bytes()?, reader.next_bytes()?);
    if second.is_empty() {
        return Ok(first);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    bytes.extend_from_slice(&first);
    bytes.extend_from_slice(&second);
    reader.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// All objects of a pack; none when it is damaged, odd, or unfolds to too much.
fn resolve<'a>(
    bytes: &'a [u8],
    format: ObjectFormat,
    limit: usize,
    there: Option<&ObjectsThere>,
) -> Option<HeldPack<'a>> {
    let mut pack = HeldPack::parse(bytes, format, limit)?;
    pack.resolve(there)?;
    Some(pack)
}

fn write(pack: &HeldPack<'_>, format: ObjectFormat, sorted: &[&Object], folder: &Path) -> io::Result<()> {
    let (head, body, trailer) = pack.bytes();
    let name = hex(&trailer);
    // The index last: a pack without index does not exist for anybody.
    write_file(&folder.join(format!("pack-{name}.pack")), &[&head, body, pack.appended(), &trailer])?;
    let lines = sorted.iter().map(|object| object.line());
    let mut index = Vec::with_capacity(index_size(format, sorted.len() as u32) as usize);
    write_index(format, lines, &trailer, &mut index)?;
    write_file(&folder.join(format!("pack-{name}.idx")), &[&index])
}

fn write_file(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    match create(path) {
        Ok(mut file) => parts.iter().try_for_each(|part| file.write_all(part)),
        // Of an earlier step with the same objects.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
