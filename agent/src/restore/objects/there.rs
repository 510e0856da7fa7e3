//! Which objects a repository under construction has.
//!
//! Does not own: whether they are sound; packs are proven when they are indexed.

use std::path::Path;

use gix::{
    ObjectId,
    object::Kind,
    objs::{Exists, Find},
    odb::Header as _,
};
use packhorse_model::Problem;
use packhorse_vault::{ObjectFormat, Oid};

use crate::{git::hash_kind, restore::io_problem::io_problem};

/// Objects that were just brought and are known by name, so that nobody needs to look for them.
#[derive(Debug, Default)]
pub(in crate::restore) struct Brought(Vec<ObjectId>);

impl Brought {
    /// Those with these names, which ascend.
    pub(super) fn new(oids: Vec<ObjectId>) -> Self {
        Self(oids)
    }

    /// Whether the object is among them; others may be there all the same.
    pub(in crate::restore) fn has(&self, oid: &Oid) -> bool {
        self.0.binary_search_by(|brought| brought.as_bytes().cmp(oid.as_bytes())).is_ok()
    }
}

/// The objects of a repository at the moment it was opened.
pub(in crate::restore) struct ObjectsThere(gix::odb::Handle);

impl ObjectsThere {
    /// Opens the packs of a repository. Blocking.
    pub(in crate::restore) fn open(repository: &Path, format: ObjectFormat) -> Result<Self, Problem> {
        let folder = repository.join("objects");
        let mut objects = gix::odb::at(&folder, hash_kind(format))
            .map_err(|e| io_problem("open objects", folder.display(), &e))?;
        objects.refresh_never();
        Ok(Self(objects))
    }

    /// Whether the object is there.
    pub(in crate::restore) fn has(&self, oid: &Oid) -> bool {
        gix::hash::ObjectId::try_from(oid.as_bytes()).is_ok_and(|oid| self.0.exists(&oid))
    }

    /// An object of at most `limit` bytes; none when it is not there, is larger or cannot be read.
    pub(super) fn read(&self, oid: &gix::oid, limit: u64) -> Option<(Kind, Vec<u8>)> {
        let size = self.0.try_header(oid).ok()??.size();
        let mut data = Vec::new();
        let kind = if size <= limit { self.0.try_find(oid, &mut data).ok()??.kind } else { return None };
        Some((kind, data))
    }
}
