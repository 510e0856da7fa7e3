//! What is already in the vault for each repository: lines of unfinished runs and of the last committed backup, met in the
//! order of the walk.
//!
//! Does not own: what becomes of a line (`repository::settled`). All sources are sorted by path and streamed side by side,
//! so memory does not grow with the number of repositories. Unfinished runs come first, the newest before older ones,
//! because what they list is at least as new as what they were built on.

use std::iter::Peekable;

use packhorse_model::{BackupId, ErrorKind, ObjectDigest, Outcome, Problem, RepoPath, StorageName};
use packhorse_vault::{CatalogueEntry, CatalogueReader, ObjectKey, SegmentReader, Vault};

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The backup that this run is built on.
    Committed,
    /// A run that committed nothing.
    Unfinished,
    /// An earlier attempt at this run: it is this run's own result.
    OwnRun,
}

/// What the vault has of a repository.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its line.
    pub entry: CatalogueEntry,
    /// Where the line comes from.
    pub origin: Origin,
    /// The committed backup's line, where this one is of a run that committed nothing.
    pub committed: Option<Box<CatalogueEntry>>,
}

impl Base {
    /// A line of the committed backup.
    pub fn committed(entry: CatalogueEntry) -> Self {
        Self { entry, origin: Origin::Committed, committed: None }
    }

    /// A line of an unfinished run; it is our own when this run wrote the manifest that it names.
    pub fn unfinished(entry: CatalogueEntry, own: &BackupId, storage: &StorageName) -> Self {
        let manifest = ObjectKey::manifest(storage, &entry.path, own);
        let is_own = entry.manifest.as_deref() == Some(manifest.as_str());
        Self { entry, origin: if is_own { Origin::OwnRun } else { Origin::Unfinished }, committed: None }
    }

    /// What the committed backup has.
    pub fn into_committed(self) -> Option<Self> {
        match self.origin {
            Origin::Committed => Some(self),
            Origin::Unfinished | Origin::OwnRun => self.committed.map(|entry| Self::committed(*entry)),
        }
    }
}

/// What the committed backup has of a repository, whatever a run wrote since that committed nothing.
#[derive(Clone, Copy, Debug)]
pub struct InBase {
    /// The outcome of the repository in that backup.
    pub outcome: Outcome,
    /// Whether it had refs.
    pub has_refs: bool,
}

impl InBase {
    /// What its line says.
    pub fn of(entry: &CatalogueEntry) -> Self {
        Self { outcome: entry.outcome, has_refs: entry.refs > 0 }
    }
}

/// What the sources have of one path.
pub struct Known {
    /// The newest.
    pub base: Option<Base>,
    /// What the committed backup has.
    pub in_base: Option<InBase>,
}

/// The lines of all sources.
#[derive(Default)]
pub struct Bases {
    unfinished: Vec<Peekable<SegmentReader>>,
    committed: Option<Peekable<CatalogueReader>>,
    /// Whether the base had a catalogue that cannot be used, or not to its end.
    pub lost: bool,
}

/// Unfinished runs whose segments are read; what older ones made durable has been adopted by these, or is done again.
pub const RUNS: usize = 8;

impl Bases {
    /// Opens everything that this storage can be built on.
    pub async fn open(
        vault: &Vault,
        storage: &StorageName,
        committed: Option<&ObjectDigest>,
        unfinished: &[BackupId],
    ) -> Result<Self, Problem> {
        let mut bases = Self::default();
        for run in unfinished.iter().take(RUNS) {
            let readers = SegmentReader::of_run(vault, run, storage).await?;
            bases.unfinished.extend(readers.into_iter().map(Iterator::peekable));
        }
        if let Some(digest) = committed {
            bases.committed = open_catalogue(vault, digest, storage).await?.map(Iterator::peekable);
            bases.lost = bases.committed.is_none();
        }
        Ok(bases)
    }

    /// The next line of the committed backup that comes before this path, or the next of all when there is none: no
    /// repository has met it. Blocking.
    pub fn unmet(&mut self, before: Option<&RepoPath>) -> Option<CatalogueEntry> {
        self.committed_if(|entry| before.is_none_or(|path| entry.path < *path))
    }

    /// The next line of the committed backup if it is so. One that cannot be read costs what comes behind it its base, and
    /// no backup.
    fn committed_if(&mut self, is_so: impl Fn(&CatalogueEntry) -> bool) -> Option<CatalogueEntry> {
        let lines = self.committed.as_mut()?;
        match lines.next_if(|line| line.as_ref().map_or(true, &is_so))? {
            Ok(entry) => Some(entry),
            Err(error) => {
                tracing::error!(%error, "the catalogue to build on is unusable from here on: repositories get new chains");
                self.lost = true;
                self.committed = None;
                None
            }
        }
    }

    /// What there is of this path, which must come after all that were asked for, and after the unmet lines before it.
    /// Blocking.
    pub fn of(&mut self, path: &RepoPath, own: &BackupId, storage: &StorageName) -> Known {
        let committed = self.committed_if(|entry| entry.path == *path);
        let in_base = committed.as_ref().map(InBase::of);
        let mut found = None;
        for lines in &mut self.unfinished {
            let mut line = None;
            while let Some(entry) = lines.next_if(|entry| entry.path <= *path) {
                line = Some(entry).filter(|entry| entry.path == *path);
            }
            found = found.or(line);
        }
        let base = match found {
            None => committed.map(Base::committed),
            Some(entry) => {
                Some(Base { committed: committed.map(Box::new), ..Base::unfinished(entry, own, storage) })
            }
        };
        Known { base, in_base }
    }
}

/// The base catalogue; none when it is damaged or gone, because a new chain for everything is better than no backup.
async fn open_catalogue(
    vault: &Vault,
    digest: &ObjectDigest,
    storage: &StorageName,
) -> Result<Option<CatalogueReader>, Problem> {
    match CatalogueReader::open(vault, digest, storage).await {
        Ok(reader) => Ok(Some(reader)),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
            tracing::error!(%storage, %error, "the catalogue to build on is unusable: every repository gets a new chain");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
