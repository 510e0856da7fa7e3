//! What is known of a repository's packs before a walk, and after it: packs that are closed.
//!
//! Does not own: the walk (`reach`), or where the knowledge is kept (the manifest). A pack is closed, together with those
//! that it needs, when everything that its objects name is in them. Packs never change and have the hash of their bytes in
//! their trailer, which is proven whenever a pack is copied; so what one run has proven stays true, whatever refs do.
//! With `--prove later` all packs are taken for closed, and the step is marked as not proven.

use std::collections::HashMap;

use packhorse_vault::{ClosedPack, Oid};

use super::reach::{Links, Reached};
use crate::packs::PackSet;

/// What a copy may rely on.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Packs that an earlier step has proven closed.
    pub known: Vec<ClosedPack>,
    /// Take all packs for closed.
    pub later: bool,
    /// Share of a repository's objects that may be copied although nothing reaches them, 0 to 1.
    pub max_garbage: f64,
}

impl Trust {
    /// Whether so many objects of so many may be copied although nothing reaches them.
    pub fn bears(&self, garbage: u32, of: u32) -> bool {
        f64::from(garbage) <= self.max_garbage * f64::from(of)
    }
}

/// Which packs are taken for closed.
pub struct Closed {
    /// For each pack.
    pub packs: Vec<bool>,
    /// For each pack, whether that is proven.
    proven: Vec<bool>,
}

impl Closed {
    /// The packs of a set that are known to be closed, or taken for it.
    pub fn of(set: &PackSet, trust: &Trust) -> Self {
        let proven = closed(&known(set, trust));
        let packs = proven.iter().map(|proven| *proven || trust.later).collect();
        let mut closed = Self { packs, proven };
        // Where there is a bitmap, a walk takes no time either, and says exactly what is reached.
        if !trust.later && set.bitmap().is_some() {
            closed.packs[0] = false;
        }
        closed
    }

    /// Whether anything was taken for closed that is not proven.
    pub fn is_assumed(&self, reached: &Reached) -> bool {
        let assumed = self.packs.iter().zip(&self.proven).map(|(closed, proven)| *closed && !proven);
        assumed.zip(&reached.closed).any(|(assumed, used)| assumed && *used)
    }

    /// What the next run may rely on.
    pub fn learn(&self, set: &PackSet, trust: &Trust, reached: &Reached) -> Vec<ClosedPack> {
        let walked = |number: usize, links: &Links| {
            let others =
                (0..reached.links.len()).filter(|other| *other != number && links.packs & 1 << other != 0);
            (!reached.closed[number] && !links.elsewhere).then(|| others.collect::<Vec<_>>())
        };
        let before =
            known(set, trust).into_iter().zip(&self.proven).map(|(needs, proven)| needs.filter(|_| *proven));
        let links = reached.links.iter().enumerate();
        let needs: Vec<_> =
            links.zip(before).map(|((number, links), before)| walked(number, links).or(before)).collect();
        let name = |number: usize| set.packs()[number].file().name();
        let is_closed = closed(&needs);
        let learnt = needs.into_iter().enumerate().filter(|(number, _)| is_closed[*number]);
        let learnt = learnt.map(|(number, needs)| {
            let needs = needs.into_iter().flatten().map(name).collect();
            ClosedPack { pack: name(number), needs }
        });
        learnt.collect()
    }
}

/// For each pack that is known, which of the others it needs.
fn known(set: &PackSet, trust: &Trust) -> Vec<Option<Vec<usize>>> {
    let names: Vec<Oid> = set.packs().iter().map(|pack| pack.file().name()).collect();
    let at: HashMap<Oid, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    let needs = |name: &Oid| {
        let known = trust.known.iter().find(|known| known.pack == *name)?;
        known.needs.iter().map(|need| at.get(need).copied()).collect()
    };
    names.iter().map(needs).collect()
}

/// Which packs are closed, when each needs these others, or is open.
fn closed(needs: &[Option<Vec<usize>>]) -> Vec<bool> {
    let mut is_closed: Vec<bool> = needs.iter().map(Option::is_some).collect();
    loop {
        let lacks = |needs: &Option<Vec<usize>>| needs.iter().flatten().any(|need| !is_closed[*need]);
        let opened: Vec<usize> = (0..needs.len()).filter(|at| is_closed[*at] && lacks(&needs[*at])).collect();
        if opened.is_empty() {
            return is_closed;
        }
        opened.into_iter().for_each(|at| is_closed[at] = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_closed_when_all_that_it_needs_are() {
        let closed = |needs: &[Option<&[usize]>]| {
            closed(&needs.iter().map(|need| need.map(<[usize]>::to_vec)).collect::<Vec<_>>())
        };
        assert_eq!(closed(&[Some(&[]), Some(&[0]), Some(&[1, 0])]), [true, true, true]);
        assert_eq!(closed(&[None, Some(&[0]), Some(&[1])]), [false, false, false]);
        // A circle holds itself.
        assert_eq!(closed(&[Some(&[1]), Some(&[0]), None]), [true, true, false]);
        assert_eq!(closed(&[Some(&[1]), Some(&[0, 2]), None]), [false, false, false]);
    }
}
