//! Step 4: the objects of every step, in order: bundle → pack file → index.
//!
//! Does not own: the refs. A bundle is read once, as a stream: its bytes go into a pack file while they are inflated
//! and measured (`stream`, `entries`), and its digest is proven before the pack is indexed. Then `index` names every
//! object in process, within a memory budget; packs that are thin, or that would need more memory than the budget
//! has, are given to `git index-pack`, which is slower but keeps its memory to itself. If either refuses a pack, the
//! repository is not restored.

mod chains;
mod entries;
mod index;
mod stream;
mod there;

pub(super) use there::ObjectsThere;

use std::{io::BufRead, path::Path};

use packhorse_model::{ErrorKind, Problem};
use packhorse_vault::{BundleHeader, Manifest, ObjectFormat, ObjectKey, ObjectReader, Step, Vault};

use crate::restore::{
    Progress,
    fetch::fetch_named,
    git_child::GitChild,
    io_problem::{corrupt, io_problem, vault_problem},
};
use stream::PackStream;

/// Where the packs of one repository go, and what it takes to bring them there.
pub(super) struct Objects<'a> {
    pub vault: &'a Vault,
    pub manifest: &'a Manifest,
    pub format: ObjectFormat,
    pub repository: &'a Path,
    pub git: &'a GitChild,
    pub progress: &'a Progress,
}

impl Objects<'_> {
    /// Brings the objects of all steps into the repository. Blocking.
    pub(super) fn restore(&self) -> Result<(), Problem> {
        for (number, step) in self.manifest.steps.iter().enumerate() {
            self.check_stop()?;
            if let Some(reader) = self.open(step)? {
                self.restore_step(number, &step.bundle_path, reader)?;
            }
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<(), Problem> {
        if self.git.is_stopped() { Err(Problem::cancelled("restore repository")) } else { Ok(()) }
    }

    /// The step's bundle; none when the repository was empty then, for which other writers store no bundle.
    fn open(&self, step: &Step) -> Result<Option<ObjectReader>, Problem> {
        let path = step.bundle_path.as_str();
        let digest = self.manifest.digest(path);
        let absent = if path.is_empty() {
            None
        } else {
            let key = ObjectKey::from_stored(path)?;
            match self.git.unless_stopped("read bundle", self.vault.reader(&key, digest))? {
                Ok(reader) => return Ok(Some(reader)),
                Err(error) => Some(error),
            }
        };
        if let Some(error) = absent
            && (error.kind() != ErrorKind::NotFound || digest.is_some())
        {
            return Err(vault_problem(error));
        }
        let refs = fetch_named(self.vault, self.manifest, &step.ref_path);
        match self.git.unless_stopped("read refs", refs)? {
            Ok(refs) if refs.is_empty() => Ok(None),
            Ok(_) => Err(corrupt("read bundle", path, "is missing, although the step has refs")),
            Err(error) if error.kind() == ErrorKind::NotFound && self.manifest.empty => Ok(None),
            Err(error) => Err(vault_problem(error)),
        }
    }

    fn restore_step(&self, number: usize, path: &str, mut reader: ObjectReader) -> Result<(), Problem> {
        let header = BundleHeader::read(&mut reader).map_err(|e| io_problem("read bundle", path, &e))?;
        if header.object_format != self.format {
            let finding = format!("has {} objects", header.object_format.as_str());
            return Err(corrupt("read bundle", path, finding));
        }
        if !header.prerequisites.is_empty() {
            let there = ObjectsThere::open(self.repository, self.format)?;
            if let Some(oid) = header.prerequisites.iter().find(|oid| !there.has(oid)) {
                return Err(corrupt(
                    "read bundle",
                    path,
                    format!("needs {oid}, which no earlier step holds"),
                ));
            }
        }
        // Gitaly ends the bundle of an unchanged repository after its header.
        let bare = reader.fill_buf().map_err(|e| io_problem("read bundle", path, &e))?.is_empty();
        if bare {
            return Ok(());
        }
        let folder = self.repository.join("objects/pack");
        let stream = PackStream::create(reader, &folder, number, self.format, self.progress)
            .map_err(|e| io_problem("write pack", folder.display(), &e))?;
        index::finish_pack(self, path, stream, number > 0)
    }
}
