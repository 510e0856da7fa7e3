//! A thin pack of few objects, put together in process: starting git takes longer than that.
//!
//! Does not own: which commits are new (`prerequisites`). Every new commit is compared with its parents, folder by folder,
//! so what is taken is what is new in it: git compares in the same way. A tree or a file is stored as a delta on the one
//! that was there before, which is in this pack or belongs to a commit that the reader has. Every object that is read,
//! also for a delta, must have the name that its content gives it. Whatever is large, deep, odd or not there is left to
//! git, which does it or names it. Modes of tree entries are taken as git writes them and no others, because readings of
//! odd ones differ, and with them what belongs to a tree.
//!
//! Memory: what is read, written and remembered is counted, and comes from the budget of all packing.

mod tree;
mod write;

use std::{collections::HashMap, rc::Rc, time::Duration};

use gix::{
    ObjectId,
    hashtable::HashSet,
    object::Kind,
    objs::{CommitRefIter, TagRefIter, commit::ref_iter::Token},
};
use packhorse_vault::{ObjectFormat, Oid};
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use self::tree::{Entry, Role};
use crate::{
    backup::{memory, prerequisites::Edge},
    git::{Objects, hash_kind, to_gix},
    packs::Unsuited,
};

/// Commits above which git is asked.
const COMMITS: usize = 64;
/// New objects, likewise.
const OBJECTS: usize = 1024;
/// Bytes of an object.
const OBJECT_BYTES: u64 = 512 << 10;
/// Folders within each other.
const DEEP: usize = 128;
/// Different trees of the parents of a commit.
const PARENTS: usize = 8;
/// Bytes of all objects that are read, of their entries, and of ids that are remembered.
const BYTES: usize = 12 << 20;
/// Bytes that an id takes which is remembered.
const ID: usize = 64;
/// Bytes of trees that are looked through.
const LOOKED_THROUGH: usize = 128 << 20;
/// Bytes that it takes to make a pack: these, and an object that is being read, compared and packed.
const MEMORY: u64 = BYTES as u64 + 4 * OBJECT_BYTES;

/// A pack with the memory that it takes.
pub struct ThinPack {
    /// The pack.
    pub bytes: Vec<u8>,
    _memory: SemaphorePermit<'static>,
}

/// How long to wait for that: others like this one need milliseconds, and where git has to be asked, that is no worse.
const PATIENCE: Duration = Duration::from_millis(100);

/// Packs what the tips lead to and the reader does not have. Blocking.
pub fn pack(
    objects: &mut Objects,
    format: ObjectFormat,
    (tips, edge): (&[Oid], &Edge),
    cancel: &CancellationToken,
) -> Result<ThinPack, Unsuited> {
    let fresh = edge.fresh.as_ref().filter(|fresh| fresh.len() <= COMMITS);
    let fresh = fresh.ok_or_else(|| unsuited("has many new commits"))?;
    let memory = memory::take(MEMORY, PATIENCE, cancel)?;
    let mut news = News {
        objects,
        hash: hash_kind(format),
        cancel,
        fresh: fresh.iter().map(|oid| to_gix(*oid)).collect(),
        old: edge.prerequisites.iter().map(|oid| to_gix(*oid)).collect(),
        read: HashMap::new(),
        left: BYTES,
        looks_left: LOOKED_THROUGH,
        found: Vec::new(),
        history: HashSet::default(),
        trees: HashSet::default(),
        files: HashSet::default(),
        compared: HashSet::default(),
    };
    for tip in tips {
        news.follow(to_gix(*tip))?;
    }
    let bytes = news.into_pack(format)?;
    let kept = bytes.len() as u64;
    Ok(ThinPack { bytes, _memory: memory::keep(memory, kept) })
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
    cancel: &'a CancellationToken,
    /// Commits that are new.
    fresh: HashSet<ObjectId>,
    /// Commits that the reader has, with everything that they reach.
    old: HashSet<ObjectId>,
    read: HashMap<ObjectId, (Kind, Rc<[u8]>)>,
    /// Bytes that may yet be read, written or remembered.
    left: usize,
    /// Bytes of trees that may yet be looked through.
    looks_left: usize,
    found: Vec<New>,
    /// Commits and tags that are in the pack.
    history: HashSet<ObjectId>,
    /// Trees that are in the pack or at the reader's, with everything in them.
    trees: HashSet<ObjectId>,
    /// Files likewise.
    files: HashSet<ObjectId>,
    /// Trees of parents whose entries are among these.
    compared: HashSet<ObjectId>,
}

impl News<'_> {
    /// Follows a tip to its new commits, and takes them, parents first.
    fn follow(&mut self, tip: ObjectId) -> Result<(), Unsuited> {
        let mut waiting = vec![(tip, false)];
        while let Some((id, parents_are_met)) = waiting.pop() {
            if self.history.contains(&id) || self.old.contains(&id) {
                continue;
            }
            let (kind, data) = self.read(&id)?;
            match kind {
                Kind::Tag => {
                    let target = TagRefIter::from_bytes(&data, self.hash).target_id();
                    self.take(id, Vec::new())?;
                    self.history.insert(id);
                    waiting.push((target.map_err(|e| odd(&id, e))?, false));
                }
                Kind::Commit if self.fresh.contains(&id) && parents_are_met => self.commit(id)?,
                Kind::Commit if self.fresh.contains(&id) => {
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
        let mut before = Vec::new();
        for parent in parents {
            let (tree, _) = self.facts(&parent)?;
            if !before.contains(&tree) {
                before.push(tree);
            }
            if before.len() > PARENTS {
                return Err(odd(&id, "joins many trees"));
            }
        }
        self.take(id, Vec::new())?;
        self.history.insert(id);
        self.tree(tree, &before, 0)
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
    fn tree(&mut self, id: ObjectId, before: &[ObjectId], depth: usize) -> Result<(), Unsuited> {
        let mut trees_before = Vec::with_capacity(before.len());
        for tree in before {
            trees_before.push(self.compare(tree)?);
        }
        // It may be what was there before, or have been in a folder of that.
        if self.trees.contains(&id) {
            return Ok(());
        }
        if depth > DEEP {
            return Err(odd(&id, "is a deep folder"));
        }
        let data = self.read_as(&id, Kind::Tree)?;
        self.take(id, before.to_vec())?;
        for entry in self.entries(&id, &data)? {
            let there = match entry.role {
                Role::Tree => self.trees.contains(entry.id),
                Role::File => self.files.contains(entry.id),
                // What a submodule is at is no object of this repository.
                Role::Module => true,
            };
            if there {
                continue;
            }
            let mut same_place: Vec<ObjectId> = Vec::new();
            for (tree, id) in trees_before.iter().zip(before) {
                let other = self.entries(id, tree)?.find(|other| other.name == entry.name);
                if let Some(other) = other.filter(|other| other.role == entry.role)
                    && !same_place.iter().any(|same| **same == *other.id)
                {
                    same_place.push(other.id.to_owned());
                }
            }
            let id = entry.id.to_owned();
            if entry.role == Role::Tree {
                self.tree(id, &same_place, depth + 1)?;
            } else {
                self.read_as(&id, Kind::Blob)?;
                self.take(id, same_place)?;
                self.files.insert(id);
            }
        }
        // With everything in it, and not before.
        self.trees.insert(id);
        Ok(())
    }

    /// Reads the tree of a parent: it and everything that it names is in the pack, or the reader has it.
    fn compare(&mut self, id: &gix::oid) -> Result<Rc<[u8]>, Unsuited> {
        let data = self.read_as(id, Kind::Tree)?;
        if self.compared.insert(id.to_owned()) {
            self.trees.insert(id.to_owned());
            for entry in self.entries(id, &data)? {
                self.left = self.left.checked_sub(ID).ok_or_else(much)?;
                match entry.role {
                    Role::Tree => drop(self.trees.insert(entry.id.to_owned())),
                    Role::File => drop(self.files.insert(entry.id.to_owned())),
                    Role::Module => {}
                }
            }
        }
        Ok(data)
    }

    /// The entries of a tree, all of which are as git writes them.
    fn entries<'t>(
        &mut self,
        id: &gix::oid,
        tree: &'t [u8],
    ) -> Result<impl Iterator<Item = Entry<'t>> + use<'t>, Unsuited> {
        self.looks_left = self.looks_left.checked_sub(tree.len()).ok_or_else(much)?;
        let len = self.hash.len_in_bytes();
        let mut rest = tree;
        while !rest.is_empty() {
            Entry::first(&mut rest, len).ok_or_else(|| odd(id, "is a tree with odd entries"))?;
        }
        let mut rest = tree;
        Ok(std::iter::from_fn(move || Entry::first(&mut rest, len)))
    }

    fn take(&mut self, id: ObjectId, before: Vec<ObjectId>) -> Result<(), Unsuited> {
        self.left = self.left.checked_sub(ID * (1 + before.len())).ok_or_else(much)?;
        self.found.push(New { id, before });
        if self.found.len() > OBJECTS { Err(much()) } else { Ok(()) }
    }

    fn read_as(&mut self, id: &gix::oid, wanted: Kind) -> Result<Rc<[u8]>, Unsuited> {
        match self.read(id)? {
            (kind, data) if kind == wanted => Ok(data),
            (kind, _) => Err(odd(id, format!("a {kind} that is named as a {wanted}"))),
        }
    }

    fn read(&mut self, id: &gix::oid) -> Result<(Kind, Rc<[u8]>), Unsuited> {
        if self.cancel.is_cancelled() {
            return Err(unsuited("asked to stop"));
        }
        if let Some((kind, data)) = self.read.get(id) {
            return Ok((*kind, Rc::clone(data)));
        }
        let (kind, data) = self.objects.read(id, OBJECT_BYTES).map_err(Unsuited)?;
        self.left = self.left.checked_sub(data.len()).ok_or_else(much)?;
        let data: Rc<[u8]> = Rc::from(data);
        self.read.insert(id.to_owned(), (kind, Rc::clone(&data)));
        Ok((kind, data))
    }
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
