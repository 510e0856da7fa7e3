//! Directories of blobs: archived into the vault with `tar`, and restored from it.
//!
//! Does not own: which directories a run has, or when it is a backup. Files of a backup: `archive`, `report`, `survey`,
//! `outline`, `claim`; of a restore, in order: `plan`, `swap`, `site`, `leftover`, `staging`, `unpack`, `members`,
//! `tree`, `kept`, `carry`, `remove`.
//!
//! A backup reads a folder that is in use. What changes or goes away meanwhile is recorded by name, what cannot be read
//! is a failure by name, and the rest is stored. A folder that is replaced meanwhile, or loses more than a few files,
//! is a failure, and so is one that a restore has half in place. A backup and a restore of one folder exclude each
//! other. Sockets, and `lost+found` at every depth, are left out; exclusion patterns are tar's, matched against the
//! whole path from the folder on (`tmp` is the folder's own `tmp`, `*.tmp` matches at every depth, because `*` also
//! matches slashes).
//!
//! A restore unpacks beside the target, proves the archive's digest and end, makes everything durable, and only then
//! swaps it in. So a damaged or malicious archive, a full disk, a cancellation or a crash leaves the target as it was;
//! what a crash leaves beside it, the next restore of the same target removes. Nothing is retried here.
//! Cancellation kills tar, or ends the unpacking at its next read; a swap that has begun is finished.

mod acl;
mod archive;
mod attributes;
mod carry;
mod claim;
mod exclude;
mod failure;
mod kept;
mod leftover;
mod members;
mod outline;
mod owners;
mod pax;
mod plan;
mod remove;
mod report;
mod site;
mod sparse;
mod staging;
mod survey;
mod swap;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{PathBuf, absolute},
    time::Duration,
};

use packhorse_model::{
    BackupId, Component, DirectorySummary, ErrorKind, ItemFailure, Problem, RestoredItem, Subject,
};
use packhorse_service::{config::DirectoryConfig, places::Place};
use packhorse_vault::{ObjectKey, RunAttempt, Vault};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::{archive::UNREAD, plan::Planned, report::path_of};
use self::{
    claim::{Claim, Use},
    failure::Missing,
    swap::Swapped,
};
use crate::pipe::PlainReader;

/// A configured directory, ready to be archived.
#[derive(Clone, Debug)]
pub struct Directory {
    name: String,
    path: PathBuf,
    exclude: Vec<String>,
    tar: OsString,
    search_path: String,
    /// How long a backup waits for a restore of the same folder.
    patience: Duration,
}

impl Directory {
    /// Reads a section of the configuration; `env` is the process's environment.
    pub fn from_config(config: &DirectoryConfig, env: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let invalid = |answer: String| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, "read directory")
                .on(format!("directory {:?}", config.name))
                .answered(answer)
        };
        match config.name.parse() {
            Ok(Component::Directory(_)) => {}
            Ok(_) => return Err(invalid("the name is that of another component".to_owned())),
            Err(error) => return Err(invalid(error.to_string())),
        }
        if config.exclude.iter().any(|pattern| pattern.is_empty() || pattern.contains('\0')) {
            return Err(invalid("an exclusion pattern is empty or has a zero byte".to_owned()));
        }
        Ok(Self {
            name: config.name.clone(),
            path: absolute(&config.path).map_err(|error| invalid(error.to_string()))?,
            exclude: config.exclude.clone(),
            tar: "tar".into(),
            patience: PATIENCE,
            search_path: env.get("PATH").cloned().unwrap_or_else(|| "/usr/bin:/bin".to_owned()),
        })
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This target with what the directory excludes; its own place is none of the others, if it is the target.
    pub fn excluding(&self, mut target: Target) -> Target {
        let own = Place::directory(&self.name, &target.path);
        target.others.retain(|place| *place != own);
        target.exclude.extend(self.exclude.iter().cloned());
        target
    }

    /// This target in the directory's own folder.
    pub fn target(&self, target: Target) -> Target {
        self.excluding(Target { path: self.path.clone(), ..target })
    }
}

/// How long a backup waits for a restore of the same folder.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a restore waits for a backup, and for one that only looks.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// Directories that a process archives at once.
const ARCHIVES: usize = 16;

/// Archives one directory when it is its turn; files that could not be read are failures beside the archive.
pub async fn back_up(
    vault: &Vault,
    run: &RunAttempt,
    directory: &Directory,
    cancel: &CancellationToken,
    progress: impl Fn(&str, u64) + Send + Sync + Clone + 'static,
) -> Result<(DirectorySummary, Vec<ItemFailure>), Problem> {
    static TURNS: Semaphore = Semaphore::const_new(ARCHIVES);
    let name = directory.name.clone();
    let _turn = TURNS.acquire().await;
    archive::archive(vault, run, directory, cancel, move |bytes| progress(&name, bytes)).await
}

/// Where a directory is restored to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The folder.
    pub path: PathBuf,
    /// What the directory excludes: the archive does not hold it, so it stays in the folder.
    pub exclude: Vec<String>,
    /// Places that are not the directory's: none may lie in the folder.
    pub others: Vec<Place>,
    /// Paths whose contents the backup could not read: what is there stays, too.
    pub unread: Vec<Vec<u8>>,
    /// Owners by number, whatever their names mean on this host.
    pub numeric_owner: bool,
    /// Replace what is there.
    pub force: bool,
}

/// What a restore of a directory came to.
#[derive(Debug)]
pub struct Restored {
    /// What was restored.
    pub item: RestoredItem,
    /// Members that were not restored, or not with everything that is theirs.
    pub missing: Vec<ItemFailure>,
    /// What of the folder's earlier files could not be removed.
    pub leftovers: Option<Problem>,
}

/// What restoring a directory would do; nothing is changed.
pub async fn plan_one(target: Target, summary: &DirectorySummary) -> Result<Planned, Problem> {
    let summary = summary.clone();
    let claim = Claim::take(&target.path, Use::Replacing, IMPATIENCE, &CancellationToken::new()).await?;
    let planned =
        crate::pipe::joined(tokio::task::spawn_blocking(move || plan::plan(&target, &summary)).await);
    drop(claim);
    planned
}

/// Restores one directory from its archive in a backup: all of it, or the target is left as it was.
pub async fn restore_one(
    vault: &Vault,
    id: &BackupId,
    mut target: Target,
    summary: &DirectorySummary,
    cancel: &CancellationToken,
    progress: impl Fn(&str, u64) + Send + Sync + Clone + 'static,
) -> Result<Restored, Problem> {
    // Stops the blocking work also when nobody waits for it any more.
    let cancel = cancel.child_token();
    let _stop = cancel.clone().drop_guard();
    let name = summary.name.clone();
    let key = ObjectKey::part_of(id, &summary.object.path)?;
    let progress = move |bytes| progress(&name, bytes);
    let reader = PlainReader::open(vault, &key, &summary.object, &cancel, progress).await;
    let reader = reader.map_err(|problem| problem.leaving("the directory was left as it was"))?;
    let claim = Claim::take(&target.path, Use::Replacing, IMPATIENCE, &cancel).await;
    let claim = claim.map_err(|problem| problem.leaving("the directory was left as it was"))?;
    // What was excluded then is not in the archive, whatever is excluded now.
    target.exclude.extend(summary.exclude.iter().cloned());
    let (id, plain) = (id.clone(), summary.bytes_plain);
    let restored =
        tokio::task::spawn_blocking(move || swap::restore(reader, &target, claim, &id, plain, &cancel));
    let Swapped { missing, leftovers } = crate::pipe::joined(restored.await)?;
    let item = RestoredItem { name: summary.name.clone(), items: 1, already: 0, bytes: summary.object.size };
    Ok(Restored { item, missing: failures(&summary.name, missing), leftovers })
}

fn failures(name: &str, missing: Missing) -> Vec<ItemFailure> {
    let failure = |item: String, why: &str| ItemFailure {
        component: Component::Directory(name.to_owned()),
        storage: None,
        problem: Problem::new(ErrorKind::Unavailable, Subject::Directory, "restore file")
            .on(&item)
            .answered(why)
            .leaving("the rest of the directory is restored; what was at its place stays")
            .next("correct what is said and restore again, or take it from the archive with tar"),
        item,
    };
    let named = missing.named.iter();
    let mut failures: Vec<_> =
        named.map(|(path, why)| failure(String::from_utf8_lossy(path).into_owned(), why)).collect();
    if missing.more > 0 {
        failures
            .push(failure(".".into(), &format!("{} more files are not restored as they were", missing.more)));
    }
    failures
}
