//! Looking at a repository's objects in process: which exist, and what commits say.
//!
//! Does not own: writing or packing objects. Opened for one repository at a time and only for one that changed; maps
//! the pack indices and reads single objects, so its memory is small whatever the repository.

use std::path::Path;

use gix::{
    object::Kind,
    objs::encode::loose_header,
    odb::{self, store::init::Options},
    prelude::FindExt as _,
};
use packhorse_vault::{ObjectFormat, Oid};

use crate::packs::PackHash;

/// Bytes of the largest object that is put together, also on the way to a smaller one; larger ones count as unreadable.
const LARGEST: usize = 4 << 20;

/// A repository's object database.
pub struct Objects {
    database: odb::Handle,
    format: ObjectFormat,
    buffer: Vec<u8>,
}

/// What a commit says of itself, as far as history walks need it.
pub struct CommitFacts {
    /// Its parents.
    pub parents: Vec<Oid>,
    /// Committer time in seconds since the epoch.
    pub time: i64,
}

impl Objects {
    /// Opens the objects of a bare repository, with its alternates.
    pub fn open(dir: &Path, format: ObjectFormat) -> std::io::Result<Self> {
        let limits = Options { alloc_limit_bytes: Some(LARGEST), ..Options::default() };
        let database = odb::at_opts(dir.join("objects"), hash_kind(format), [], limits)?;
        Ok(Self { database, format, buffer: Vec::new() })
    }

    /// Whether the object exists.
    pub fn exists(&self, oid: Oid) -> bool {
        use gix::objs::Exists as _;
        self.database.exists(&to_gix(oid))
    }

    /// An object of at most `limit` bytes whose content has its name, or what is the matter with it.
    pub fn read(&mut self, id: &gix::oid, limit: u64) -> Result<(Kind, &[u8]), String> {
        use gix::objs::FindHeader as _;
        let missing = || format!("{id} is not there");
        let odd = |e: &dyn std::fmt::Display| format!("{id} cannot be read: {e}");
        let header = self.database.try_header(id).map_err(|e| odd(&e))?.ok_or_else(missing)?;
        if header.size > limit {
            return Err(format!("{id} is large"));
        }
        let object = self.database.find(id, &mut self.buffer).map_err(|e| odd(&e))?;
        let mut hash = PackHash::new(self.format);
        hash.update(&loose_header(object.kind, object.data.len() as u64));
        hash.update(object.data);
        if hash.finish() != id.as_bytes() {
            return Err(odd(&"its content has another name"));
        }
        Ok((object.kind, object.data))
    }

    /// The commit that an object is or, as a tag, leads to; none for trees, blobs and missing objects.
    pub fn peel_to_commit(&mut self, oid: Oid) -> Option<Oid> {
        let mut id = to_gix(oid);
        loop {
            let object = self.database.find(&id, &mut self.buffer).ok()?;
            match object.kind {
                gix::object::Kind::Commit => return Oid::from_bytes(id.as_bytes()),
                gix::object::Kind::Tag => {
                    let hash_kind = id.kind();
                    id = gix::objs::TagRefIter::from_bytes(object.data, hash_kind).target_id().ok()?;
                }
                _ => return None,
            }
        }
    }

    /// Parents and time of a commit; none when it is missing or damaged.
    pub fn commit(&mut self, oid: Oid) -> Option<CommitFacts> {
        let commit = self.database.find_commit_iter(&to_gix(oid), &mut self.buffer).ok()?;
        let parents = commit.parent_ids().filter_map(|id| Oid::from_bytes(id.as_bytes())).collect();
        let time = commit.committer().ok()?.seconds();
        Some(CommitFacts { parents, time })
    }
}

/// Gix's name of a hash.
pub fn hash_kind(format: ObjectFormat) -> gix::hash::Kind {
    match format {
        ObjectFormat::Sha1 => gix::hash::Kind::Sha1,
        ObjectFormat::Sha256 => gix::hash::Kind::Sha256,
    }
}

/// Gix's form of an object id.
pub fn to_gix(oid: Oid) -> gix::ObjectId {
    gix::ObjectId::from_bytes_or_panic(oid.as_bytes())
}
