//! Step 2, snapshot: HEAD, every ref and the hooks, read once. From here on nothing looks at the repository's refs.
//!
//! Does not own: the reading itself (`refs`, `reftable`, `hooks`), or finding out which refs are whole (`damage`). The
//! fingerprint is computed here, so that an unchanged repository costs no child process and no request. What is broken is
//! left out and named; the fingerprint is that of the rest, which is what a step has. Nobody compares it with a repository
//! of which something is left out: there is another one for that.

use std::{fs, io, path::Path};

use packhorse_model::{ErrorKind, Problem, RepoPath, Sha256Hex, Subject};
use packhorse_vault::{
    CatalogueEntry, Fingerprint, Head, ObjectFormat, Oid, RefList, RefSnapshot, RefStorage,
};
use tokio_util::sync::CancellationToken;

use super::{
    absent::{self, Left},
    damage::{LeftOut, state_of_files},
    discover::{Candidate, examine_failed},
    hooks, refs, reftable,
};
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
    /// Fingerprint of the repository as it was seen, what is left out included.
    pub seen: Fingerprint,
    /// What is left out because it is damaged.
    pub left_out: Vec<LeftOut>,
    /// What the files of the objects looked like, when any of that is for an object that is missing or damaged.
    pub object_files: Option<Sha256Hex>,
}

impl Snapshot {
    fn new(refs: RefSnapshot, hooks: Option<Vec<u8>>, left_out: Vec<LeftOut>) -> Self {
        let fingerprint = Fingerprint::of(&refs, hooks.as_deref());
        let seen = fingerprint.with_left_out(left_out.iter().map(|left_out| left_out.name.as_slice()));
        Self { refs, hooks, fingerprint, seen, left_out, object_files: None }
    }

    /// The same without the refs that lead to objects of which something is the matter.
    pub fn without(mut self, broken: impl Fn(Oid) -> Option<LeftOut>, object_files: Sha256Hex) -> Self {
        let (mut rest, before) = (RefList::new(), self.left_out.len());
        for (name, oid) in self.refs.refs.iter() {
            match broken(oid) {
                Some(left_out) => self.left_out.push(LeftOut { name: name.to_vec(), ..left_out }),
                None => drop(rest.push(name, oid)),
            }
        }
        if let Head::Detached(oid) = self.refs.head
            && let Some(left_out) = broken(oid)
        {
            self.left_out.push(LeftOut { name: b"HEAD".to_vec(), ..left_out });
            self.refs.head = Head::Symbolic(refs::MAIN.to_vec());
        }
        if self.left_out.len() > before {
            self.object_files = Some(object_files);
        }
        self.refs.refs = rest;
        // A table of refs is restored without symbolic refs that lead nowhere.
        if self.refs.ref_storage == RefStorage::Reftable {
            let refs = &self.refs.refs;
            self.refs.symrefs.retain(|symref| refs.get(&symref.name).is_some());
        }
        self.fingerprint = Fingerprint::of(&self.refs, self.hooks.as_deref());
        self
    }

    /// Whether the vault's line of the repository at `dir` says what it is like now. A damaged one is so only as long as no
    /// file of its objects has changed.
    pub fn is_as(&self, entry: &CatalogueEntry, dir: &Path) -> bool {
        match &entry.damage {
            None => entry.fingerprint.as_ref() == Some(&self.seen),
            Some(damage) => {
                let files_are = |files: &Sha256Hex| *files == state_of_files(dir);
                damage.seen == self.seen && damage.object_files.as_ref().is_none_or(files_are)
            }
        }
    }

    /// Whether something is left out and nothing else is there.
    pub fn is_nothing_whole(&self) -> bool {
        !self.left_out.is_empty() && self.refs.is_empty()
    }
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
    read(candidate, git, cancel).map_err(|problem| match absent::left_of(&candidate.path, &candidate.dir) {
        Left::Nothing => SnapshotError::Gone,
        Left::Pieces(pieces) => SnapshotError::Failed(pieces),
        Left::Whole => SnapshotError::Failed(problem),
    })
}

/// The fingerprint of a repository as it is; none when it cannot be read, or something of it is broken. Blocking.
pub fn fingerprint_of(
    path: &RepoPath,
    dir: &Path,
    git: &Git,
    cancel: &CancellationToken,
) -> Option<Fingerprint> {
    let has = |name: &str| fs::symlink_metadata(dir.join(name)).is_ok();
    let candidate = Candidate {
        path: path.clone(),
        dir: dir.to_owned(),
        has_hooks: has("custom_hooks"),
        is_shallow: has("shallow"),
    };
    let snapshot = take(&candidate, git, cancel).ok()?;
    snapshot.left_out.is_empty().then_some(snapshot.fingerprint)
}

fn read(candidate: &Candidate, git: &Git, cancel: &CancellationToken) -> Result<Snapshot, Problem> {
    let problem = |what: &str, answer: String| {
        Problem::new(ErrorKind::Corrupt, Subject::Repository, what)
            .on(&candidate.path)
            .answered(answer)
            .next(examine_failed(candidate.path.as_str(), &candidate.dir))
    };
    if candidate.is_shallow {
        let answer =
            "it is a shallow clone: the rest of its history is in the repository that it was cloned from";
        return Err(problem("open repository", answer.into())
            .next(format!("git --git-dir={} fetch --unshallow", candidate.dir.display())));
    }
    let (object_format, ref_storage) = read_format(&candidate.dir).map_err(|finding| match finding {
        Config::Unreadable(answer) => problem("read config", answer),
        Config::Unknown(answer) => problem("open repository", answer).next(
            "see what the extension is for, and back the repository up by the means of the git that made it",
        ),
    })?;
    let ((head, refs, symrefs), mut left_out) = match ref_storage {
        RefStorage::Files => {
            refs::read(&candidate.dir, object_format).map_err(|e| problem("read refs", e.to_string()))?
        }
        RefStorage::Reftable => {
            reftable::read(git, &candidate.dir, cancel).map_err(|answer| problem("read refs", answer))?
        }
    };
    let mut refs = RefSnapshot { object_format, ref_storage, head, refs, symrefs };
    left_out.extend(refs.leave_out_folders().iter().map(|(name, finding)| LeftOut::new(name, finding)));
    let hooks = if candidate.has_hooks { hooks::archive(&candidate.dir) } else { Ok(None) };
    let hooks = hooks.unwrap_or_else(|error| {
        left_out.push(LeftOut::new(b"custom_hooks", error.to_string()));
        None
    });
    Ok(Snapshot::new(refs, hooks, left_out))
}

/// What is the matter with a configuration.
enum Config {
    /// It cannot be read.
    Unreadable(String),
    /// It asks for what nobody here knows, so what the repository holds may mean something else.
    Unknown(String),
}

/// Extensions that git has by now; those that are about objects and refs are looked at.
const EXTENSIONS: [&str; 10] = [
    "noop",
    "noop-v1",
    "preciousobjects",
    "partialclone",
    "worktreeconfig",
    "relativeworktrees",
    "submodulepathconfig",
    "compatobjectformat",
    "objectformat",
    "refstorage",
];

/// Hash and ref storage from the repository's configuration.
fn read_format(dir: &Path) -> Result<(ObjectFormat, RefStorage), Config> {
    let unreadable = |error: &dyn std::fmt::Display| Config::Unreadable(error.to_string());
    let default = (ObjectFormat::Sha1, RefStorage::Files);
    let bytes = match fs::read(dir.join("config")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(default),
        Err(error) => return Err(unreadable(&error)),
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
    .map_err(|e| unreadable(&e))?;
    let value = |key: &str| config.string(key).map(|value| value.to_string().to_ascii_lowercase());
    let version = value("core.repositoryformatversion").unwrap_or_default();
    if version == "1" {
        check_extensions(&config)?;
    }
    let object_format = match value("extensions.objectformat") {
        None => ObjectFormat::Sha1,
        Some(name) => ObjectFormat::from_name(&name)
            .ok_or_else(|| Config::Unknown(format!("it has the unknown object format {name:?}")))?,
    };
    let ref_storage = match value("extensions.refstorage").as_deref() {
        None | Some("files") => RefStorage::Files,
        Some("reftable") => RefStorage::Reftable,
        Some(name) => return Err(Config::Unknown(format!("it has the unknown ref storage {name:?}"))),
    };
    Ok((object_format, ref_storage))
}

fn check_extensions(config: &gix::config::File) -> Result<(), Config> {
    for section in config.sections_by_name("extensions").into_iter().flatten() {
        for name in section.value_names() {
            let name = name.to_string().to_ascii_lowercase();
            if !EXTENSIONS.contains(&name.as_str()) {
                return Err(Config::Unknown(format!(
                    "it has the extension {name:?}, which git refuses: what it changes is not known"
                )));
            }
        }
    }
    Ok(())
}
