//! One repository's refs, frozen at one moment. Everything a step says about refs is made from this one value.
//!
//! Does not own: reading it from a repository (`agent`). The refs file, the bundle header, the pack's tips, the
//! fingerprint and the next increment's negative tips cannot disagree, because they have one source.

use crate::{ObjectFormat, Oid, RefList, RefStorage, Symref, write_refs_file};

/// Where HEAD points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// To a ref, which may not exist (unborn).
    Symbolic(Vec<u8>),
    /// To an object.
    Detached(Oid),
}

/// The refs of one repository at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefSnapshot {
    /// The repository's hash.
    pub object_format: ObjectFormat,
    /// How the repository stores refs.
    pub ref_storage: RefStorage,
    /// HEAD.
    pub head: Head,
    /// Every ref under `refs/` that resolves, symbolic ones with the object id they lead to.
    pub refs: RefList,
    /// The symbolic refs under `refs/`, also those that lead nowhere.
    pub symrefs: Vec<Symref>,
}

impl RefSnapshot {
    /// The object id that HEAD leads to.
    pub fn head_oid(&self) -> Option<Oid> {
        match &self.head {
            Head::Detached(oid) => Some(*oid),
            Head::Symbolic(target) => self.refs.get(target),
        }
    }

    /// Whether there is nothing to bundle.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty() && self.head_oid().is_none()
    }

    /// The bytes of the step's `.refs` object.
    pub fn refs_file(&self) -> Vec<u8> {
        write_refs_file(self.head_oid(), &self.refs)
    }
}
