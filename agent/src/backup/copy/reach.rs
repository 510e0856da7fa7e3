//! Everything that a repository's refs reach, found and marked.
//!
//! Does not own: the objects' content, beyond what leads on: commits, trees and tags are decoded, blobs only looked up.
//! History is followed no further than to packs that are closed (`trust`): those are marked as a whole. Where the pack
//! has a bitmap, it is followed no further than to the commits that it knows. An object that is not there ends the walk,
//! so a finished one is the proof that a copy of the marked objects is complete.
//!
//! A bitmap that was made when history was cut off knows nothing of what was fetched since. So when there is anything
//! that it does not mark, every commit that it does is looked into once more.
//!
//! The walk also notes which packs each pack's objects lead to. A little that nothing reaches is walked in the end, too:
//! packs without anything that is missing can be copied as they lie, and are closed for later runs.

use std::collections::HashSet;

use gix::{
    ObjectId,
    object::Kind,
    objs::{CommitRefIter, TagRefIter, TreeRefIter, commit::ref_iter::Token},
};
use packhorse_vault::RefSnapshot;
use tokio_util::sync::CancellationToken;

use super::{
    CopyError, Limits,
    tree_before::TreeBefore,
    trust::{Closed, Trust},
};
use crate::{
    git::{hash_kind, to_gix},
    packs::{Bitmap, Decoder, Location, LooseObject, Marks, Pack, PackSet, Unsuited, object_entry},
};

/// Loose objects that are copied: more would better be packed, which git does.
const LOOSE_OBJECTS: usize = 512;
/// Bytes of them, unpacked.
pub const LOOSE_BYTES: u64 = 2 << 20;
/// Objects between two looks at the cancel token.
const BETWEEN_LOOKS: u32 = 1024;
/// Tips that wait to be looked into.
const MOST_WAITING: usize = 4096;
/// Ids of tree entries that are remembered, at most, because neighbouring trees share most of theirs.
const REMEMBERED: usize = 1 << 15;

/// What the refs reach.
pub struct Reached {
    /// For each pack, the entries.
    pub marks: Vec<Marks>,
    /// Loose objects, as entries of a pack, in the order in which they were met.
    pub loose: Vec<(ObjectId, Vec<u8>)>,
    /// For each pack, where its objects lead to, as far as they were looked into.
    pub links: Vec<Links>,
    /// For each pack, whether it was taken for closed.
    pub closed: Vec<bool>,
}

/// Where the objects of a pack lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The packs, one bit for each.
    pub packs: u64,
    /// Whether any leads to a loose object, or not all were looked into.
    pub elsewhere: bool,
}

impl Reached {
    /// Follows every ref, and HEAD.
    pub fn from(
        set: &PackSet,
        refs: &RefSnapshot,
        trust: &Trust,
        closed: &Closed,
        limits: Limits,
        cancel: &CancellationToken,
    ) -> Result<Self, CopyError> {
        let mut walk = Walk::new(set, limits, cancel);
        match walk.all(refs, trust, closed) {
            Ok(()) => Ok(walk.into_reached()),
            Err(reason) => Err(walk.lost.map_or(CopyError::Unsuited(reason), CopyError::Lost)),
        }
    }
}

impl Walk<'_> {
    fn all(&mut self, refs: &RefSnapshot, trust: &Trust, closed: &Closed) -> Result<(), Unsuited> {
        let (set, walk) = (self.set, self);
        let tips = || refs.head_oid().into_iter().chain(refs.refs.iter().map(|(_, oid)| oid)).map(to_gix);
        // Those that have a bitmap settle nearly everything, so they go first.
        if set.bitmap().is_some() {
            tips().try_for_each(|tip| walk.expand(&tip))?;
        }
        for (number, pack) in set.packs().iter().enumerate() {
            let marks = &walk.reached.marks[number];
            // A bitmap says what is garbage.
            let fits = number > 0
                || set.bitmap().is_none()
                || trust.bears(pack.count() - marks.count(), pack.count());
            if closed.packs[number] && fits {
                walk.close(number)?;
            }
        }
        for tip in tips() {
            walk.visit(&tip, Role::Target)?;
            if walk.waiting.len() >= MOST_WAITING {
                walk.run()?;
            }
        }
        walk.run()?;
        // In a pack that is taken for closed nothing is looked into.
        let believed = walk.expanded.count() == 0 || walk.reached.closed[0];
        if !believed && (set.may_have_loose() || !walk.is_all()) {
            walk.look_into_expanded()?;
            walk.run()?;
        }
        walk.take_rest(trust)
    }
}

struct Walk<'a> {
    set: &'a PackSet,
    reached: Reached,
    /// Marked entries that may lead on, and were noted to be looked into: a damaged tree may call anything a blob.
    followed: Vec<Marks>,
    /// The bitmap of the first pack, as long as it is believed.
    bitmap: Option<&'a Bitmap>,
    /// Entries of the first pack that its bitmap marked.
    expanded: Marks,
    /// Loose objects that were met.
    loose: HashSet<ObjectId>,
    loose_left: u64,
    waiting: Vec<Waiting>,
    /// Trees that are looked into when nothing else waits.
    trees: Vec<Location>,
    decoder: Decoder,
    /// What tree entries named lately, and where that is.
    remembered: Vec<(ObjectId, Role, u64)>,
    before: TreeBefore,
    words: Vec<u64>,
    cancel: &'a CancellationToken,
    /// Objects looked into.
    seen: u32,
    /// The pack of the object that is followed; none for a loose one, and for refs.
    from: Option<u32>,
    /// Whether what nothing reaches is walked.
    rest: bool,
    /// An object that was not found, which ended the walk.
    lost: Option<ObjectId>,
}

/// An object that was marked but not looked into.
enum Waiting {
    Packed(Location, Role),
    Loose(LooseObject),
}

/// What an object is, as far as the one that names it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Of any kind: a ref's or a tag's target.
    Target,
    Commit,
    Tree,
    Blob,
}

impl<'a> Walk<'a> {
    fn new(set: &'a PackSet, limits: Limits, cancel: &'a CancellationToken) -> Self {
        let marks: Vec<Marks> = set.packs().iter().map(|pack| Marks::none(pack.count())).collect();
        let objects: usize = set.packs().iter().map(|pack| pack.count() as usize).sum();
        let remembered = (objects / 4).next_power_of_two().min(REMEMBERED);
        let nothing = (ObjectId::null(hash_kind(set.format())), Role::Target, 0);
        let with_bitmap = set.packs().first().filter(|_| set.bitmap().is_some());
        Self {
            set,
            followed: marks.clone(),
            bitmap: set.bitmap(),
            expanded: Marks::none(with_bitmap.map_or(0, Pack::count)),
            reached: Reached {
                links: vec![Links::default(); marks.len()],
                closed: vec![false; marks.len()],
                marks,
                loose: Vec::new(),
            },
            loose: HashSet::new(),
            loose_left: LOOSE_BYTES,
            waiting: Vec::new(),
            trees: Vec::new(),
            decoder: limits.decoder(),
            remembered: vec![nothing; remembered],
            before: TreeBefore::default(),
            words: Vec::new(),
            cancel,
            seen: 0,
            from: None,
            rest: false,
            lost: None,
        }
    }

    /// Takes a pack as it is: everything in it, and nothing of it is looked into.
    fn close(&mut self, number: usize) -> Result<(), Unsuited> {
        self.reached.closed[number] = true;
        self.followed[number].fill();
        for place in 0..self.set.packs()[number].count() {
            if self.is_here(number, place) {
                self.reached.marks[number].mark(place);
            }
            self.look_at_cancel()?;
        }
        Ok(())
    }

    /// Whether the object is taken from this place, and not from an earlier pack that has it, too.
    fn is_here(&self, number: usize, place: u32) -> bool {
        number == 0
            || self.set.find(self.set.packs()[number].oid(place)).is_some_and(|at| at.pack as usize == number)
    }

    /// Whether every entry of every pack is marked.
    fn is_all(&self) -> bool {
        self.reached.marks.iter().all(|marks| marks.count() == marks.len())
    }

    /// Walks what nothing reaches, if that is little and all there; otherwise it is left out.
    fn take_rest(&mut self, trust: &Trust) -> Result<(), Unsuited> {
        let takes_part = |marks: &&Marks| marks.count() > 0;
        let all: u32 = self.reached.marks.iter().filter(takes_part).map(Marks::len).sum();
        let marked: u32 = self.reached.marks.iter().map(Marks::count).sum();
        if marked == all || !trust.bears(all - marked, all) {
            return Ok(());
        }
        let exact = (self.reached.marks.clone(), self.followed.clone());
        self.rest = true;
        match self.walk_rest() {
            Err(_) if !self.cancel.is_cancelled() => {
                (self.reached.marks, self.followed) = exact;
                self.waiting.clear();
                self.trees.clear();
                Ok(())
            }
            walked => walked,
        }
    }

    fn walk_rest(&mut self) -> Result<(), Unsuited> {
        for number in 0..self.set.packs().len() {
            let marks = &self.reached.marks[number];
            if marks.count() == 0 {
                continue;
            }
            let left: Vec<u32> = (0..marks.len()).filter(|place| !marks.has(*place)).collect();
            for place in left {
                // It may have been met since.
                if self.is_here(number, place) && !self.followed[number].has(place) {
                    self.note(Location { pack: number as u32, place }, Role::Target);
                }
                if self.waiting.len() >= MOST_WAITING {
                    self.run()?;
                }
                self.look_at_cancel()?;
            }
        }
        self.run()
    }

    fn into_reached(mut self) -> Reached {
        let by_bitmap = self.bitmap.is_some() && self.expanded.count() > 0;
        for (number, pack) in self.set.packs().iter().enumerate() {
            let (marks, links) = (&self.reached.marks[number], &mut self.reached.links[number]);
            links.elsewhere |= number == 0 && by_bitmap;
            if marks.count() == marks.len() {
                continue;
            }
            for place in (0..marks.len()).filter(|place| !marks.has(*place)) {
                match self.set.find(pack.oid(place)) {
                    // What it leads to is noted there.
                    Some(at) if at.pack as usize != number => links.packs |= 1 << at.pack,
                    _ => links.elsewhere = true,
                }
            }
        }
        self.reached
    }

    fn look_at_cancel(&mut self) -> Result<(), Unsuited> {
        self.seen = self.seen.wrapping_add(1);
        if self.seen.is_multiple_of(BETWEEN_LOOKS) && self.cancel.is_cancelled() {
            return Err(Unsuited("asked to stop".into()));
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Unsuited> {
        let mut data = Vec::new();
        loop {
            while let Some(object) = self.waiting.pop() {
                match object {
                    Waiting::Loose(LooseObject { kind, data }) => {
                        self.from = None;
                        self.follow(kind, &data)?;
                    }
                    Waiting::Packed(at, role) => self.open(at, role, &mut data)?,
                }
            }
            // In the order of the pack, where a tree follows the one that it is a delta on, so that each is resolved
            // once. What they lead to is one folder deeper and makes the next round.
            let mut trees = std::mem::take(&mut self.trees);
            if trees.is_empty() {
                return Ok(());
            }
            trees.sort_unstable();
            for at in trees {
                self.open(at, Role::Tree, &mut data)?;
            }
        }
    }

    /// Visits what the commits name that the bitmap marked. From here on it is not asked again: what it does not know of
    /// these commits, it may not know of others.
    fn look_into_expanded(&mut self) -> Result<(), Unsuited> {
        let Some(bitmap) = self.bitmap.take() else { return Ok(()) };
        self.words.resize(self.expanded.words(), 0);
        bitmap.commits(&mut self.words).ok_or_else(|| Unsuited("has an odd bitmap".into()))?;
        let mut commits = Marks::none(self.expanded.len());
        commits.merge(&self.words);
        let places: Vec<u32> = self.expanded.iter().filter(|place| commits.has(*place)).collect();
        let mut data = Vec::new();
        for place in places {
            self.open(Location { pack: 0, place }, Role::Commit, &mut data)?;
        }
        Ok(())
    }

    /// Looks into an entry.
    fn open(&mut self, at: Location, role: Role, data: &mut Vec<u8>) -> Result<(), Unsuited> {
        self.look_at_cancel()?;
        let pack = self.set.pack(at);
        // A blob may be large, and leads nowhere.
        if role == Role::Target && Decoder::kind(pack, at.place)? == Kind::Blob {
            return Ok(());
        }
        let kind = self.decoder.decode(at.pack, pack, at.place, data)?;
        self.from = Some(at.pack);
        self.follow(kind, data)
    }

    /// Visits what an object names.
    fn follow(&mut self, kind: Kind, data: &[u8]) -> Result<(), Unsuited> {
        let hash = hash_kind(self.set.format());
        let odd = |e: gix::error::Error| Unsuited(format!("{kind} cannot be read: {e}"));
        match kind {
            Kind::Blob => Ok(()),
            Kind::Tag => {
                let target = TagRefIter::from_bytes(data, hash).target_id().map_err(odd)?;
                self.visit(&target, Role::Target).map(drop)
            }
            Kind::Commit => {
                for token in CommitRefIter::from_bytes(data, hash) {
                    match token.map_err(odd)? {
                        Token::Tree { id } => drop(self.visit(&id, Role::Tree)?),
                        Token::Parent { id } => drop(self.visit(&id, Role::Commit)?),
                        _ => break,
                    }
                }
                Ok(())
            }
            Kind::Tree => self.follow_tree(data),
        }
    }

    /// Visits the entries of a tree that the one before did not have. Neighbours in a pack are mostly versions of one
    /// folder, so nearly all entries are the same, and those that are need not be taken apart.
    fn follow_tree(&mut self, data: &[u8]) -> Result<(), Unsuited> {
        let mut before = std::mem::take(&mut self.before);
        before.keep_only_of(self.from);
        let (mut at, mut next) = (0, 0);
        let mut ends = before.take_spare();
        while at < data.len() {
            let rest = &data[at..];
            at += match before.find(&mut next, rest) {
                Some(length) => length,
                None => self.visit_entry(rest)?,
            };
            ends.push(at);
        }
        before.replace(self.from, data, ends);
        self.before = before;
        Ok(())
    }

    /// Visits the first entry of what is left of a tree, and says how long it is.
    fn visit_entry(&mut self, rest: &[u8]) -> Result<usize, Unsuited> {
        let hash = hash_kind(self.set.format());
        let odd = || Unsuited("tree cannot be read".into());
        let entry = TreeRefIter::from_bytes(rest, hash).next().ok_or_else(odd)?;
        let entry = entry.map_err(|e| Unsuited(format!("tree cannot be read: {e}")))?;
        // A mode, a space, the name, a zero, and the id.
        let mode = rest.iter().position(|byte| *byte == b' ').ok_or_else(odd)?;
        let length = mode + entry.filename.len() + 2 + entry.oid.as_bytes().len();
        if entry.mode.is_commit() {
            return Ok(length);
        }
        let start = [entry.oid.as_bytes()[0], entry.oid.as_bytes()[1]];
        let slot = usize::from(u16::from_le_bytes(start)) % self.remembered.len();
        let role = if entry.mode.is_tree() { Role::Tree } else { Role::Blob };
        let (oid, as_role, links) = &self.remembered[slot];
        if oid.as_ref() == entry.oid && *as_role == role {
            let links = *links;
            self.link(links);
        } else {
            let links = self.visit(entry.oid, role)?;
            self.remembered[slot] = (entry.oid.to_owned(), role, links);
        }
        Ok(length)
    }

    /// Marks an object, and notes it for later unless it leads nowhere or was met before. Says where it is, as links.
    fn visit(&mut self, oid: &gix::oid, role: Role) -> Result<u64, Unsuited> {
        let Some(at) = self.set.find(oid) else { return self.visit_loose(oid) };
        let number = at.pack as usize;
        let links = 1 << at.pack;
        self.link(links);
        if role == Role::Blob {
            self.reached.marks[number].mark(at.place);
        } else if !self.followed[number].has(at.place) && (role == Role::Tree || !self.expand_at(at)?) {
            self.note(at, role);
        }
        Ok(links)
    }

    /// Marks an entry, and notes it for later.
    fn note(&mut self, at: Location, role: Role) {
        self.reached.marks[at.pack as usize].mark(at.place);
        self.followed[at.pack as usize].mark(at.place);
        match role {
            Role::Tree => self.trees.push(at),
            _ => self.waiting.push(Waiting::Packed(at, role)),
        }
    }

    /// Notes what the object that is followed leads to; no bit stands for something loose.
    fn link(&mut self, links: u64) {
        if let Some(from) = self.from {
            let known = &mut self.reached.links[from as usize];
            known.packs |= links;
            known.elsewhere |= links == 0;
        }
    }

    fn visit_loose(&mut self, oid: &gix::oid) -> Result<u64, Unsuited> {
        self.link(0);
        if self.loose.contains(oid) {
            return Ok(0);
        }
        if self.rest {
            return Err(Unsuited(format!("{oid} is in no pack")));
        }
        if self.loose.len() == LOOSE_OBJECTS {
            return Err(Unsuited("has many loose objects".into()));
        }
        let object = LooseObject::read(self.set.objects(), oid, self.set.format(), self.loose_left)?;
        let Some(object) = object else {
            self.lost = Some(oid.to_owned());
            return Err(Unsuited(format!("{oid} is in no pack and not loose")));
        };
        self.loose_left -= object.data.len() as u64;
        self.loose.insert(oid.to_owned());
        let entry = object_entry(object.kind, &object.data).map_err(|e| Unsuited(e.to_string()))?;
        self.reached.loose.push((oid.to_owned(), entry));
        if object.kind != Kind::Blob {
            self.waiting.push(Waiting::Loose(object));
        }
        Ok(0)
    }

    /// Marks everything that a commit reaches, when the bitmap knows it.
    fn expand(&mut self, oid: &gix::oid) -> Result<(), Unsuited> {
        match self.set.find(oid) {
            Some(at) if !self.followed[at.pack as usize].has(at.place) => self.expand_at(at).map(drop),
            _ => Ok(()),
        }
    }

    fn expand_at(&mut self, at: Location) -> Result<bool, Unsuited> {
        let Some(bitmap) = self.bitmap.filter(|_| at.pack == 0) else { return Ok(false) };
        let pack = self.set.pack(at);
        let Some(entry) = bitmap.entry_of(pack.number(at.place)) else { return Ok(false) };
        self.words.resize(self.followed[0].words(), 0);
        let expanded = bitmap.expand(entry, &mut self.words);
        expanded.ok_or_else(|| Unsuited(format!("{}: has an odd bitmap", pack.path().display())))?;
        self.reached.marks[0].merge(&self.words);
        self.followed[0].merge(&self.words);
        self.expanded.merge(&self.words);
        if self.followed[0].has(at.place) {
            Ok(true)
        } else {
            Err(Unsuited(format!("{}: has a bitmap of another pack", pack.path().display())))
        }
    }
}
