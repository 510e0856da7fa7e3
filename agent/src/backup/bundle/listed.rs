//! The bundle of objects that are known one by one: those of a damaged repository that are whole.
//!
//! Does not own: which they are (`damage`). Git packs the list and follows nothing. It copies what lies in packs as it is,
//! each entry of which is inflated as it passes; where that finds damage there is another copy of the object, and git makes
//! every entry anew from what it reads.

use packhorse_vault::{Oid, RefList};

use super::{
    Bundle, BundleError, BundleWriter, Source, Stream,
    by_git::{self, Order, Proof},
    header,
};
use crate::git::{Git, ObjectsOnly};

/// What goes into the bundle.
pub struct Listed<'a> {
    /// The refs that the chain leads to; none in a full step.
    pub base: Option<&'a RefList>,
    /// The objects.
    pub objects: &'a [Oid],
    /// Commits that whoever reads it has.
    pub prerequisites: Vec<Oid>,
}

/// Writes the bundle. Blocking.
pub fn write_listed(
    source: &Source<'_>,
    wanted: Listed<'_>,
    (git, objects): (&Git, &ObjectsOnly),
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, BundleError> {
    let nothing = RefList::new();
    let moved =
        source.refs.refs.compare(wanted.base.unwrap_or(&nothing)).filter(|(_, now, then)| now != then);
    let listed = moved.filter_map(|(name, now, _)| Some((name.to_vec(), now?))).collect();
    let header = header(source.refs, listed, wanted.prerequisites);
    let write = |reuse| {
        let order = Order::objects(&header, wanted.objects, reuse);
        by_git::write(source, objects.command(git), order, Proof::Inflate, &open)
    };
    let written = match write(true) {
        Err(BundleError::Git(finding)) => {
            tracing::debug!(repository = %source.dir.display(), %finding, "packed anew");
            write(false)
        }
        written => written,
    };
    written.map(Bundle::without_index)
}
