//! Step 1: the storage's catalogue, as the entries that the operator selected.
//!
//! Does not own: what becomes of an entry. The catalogue is checked against its digest as a whole before its first
//! line is used. It is kept compressed and walked twice (to count, then to restore), so memory does not grow with the
//! plain text of its lines.

use bytes::Bytes;
use packhorse_model::{Outcome, Problem, RepoFilter, RepoPattern, nearest};
use packhorse_vault::{CatalogueEntry, CatalogueReader, Vault};
use tokio::sync::mpsc;

use crate::restore::{
    RestoreJob,
    io_problem::{io_problem, vault_problem},
};

/// A checked catalogue and the filter on it.
pub(super) struct Selection {
    bytes: Bytes,
    key: String,
    filter: RepoFilter,
    with_gone: bool,
}

/// What a selection holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Entries to restore.
    pub known: u64,
    /// Included patterns that cover no entry.
    pub unmatched: Vec<Unmatched>,
    /// Excluded patterns likewise.
    pub unmatched_excluded: Vec<Unmatched>,
}

/// A pattern that covers no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// The pattern.
    pub pattern: String,
    /// The path that is nearest to it.
    pub nearest: Option<String>,
}

impl Selection {
    /// Fetches and checks the catalogue of a job.
    pub(super) async fn open(vault: &Vault, job: &RestoreJob) -> Result<Self, Problem> {
        let bytes = vault.get_checked(&job.catalogue).await.map_err(vault_problem)?;
        let (key, filter) = (job.catalogue.path.clone(), job.filter.clone());
        Ok(Self { bytes, key, filter, with_gone: job.gone_unconfirmed })
    }

    /// Counts the selected entries and finds the patterns that cover none. Blocking.
    pub(super) fn survey(&self) -> Result<Survey, Problem> {
        let mut included: Vec<_> = self.filter.included().iter().collect();
        let mut excluded: Vec<_> = self.filter.excluded().iter().collect();
        let mut known = 0;
        for entry in self.lines()? {
            let entry = entry.map_err(vault_problem)?;
            if self.has(&entry) {
                included.retain(|pattern| !pattern.matches(&entry.path));
                excluded.retain(|pattern| !pattern.matches(&entry.path));
            }
            known += u64::from(self.selects(&entry));
        }
        let (unmatched, unmatched_excluded) = (self.unmatched(&included)?, self.unmatched(&excluded)?);
        Ok(Survey { known, unmatched, unmatched_excluded })
    }

    /// Patterns that cover no entry, each with the path that comes nearest to it. Blocking.
    fn unmatched(&self, patterns: &[&RepoPattern]) -> Result<Vec<Unmatched>, Problem> {
        let new = |pattern: &&RepoPattern| Unmatched { pattern: pattern.to_string(), nearest: None };
        let mut all: Vec<Unmatched> = patterns.iter().map(new).collect();
        // Comparing letters takes time: a catalogue is read for it only when there is something to find.
        let lines = if all.is_empty() { None } else { Some(self.lines()?) };
        for entry in lines.into_iter().flatten() {
            let entry = entry.map_err(vault_problem)?;
            for Unmatched { pattern, nearest: near } in all.iter_mut().filter(|_| self.has(&entry)) {
                let known = near.take();
                let names = known.as_deref().into_iter().chain([entry.path.as_str()]);
                *near = nearest(pattern, names).map(str::to_owned);
            }
        }
        Ok(all)
    }

    /// Sends the selected entries in order until there are no more or nobody listens. Blocking.
    pub(super) fn send(&self, entries: &mpsc::Sender<CatalogueEntry>) -> Result<(), Problem> {
        for entry in self.lines()? {
            let entry = entry.map_err(vault_problem)?;
            if self.selects(&entry) && entries.blocking_send(entry).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn lines(&self) -> Result<CatalogueReader, Problem> {
        CatalogueReader::from_bytes(self.bytes.clone(), &self.key)
            .map_err(|e| io_problem("read catalogue", &self.key, &e))
    }

    fn selects(&self, entry: &CatalogueEntry) -> bool {
        self.has(entry) && self.filter.selects(&entry.path)
    }

    /// Whether the backup holds the repository: one that was deleted before is not brought back.
    fn has(&self, entry: &CatalogueEntry) -> bool {
        entry.outcome.is_there() || (entry.outcome == Outcome::Gone && self.with_gone)
    }
}
