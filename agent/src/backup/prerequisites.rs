//! Which commits the receiver of an increment must have: the edge between what is new and what the base holds.
//!
//! Does not own: what goes into the pack (`bundle`). The walk paints from the new tips and
//! from the base's tips, newest commit first, and ends when nothing new is left: it visits about what git visits. Every
//! prerequisite is reachable from a ref of the step before, so a reader that replays the chain always has it.
//!
//! Painting looks into every tip of the base, which takes long when there are very many. Then the new tips are followed
//! for a few commits first: where that leads to tips of the base and nowhere else, these are all that matters.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use packhorse_vault::Oid;

use crate::git::Objects;

/// Commits that are visited before the walk gives up and names all tips of the base.
const MAX_VISITED: usize = 400_000;

/// Tips of a base that are few: painting from them takes no time.
pub const FEW_TIPS: usize = 5_000;
/// Commits that are new in a step, when there are few.
const FEW_COMMITS: usize = 64;

const NEW: u8 = 1;
const OLD: u8 = 2;

/// What is between what is new and what the base holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Edge {
    /// Commits on the base's side.
    pub prerequisites: Vec<Oid>,
    /// Commits on this side, all of them; none where nobody has counted them.
    pub fresh: Option<HashSet<Oid>>,
}

/// The edge of an increment from the `known` tips to `tips`; all ids may be tags.
pub fn of(objects: &mut Objects, tips: &[Oid], known: &[Oid]) -> Edge {
    let mut walk = Walk { objects, flags: HashMap::new(), heap: BinaryHeap::new(), waiting: HashSet::new() };
    let tips: Vec<Oid> = tips.iter().filter_map(|&oid| walk.objects.peel_to_commit(oid)).collect();
    let known: Vec<Oid> = known.iter().filter_map(|&oid| walk.objects.peel_to_commit(oid)).collect();
    for (oids, flag) in [(&known, OLD), (&tips, NEW)] {
        for &oid in oids {
            walk.mark(oid, flag);
        }
    }
    let sorted = |oids: BTreeSet<Oid>| oids.into_iter().collect();
    match walk.run() {
        Some(fresh) => {
            let edge = fresh.values().flatten().copied().filter(|parent| walk.is_old(*parent));
            let old_tips = tips.iter().copied().filter(|tip| walk.is_old(*tip));
            let prerequisites = sorted(edge.chain(old_tips).collect());
            Edge { prerequisites, fresh: Some(fresh.into_keys().collect()) }
        }
        None => Edge { prerequisites: sorted(known.into_iter().collect()), fresh: None },
    }
}

/// The same for a base of very many tips and an increment of few commits: the tips of the base that it builds on, which
/// are all that git has to know. None where painting is wiser.
pub fn near(objects: &mut Objects, tips: &[Oid], known: &HashSet<Oid>) -> Option<Edge> {
    let (mut edge, mut fresh) = (BTreeSet::new(), HashSet::new());
    let mut waiting: Vec<Oid> = tips.to_vec();
    while let Some(oid) = waiting.pop() {
        if known.contains(&oid) {
            // What was pruned meanwhile is no base.
            objects.exists(oid).then(|| edge.insert(oid))?;
            continue;
        }
        let commit = objects.peel_to_commit(oid)?;
        if commit != oid {
            waiting.push(commit);
        } else if fresh.insert(oid) {
            let parents = objects.commit(oid)?.parents;
            // A root, or too long a way, may be old history that is met at its side.
            if parents.is_empty() || fresh.len() > FEW_COMMITS {
                return None;
            }
            waiting.extend(parents);
        }
    }
    let commits = edge.into_iter().filter_map(|oid| objects.peel_to_commit(oid));
    let commits: BTreeSet<Oid> = commits.collect();
    Some(Edge { prerequisites: commits.into_iter().collect(), fresh: Some(fresh) })
}

struct Walk<'a> {
    objects: &'a mut Objects,
    flags: HashMap<Oid, u8>,
    /// By time, newest first; the parents were read when the commit was marked.
    heap: BinaryHeap<(i64, Oid, Vec<Oid>)>,
    /// Commits in the heap that are only new: the walk goes on while there is one.
    waiting: HashSet<Oid>,
}

impl Walk<'_> {
    fn is_old(&self, oid: Oid) -> bool {
        self.flags.get(&oid).is_some_and(|flags| flags & OLD != 0)
    }

    fn mark(&mut self, oid: Oid, flag: u8) {
        let flags = self.flags.entry(oid).or_default();
        let before = *flags;
        *flags |= flag;
        // An old commit stays old; a new one that is found old is visited again, to carry the mark to its parents.
        if before & flag != 0 || before & OLD != 0 {
            return;
        }
        if flag == OLD {
            self.waiting.remove(&oid);
        }
        // A missing parent of an old commit was pruned; git tolerates that too.
        let Some(facts) = self.objects.commit(oid) else { return };
        self.heap.push((facts.time, oid, facts.parents));
        if flag == NEW {
            self.waiting.insert(oid);
        }
    }

    /// The commits that are only new, with their parents; none when there was too much to visit.
    fn run(&mut self) -> Option<HashMap<Oid, Vec<Oid>>> {
        let mut visited: HashMap<Oid, Vec<Oid>> = HashMap::new();
        while !self.waiting.is_empty() {
            let Some((_, oid, parents)) = self.heap.pop() else { break };
            let flag = if self.is_old(oid) { OLD } else { NEW };
            if flag == NEW {
                self.waiting.remove(&oid);
                visited.insert(oid, parents.clone());
            }
            for parent in parents {
                self.mark(parent, flag);
            }
            if self.flags.len() > MAX_VISITED {
                return None;
            }
        }
        visited.retain(|oid, _| !self.is_old(*oid));
        Some(visited)
    }
}
