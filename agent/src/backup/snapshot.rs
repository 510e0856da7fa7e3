//! Step 2, snapshot: HEAD, every ref and the hooks, read once. From here on nothing looks at the repository's refs.
//!
//! Does not own: the reading itself (`refs`, `reftable`, `hooks`). The fingerprint is computed here, so that an
//! unchanged repository costs no child process and no request.

use std::{fs, io, path::Path};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_vault::{Fingerprint, ObjectFormat, RefSnapshot, RefStorage};
use tokio_util::sync::CancellationToken;

use super::{discover::Candidate, hooks, refs, reftable};
use crate::git::Git;

/// The state of one repository at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// HEAD and refs.
    pub refs: RefSnapshot,
    /// The hooks archive.
    pub hooks: Option<Vec<u8>>,
    /// Fingerprint of both.
    pub fingerprint: Fingerprint,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub enum SnapshotError {
    /// The repository is gone.
    Gone,
    /// It cannot be backed up.
    Failed(Problem),
}

/// Reads one repository. Blocking.
pub fn take(candidate: &Candidate, git: &Git, cancel: &CancellationToken) -> Result<Snapshot, SnapshotError> {
    read(candidate, git, cancel).map_err(|problem| {
        if exists(&candidate.dir) { SnapshotError::Failed(problem) } else { SnapshotError::Gone }
    })
}

/// Whether the repository is still there.
pub fn exists(dir: &Path) -> bool {
    !matches!(fs::symlink_metadata(dir.join("HEAD")), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

fn read(candidate: &Candidate, git: &Git, cancel: &CancellationToken) -> Result<Snapshot, Problem> {
    let problem = |what: &str, answer: String| {
        Problem::new(ErrorKind::Corrupt, Subject::Repository, what)
            .on(&candidate.path)
            .answered(answer)
            .next(format!("git --git-dir={} fsck", candidate.dir.display()))
    };
    if candidate.is_shallow {
        let answer = "it is a shallow clone, whose history could not be restored";
        return Err(problem("open repository", answer.into()));
    }
    let (object_format, ref_storage) =
        read_format(&candidate.dir).map_err(|answer| problem("read config", answer))?;
    let (head, refs, symrefs) = match ref_storage {
        RefStorage::Files => {
            refs::read(&candidate.dir, object_format).map_err(|e| problem("read refs", e.to_string()))?
        }
        RefStorage::Reftable => {
            reftable::read(git, &candidate.dir, cancel).map_err(|answer| problem("read refs", answer))?
        }
    };
    let refs = RefSnapshot { object_format, ref_storage, head, refs, symrefs };
    let hooks = if candidate.has_hooks {
        hooks::archive(&candidate.dir).map_err(|e| problem("read hooks", e.to_string()))?
    } else {
        None
    };
    let fingerprint = Fingerprint::of(&refs, hooks.as_deref());
    Ok(Snapshot { refs, hooks, fingerprint })
}

/// Hash and ref storage from the repository's configuration.
fn read_format(dir: &Path) -> Result<(ObjectFormat, RefStorage), String> {
    let default = (ObjectFormat::Sha1, RefStorage::Files);
    let bytes = match fs::read(dir.join("config")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(default),
        Err(error) => return Err(error.to_string()),
    };
    // Nearly every repository has no extensions section, and then there is nothing to parse.
    if !bytes.windows(10).any(|window| window.eq_ignore_ascii_case(b"extensions")) {
        return Ok(default);
    }
    let config = gix::config::File::from_bytes_no_includes(
        &bytes,
        gix::config::file::Metadata::default(),
        gix::config::file::init::Options::default(),
    )
    .map_err(|e| e.to_string())?;
    let value = |key: &str| config.string(key).map(|value| value.to_string().to_ascii_lowercase());
    let object_format = match value("extensions.objectformat") {
        None => ObjectFormat::Sha1,
        Some(name) => ObjectFormat::from_name(&name).ok_or(format!("unknown object format {name:?}"))?,
    };
    let ref_storage = match value("extensions.refstorage").as_deref() {
        None | Some("files") => RefStorage::Files,
        Some("reftable") => RefStorage::Reftable,
        Some(name) => return Err(format!("unknown ref storage {name:?}")),
    };
    Ok((object_format, ref_storage))
}
