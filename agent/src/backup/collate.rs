//! Puts the entries of a storage, which finish in any order, back into the order of paths, and writes the catalogue and,
//! as it goes, the journal's segments.
//!
//! Does not own: how far ahead of the writer the walk may run; the permit that comes with each entry bounds that, so the
//! entries held here are bounded too. Counts are made here, from the same entries that are written.

use std::{collections::BTreeMap, time::Duration};

use packhorse_model::{Component, Counts, ErrorKind, ItemFailure, ObjectDigest, Outcome, Problem, Subject};
use packhorse_vault::{CatalogueEntry, CatalogueWriter, SegmentWriter};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::BackupEvent;

/// An entry with its place in the order.
pub struct Line {
    /// Number in the order of the walk.
    pub number: u64,
    /// The entry.
    pub entry: CatalogueEntry,
    /// Gives the walk room when the entry is written.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// What the entries add up to.
#[derive(Debug, Default)]
pub struct Collated {
    /// Repositories by outcome.
    pub counts: Counts,
    /// Bytes written by this run.
    pub bytes_new: u64,
    /// Bytes of everything the entries name.
    pub bytes_total: u64,
    /// Entries that are unproven.
    pub unproven: u64,
    /// Some of the repositories that are gone.
    pub gone: Vec<String>,
    /// The catalogue; none in a dry run.
    pub catalogue: Option<ObjectDigest>,
}

/// Where entries go.
pub struct Writers {
    /// The catalogue, which counts when it is complete.
    pub catalogue: CatalogueWriter,
    /// What the journal says meanwhile.
    pub segments: SegmentWriter,
}

/// Repositories that are gone and are named to the coordinator; the catalogue has them all.
pub(super) const NAMED: usize = 20;
/// Time after which a quiet channel is left, to see whether a segment is due.
const QUIET: Duration = Duration::from_secs(2);

fn next_line(lines: &mut mpsc::Receiver<Line>, writers: &mut Option<Writers>) -> Option<Line> {
    loop {
        if let Ok(line) = lines.try_recv() {
            return Some(line);
        }
        let waited = Handle::current().block_on(async { tokio::time::timeout(QUIET, lines.recv()).await });
        match (waited, &mut *writers) {
            (Ok(line), _) => return line,
            (Err(_), Some(writers)) => writers.segments.write_if_due(),
            (Err(_), None) => {}
        }
    }
}

/// Writes entries until the channel closes; `expected` says then how many there must be, or why there are fewer.
/// Blocking.
pub fn run(
    mut lines: mpsc::Receiver<Line>,
    mut writers: Option<Writers>,
    storage: &str,
    events: &mpsc::Sender<BackupEvent>,
    expected: impl FnOnce() -> Result<u64, Problem>,
) -> Result<Collated, Problem> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    let mut collated = Collated::default();
    while let Some(line) = next_line(&mut lines, &mut writers) {
        waiting.insert(line.number, line);
        while let Some(Line { entry, permit, .. }) = waiting.remove(&next) {
            next += 1;
            collated.count(&entry);
            // What a stop itself broke off is no failure; `expected` will say that there was one.
            if entry.outcome.is_failure()
                && let Some(problem) = &entry.error
                && problem.kind != ErrorKind::Cancelled
            {
                let failure = ItemFailure {
                    component: Component::Repositories,
                    storage: Some(storage.to_owned()),
                    item: entry.path.to_string(),
                    problem: problem.clone(),
                };
                // Nobody listens any more: the run is being given up, which `expected` will say.
                let _ = events.blocking_send(BackupEvent::Failed(failure));
            }
            if let Some(writers) = &mut writers {
                writers.catalogue.push(&entry)?;
                // What the base says as well needs no journal.
                if entry.bytes_new > 0 || entry.outcome == Outcome::BackedUp {
                    writers.segments.push(&entry);
                }
            }
            drop(permit);
        }
    }
    let expected = match expected() {
        Ok(expected) => expected,
        Err(problem) => {
            // The next run starts from here, if the vault still takes it.
            if let Some(mut writers) = writers {
                writers.segments.write();
            }
            return Err(problem);
        }
    };
    if next != expected {
        // A catalogue with a gap would lose repositories silently.
        return Err(Problem::new(ErrorKind::Internal, Subject::Agent, "write catalogue")
            .answered(format!("{next} of {expected} repositories came to an end"))
            .next("report this defect with the agent's log"));
    }
    if let Some(writers) = writers {
        collated.catalogue = Some(writers.catalogue.finish()?);
    }
    Ok(collated)
}

impl Collated {
    fn count(&mut self, entry: &CatalogueEntry) {
        self.counts.add(entry.outcome);
        self.bytes_new += entry.bytes_new;
        if !entry.outcome.is_there() {
            if entry.outcome == Outcome::Gone && self.gone.len() < NAMED {
                self.gone.push(entry.path.to_string());
            }
            return;
        }
        self.bytes_total += entry.bytes_total;
        self.unproven += u64::from(entry.unproven);
    }
}
