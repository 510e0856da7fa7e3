//! Step 4, bundle: our own header, then a pack of what the frozen tips reach.
//!
//! Does not own: which step it is (`plan`), or the upload (`vault::ObjectWriter`). A `full` step is copied from the
//! repository's packs (`copy`) where they are made for it, and an `increment` of few objects is put together here
//! (`thin`); everything else is what `by_git` has git write: of a damaged repository, objects that are `listed`. What was written counts only when all of it is proven.

mod by_git;
mod full;
mod increment;
mod listed;
mod thin;

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
pub use full::write_full;
pub use increment::write_increment;
pub use listed::{Listed, write_listed};
use packhorse_model::ObjectDigest;
use packhorse_vault::{BundleHeader, ObjectKey, ObjectWriter, Oid, RefSnapshot, VaultError};

use super::{copy::Knowledge, watch::Watch};

/// Why there is no bundle.
#[derive(Debug)]
pub enum BundleError {
    /// The repository or git: may be gone on a second try, when the repository was being changed.
    Git(String),
    /// The vault.
    Vault(VaultError),
    /// A stop was asked for.
    Cancelled,
}

/// The repository that is bundled.
pub struct Source<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Its frozen refs.
    pub refs: &'a RefSnapshot,
    /// Watches the work, and stops it.
    pub watch: &'a Watch,
}

/// A bundle that was written and is not completed yet.
pub struct Bundle {
    /// The bundle.
    pub object: ObjectWriter,
    /// The index of its pack.
    pub index: Option<ObjectWriter>,
    /// What is known of its completeness.
    pub knowledge: Knowledge,
}

impl Bundle {
    /// A bundle that is known to hold everything, or would not have been written.
    fn without_index(writer: BundleWriter) -> Self {
        Self { object: writer.object, index: None, knowledge: Knowledge::default() }
    }

    /// Bytes that are held outside the vault's budget until it is completed.
    pub fn bytes_buffered(&self) -> usize {
        self.object.bytes_buffered() + self.index.as_ref().map_or(0, ObjectWriter::bytes_buffered)
    }

    /// Completes it together with other objects of the step, and gives their digests.
    pub async fn complete_with(
        self,
        others: Vec<(ObjectKey, Bytes)>,
    ) -> Result<(Vec<ObjectDigest>, Knowledge), VaultError> {
        let mut digests = self.object.complete_with(others).await?;
        if let Some(index) = self.index {
            digests.push(index.complete().await?);
        }
        Ok((digests, self.knowledge))
    }
}

/// The objects of a step that are written as streams.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// The bundle.
    Bundle,
    /// The index of its pack.
    Index,
}

impl Stream {
    /// How its key ends.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Index => "idx",
        }
    }
}

/// An object of a step on its way; what is written is a sign of life.
pub struct BundleWriter {
    /// The object.
    pub object: ObjectWriter,
    /// Of this repository.
    pub watch: Arc<Watch>,
}

impl Write for BundleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.watch.waiting(|| self.object.write(bytes))?;
        self.watch.moved(taken);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}

fn vault_error(error: io::Error) -> BundleError {
    match VaultError::of_io(&error) {
        Some(error) => BundleError::Vault(error.clone()),
        None => BundleError::Vault(VaultError::new(
            packhorse_model::ErrorKind::Internal,
            "upload bundle",
            "bundle",
            error,
        )),
    }
}

fn header(refs: &RefSnapshot, mut listed: Vec<(Vec<u8>, Oid)>, prerequisites: Vec<Oid>) -> BundleHeader {
    if let Some(oid) = refs.head_oid() {
        listed.push((b"HEAD".to_vec(), oid));
    }
    BundleHeader { object_format: refs.object_format, prerequisites, refs: listed }
}
