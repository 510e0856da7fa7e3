//! A thin pack of few objects, put together in process: starting git takes longer than that.
//!
//! Does not own: which commits are new (`prerequisites`). Every new commit is compared with its parents, folder by folder,
//! so what is taken is what is new in it: git compares in the same way. A tree or a file is stored as a delta on the one
//! that was there before, which is in this pack or belongs to a commit that the reader has. Every object that is read,
//! also for a delta, must have the name that its content gives it. Whatever is large, odd or not there is left to git,
//! which does it or names it.
//!
//! Memory: what is read is counted, and comes from the budget of all packing.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    rc::Rc,
};

use flate2::{Compression, write::ZlibEncoder};
use gix::{
    ObjectId,
    hashtable::HashSet,
    object::Kind,
    objs::{CommitRefIter, TagRefIter, TreeRefIter, commit::ref_iter::Token},
    odb::pack::data::{self, entry::Header},
};
use packhorse_vault::{ObjectFormat, Oid};

use crate::{
    backup::{memory, prerequisites::Edge},
    git::{Objects, hash_kind, to_gix},
    packs::{PackHash, Unsuited, delta_of, object_entry},
};

/// Commits above which git is asked.
const COMMITS: usize = 64;
/// New objects, likewise.
const OBJECTS: usize = 1024;
/// Bytes of an object.
const OBJECT_BYTES: u64 = 512 << 10;
/// Bytes of all objects that are read, and of their entries.
const BYTES: usize = 8 << 20;
/// Bytes that it takes to make a pack: these, and an object that is being read, compared and packed.
const MEMORY: u64 = BYTES as u64 + 4 * OBJECT_BYTES;
/// Deltas on top of each other.
const DEPTH: u32 = 50;
/// Bytes of an object below which a delta is not tried.
const TINY: usize = 50;
/// Bytes of an object up to which a delta and the object are compared.
const SMALL: usize = 4096;

/// Packs what the tips lead to and the reader does not have. Blocking.
pub fn pack(
    objects: &mut Objects,
    format: ObjectFormat,
    tips: &[Oid],
    edge: &Edge,
) -> Result<Vec<u8>, Unsuited> {
    let fresh = edge.fresh.as_ref().filter(|fresh| fresh.len() <= COMMITS);
    let fresh = fresh.ok_or_else(|| unsuited("has many new commits"))?;
    let fresh: HashSet<ObjectId> = fresh.iter().map(|oid| to_gix(*oid)).collect();
    let old: HashSet<ObjectId> = edge.prerequisites.iter().map(|oid| to_gix(*oid)).collect();
    let _memory = memory::take_free(MEMORY).ok_or_else(|| unsuited("there is no memory free"))?;
    let hash = hash_kind(format);
    let mut news = News {
        objects,
        hash,
        read: HashMap::new(),
        left: BYTES,
        found: Vec::new(),
        met: HashSet::default(),
        compared: HashSet::default(),
    };
    for tip in tips {
        news.follow(to_gix(*tip), &fresh, &old)?;
    }
    news.into_pack(format)
}

/// A new object, and what was in its place before, in each parent that has it.
struct New {
    id: ObjectId,
    before: Vec<ObjectId>,
}

/// What is new, in an order in which what was there before comes first.
struct News<'a> {
    objects: &'a mut Objects,
    hash: gix::hash::Kind,
    read: HashMap<ObjectId, (Kind, Rc<[u8]>)>,
    /// Bytes that may yet be read or written.
    left: usize,
    found: Vec<New>,
    /// What is in the pack, or at the reader's.
    met: HashSet<ObjectId>,
    /// Trees of parents, whose entries were met.
    compared: HashSet<ObjectId>,
}

impl News<'_> {
    /// Follows a tip to its new commits, and takes them, parents first.
    fn follow(
        &mut self,
        tip: ObjectId,
        fresh: &HashSet<ObjectId>,
        old: &HashSet<ObjectId>,
    ) -> Result<(), Unsuited> {
        let mut waiting = vec![(tip, false)];
        while let Some((id, parents_are_met)) = waiting.pop() {
            if self.met.contains(&id) || old.contains(&id) {
                continue;
            }
            let (kind, data) = self.read(&id)?;
            match kind {
                Kind::Tag => {
                    let target = TagRefIter::from_bytes(&data, self.hash).target_id();
                    self.take(id, Vec::new())?;
                    waiting.push((target.map_err(|e| odd(&id, e))?, false));
                }
                Kind::Commit if fresh.contains(&id) && parents_are_met => self.commit(id)?,
                Kind::Commit if fresh.contains(&id) => {
                    waiting.push((id, true));
                    waiting.extend(self.facts(&id)?.1.into_iter().map(|parent| (parent, false)));
                }
                // Its history was cut off, or it is no history at all.
                _ => return Err(odd(&id, format!("a {kind} that is neither known to be new nor to be old"))),
            }
        }
        Ok(())
    }

    /// Takes a commit and what is new in its tree.
    fn commit(&mut self, id: ObjectId) -> Result<(), Unsuited> {
        let (tree, parents) = self.facts(&id)?;
        let before: Vec<ObjectId> =
            parents.iter().map(|parent| Ok(self.facts(parent)?.0)).collect::<Result<_, Unsuited>>()?;
        self.take(id, Vec::new())?;
        if before.contains(&tree) { Ok(()) } else { self.tree(tree, &before) }
    }

    /// The tree and the parents of a commit.
    fn facts(&mut self, id: &gix::oid) -> Result<(ObjectId, Vec<ObjectId>), Unsuited> {
        let data = self.read_as(id, Kind::Commit)?;
        let (mut tree, mut parents) = (None, Vec::new());
        for token in CommitRefIter::from_bytes(&data, self.hash) {
            match token.map_err(|e| odd(id, e))? {
                Token::Tree { id } => tree = Some(id),
                Token::Parent { id } => parents.push(id),
                _ => break,
            }
        }
        tree.map(|tree| (tree, parents)).ok_or_else(|| odd(id, "has no tree"))
    }

    /// Takes a tree and what is new in it; with the trees that were in its place before.
    fn tree(&mut self, id: ObjectId, before: &[ObjectId]) -> Result<(), Unsuited> {
        let before: Vec<(ObjectId, Rc<[u8]>)> =
            before.iter().map(|tree| Ok((*tree, self.compare(tree)?))).collect::<Result<_, Unsuited>>()?;
        // It may have been in a folder of it.
        if self.met.contains(&id) {
            return Ok(());
        }
        let data = self.read_as(&id, Kind::Tree)?;
        self.take(id, before.iter().map(|(tree, _)| *tree).collect())?;
        for entry in TreeRefIter::from_bytes(&data, self.hash) {
            let entry = entry.map_err(|e| odd(&id, e))?;
            // What a submodule is at is no object of this repository.
            if entry.mode.is_commit() || self.met.contains(entry.oid) {
                continue;
            }
            let same_place = before.iter().filter_map(|(_, tree)| {
                let mut entries = TreeRefIter::from_bytes(tree, self.hash).filter_map(Result::ok);
                entries.find(|other| other.filename == entry.filename)
            });
            if entry.mode.is_tree() {
                let trees = same_place.filter(|other| other.mode.is_tree()).map(|other| other.oid.to_owned());
                self.tree(entry.oid.to_owned(), &trees.collect::<Vec<_>>())?;
            } else {
                let files = same_place.filter(|other| other.mode.is_blob_or_symlink());
                let files = files.map(|other| other.oid.to_owned()).collect();
                self.read_as(entry.oid, Kind::Blob)?;
                self.take(entry.oid.to_owned(), files)?;
            }
        }
        Ok(())
    }

    /// Reads the tree of a parent: everything that it names is in the pack, or the reader has it.
    fn compare(&mut self, id: &gix::oid) -> Result<Rc<[u8]>, Unsuited> {
        let data = self.read_as(id, Kind::Tree)?;
        if self.compared.insert(id.to_owned()) {
            for entry in TreeRefIter::from_bytes(&data, self.hash) {
                let entry = entry.map_err(|e| odd(id, e))?;
                if !entry.mode.is_commit() {
                    self.met.insert(entry.oid.to_owned());
                }
            }
        }
        Ok(data)
    }

    fn take(&mut self, id: ObjectId, before: Vec<ObjectId>) -> Result<(), Unsuited> {
        if self.met.insert(id) {
            self.found.push(New { id, before });
        }
        if self.found.len() > OBJECTS { Err(much()) } else { Ok(()) }
    }

    fn read_as(&mut self, id: &gix::oid, wanted: Kind) -> Result<Rc<[u8]>, Unsuited> {
        match self.read(id)? {
            (kind, data) if kind == wanted => Ok(data),
            (kind, _) => Err(odd(id, format!("a {kind} that is named as a {wanted}"))),
        }
    }

    fn read(&mut self, id: &gix::oid) -> Result<(Kind, Rc<[u8]>), Unsuited> {
        if let Some((kind, data)) = self.read.get(id) {
            return Ok((*kind, Rc::clone(data)));
        }
        let (kind, data) = self.objects.read(id, OBJECT_BYTES).map_err(Unsuited)?;
        self.left = self.left.checked_sub(data.len()).ok_or_else(much)?;
        let data: Rc<[u8]> = Rc::from(data);
        self.read.insert(id.to_owned(), (kind, Rc::clone(&data)));
        Ok((kind, data))
    }

    fn into_pack(mut self, format: ObjectFormat) -> Result<Vec<u8>, Unsuited> {
        let found = std::mem::take(&mut self.found);
        let mut pack = data::header::encode(data::Version::V2, found.len() as u32).to_vec();
        let mut placed: HashMap<ObjectId, Placed> = HashMap::with_capacity(found.len());
        for New { id, before } in found {
            let (kind, data) = self.read(&id)?;
            let offset = pack.len() as u64;
            let mut delta = None;
            for before in before.into_iter().filter(|_| data.len() >= TINY) {
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
    ) -> Result<Option<Entry>, Unsuited> {
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
        let entry = packed(header, &delta).map_err(|e| odd(&before, e))?;
        Ok(Some((entry, depth)))
    }
}

/// An entry of the pack, and on how many deltas it builds.
type Entry = (Vec<u8>, u32);

fn shorter(one: Option<Entry>, other: Option<Entry>) -> Option<Entry> {
    [one, other].into_iter().flatten().min_by_key(|(entry, _)| entry.len())
}

/// Where an object is in the pack, and on how many deltas it builds.
struct Placed {
    offset: u64,
    depth: u32,
}

fn packed(header: Header, delta: &[u8]) -> io::Result<Vec<u8>> {
    let mut entry = Vec::with_capacity(delta.len() + 64);
    header.write_to(delta.len() as u64, &mut entry)?;
    let mut deflate = ZlibEncoder::new(entry, Compression::default());
    deflate.write_all(delta)?;
    deflate.finish()
}

fn much() -> Unsuited {
    unsuited("has much that is new")
}

fn unsuited(finding: &str) -> Unsuited {
    Unsuited(finding.into())
}

fn odd(id: &gix::oid, finding: impl std::fmt::Display) -> Unsuited {
    Unsuited(format!("{id}: {finding}"))
}

#[cfg(test)]
mod tests;
