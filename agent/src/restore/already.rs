//! Whether the repository that is at a place is the one that would be restored: what an earlier try put there.
//!
//! Does not own: replacing it (`place`). The refs, HEAD and hooks that are there must have the fingerprint that the backup
//! recorded, with nothing of them broken. A repository comes to its place in one step, whole, so its objects are not read
//! again. Nothing is written here.

use packhorse_vault::CatalogueEntry;

use crate::{
    backup::fingerprint_of,
    git::Git,
    restore::{Restore, place::Place},
};

impl Restore {
    /// Whether `place` holds what the entry restores to. Blocking.
    pub(super) fn is_there_already(&self, place: &Place, entry: &CatalogueEntry) -> bool {
        let git = Git::new(self.job.git.clone());
        let found = place.folder().and_then(|dir| fingerprint_of(&entry.path, dir, &git, &self.cancel));
        found.is_some() && found == entry.fingerprint
    }
}
