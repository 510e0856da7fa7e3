//! Step 4: the objects of every step, in order: bundle → pack file and index.
//!
//! Does not own: the refs. A bundle is read once, and its digest is proven before its pack counts. There are three ways,
//! decided here: a pack that was stored with its index is written as it is (`copied`); a small one is unfolded in memory
//! (`held`); any other goes into its file while it is inflated and measured (`stream`, `entries`), and is then indexed in
//! process, within a memory budget (`index`). Packs that are odd, thin, or would need more memory than there is
//! are given to `git index-pack`, which is slower but keeps its memory to itself. If git refuses a pack as well, the
//! repository is not restored.

mod chains;
mod copied;
mod entries;
mod held;
mod index;
mod stream;
mod there;

pub(super) use there::{Brought, ObjectsThere};

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_vault::{BundleHeader, Manifest, ObjectFormat, ObjectKey, ObjectReader, Step, Vault};

use crate::restore::{
    Progress,
    fetch::fetch_named,
    git_child::GitChild,
    io_problem::{corrupt, io_problem, vault_problem},
};
use held::Held;
use stream::PackStream;

/// Where the packs of one repository go, and what it takes to bring them there.
pub(super) struct Objects<'a> {
    pub vault: &'a Vault,
    pub manifest: &'a Manifest,
    pub format: ObjectFormat,
    pub repository: &'a Path,
    pub git: &'a GitChild,
    pub progress: &'a Progress,
    /// Where something is told that went wrong and was made good.
    pub remark: &'a dyn Fn(Problem),
}

impl Objects<'_> {
    /// Brings the objects of all steps into the repository, and says what is known of those of the last. Blocking.
    pub(super) fn restore(&self) -> Result<Brought, Problem> {
        let mut last = Brought::default();
        for (number, step) in self.manifest.steps.iter().enumerate() {
            self.check_stop()?;
            if let Some(reader) = self.open(step)? {
                last = self.restore_step(number, &step.bundle_path, reader)?;
            }
        }
        Ok(last)
    }

    fn remark(&self, problem: Problem) {
        (self.remark)(problem);
    }

    /// What a bundle that could not be read is told as; nothing is wrong with one that was left because of a stop.
    fn read_problem(&self, bundle: &str, error: &io::Error) -> Problem {
        match self.git.is_stopped() {
            true => Problem::cancelled("restore repository").on(bundle),
            false => {
                let mut problem = io_problem("read bundle", bundle, error);
                if problem.kind == ErrorKind::Corrupt {
                    // What is damaged is what was stored, also where only its reader sees it.
                    problem.subject = Subject::Vault;
                }
                problem
            }
        }
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
                Ok(reader) => return Ok(Some(reader.until(self.git.cancel().clone()))),
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

    fn restore_step(&self, number: usize, path: &str, mut reader: ObjectReader) -> Result<Brought, Problem> {
        let header = BundleHeader::read_without_refs(&mut reader);
        let header = header.map_err(|e| self.read_problem(path, &e))?;
        if header.object_format != self.format {
            let finding = format!("has {} objects", header.object_format.as_str());
            return Err(corrupt("read bundle", path, finding));
        }
        let there = self.check_prerequisites(&header, path)?;
        // Gitaly ends the bundle of an unchanged repository after its header.
        let bare = reader.fill_buf().map_err(|e| self.read_problem(path, &e))?.is_empty();
        if bare {
            return Ok(Brought::default());
        }
        if there.is_none()
            && let Some(index) = copied::fetch(self, number, path)?
        {
            copied::copy(self, path, number, reader, &index)?;
            return Ok(Brought::default());
        }
        match self.manifest.digest(path).map(|digest| digest.size).filter(|size| *size <= held::SMALL) {
            None => self.index_stream(number, path, reader),
            Some(size) => match held::receive(self, path, &mut reader, size, there.as_ref())? {
                Held::Kept(brought) => Ok(brought),
                Held::Odd(pack) => self.index_stream(number, path, &*pack),
            },
        }
    }

    /// What is in the repository so far, when the bundle builds on it: all that it needs must be there.
    fn check_prerequisites(
        &self,
        header: &BundleHeader,
        path: &str,
    ) -> Result<Option<ObjectsThere>, Problem> {
        if header.prerequisites.is_empty() {
            return Ok(None);
        }
        let there = ObjectsThere::open(self.repository, self.format)?;
        match header.prerequisites.iter().find(|oid| !there.has(oid)) {
            None => Ok(Some(there)),
            Some(oid) => {
                Err(corrupt("read bundle", path, format!("needs {oid}, which no earlier step holds")))
            }
        }
    }

    fn index_stream(&self, number: usize, path: &str, input: impl BufRead) -> Result<Brought, Problem> {
        let folder = self.repository.join("objects/pack");
        let stream = PackStream::create(input, &folder, number, self.format, self.progress)
            .map_err(|e| io_problem("write pack", folder.display(), &e))?;
        index::finish_pack(self, path, stream, number > 0)?;
        Ok(Brought::default())
    }
}

/// A new file beside the packs, which is read-only as git's are.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(path)
}

/// How a pack with this checksum is called.
fn hex(checksum: &[u8]) -> String {
    checksum.iter().map(|byte| format!("{byte:02x}")).collect()
}
