//! What became of one item in a run, and the counts of a storage.
//!
//! Does not own: why an item failed (`Problem`). Counts are only ever made from outcomes, so they cannot disagree.

use serde::{Deserialize, Serialize};

/// What became of one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new step was written.
    BackedUp,
    /// Nothing changed since the base; the older manifest stands.
    Unchanged,
    /// The repository has no refs; a manifest says so.
    Empty,
    /// The repository went away while the run was under way.
    Missing,
    /// It could not be backed up; the last good manifest, if any, is kept.
    Failed,
    /// The backup before had it, and it was deleted since; the last good manifest is named for those who want it back.
    Gone,
    /// It is damaged: some of its refs are left out, and named; a manifest has the others.
    Damaged,
}

impl Outcome {
    /// Whether the repository existed when the backup was made.
    pub fn is_there(self) -> bool {
        !matches!(self, Self::Missing | Self::Gone)
    }

    /// Whether something that was selected is missing from the backup.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Damaged)
    }
}

/// How many repositories ended in which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// New steps.
    pub backed_up: u64,
    /// Carried over.
    pub unchanged: u64,
    /// Without refs.
    pub empty: u64,
    /// Gone during the run.
    pub missing: u64,
    /// Named as failures, nothing new of them stored.
    pub failed: u64,
    /// Deleted since the backup before.
    #[serde(default)]
    pub gone: u64,
    /// Stored without some of their refs, and named as failures.
    #[serde(default)]
    pub damaged: u64,
}

impl Counts {
    /// Counts one more outcome.
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::BackedUp => &mut self.backed_up,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Empty => &mut self.empty,
            Outcome::Missing => &mut self.missing,
            Outcome::Failed => &mut self.failed,
            Outcome::Gone => &mut self.gone,
            Outcome::Damaged => &mut self.damaged,
        } += 1;
    }

    /// Adds the counts of another storage.
    pub fn merge(&mut self, other: &Self) {
        self.backed_up += other.backed_up;
        self.unchanged += other.unchanged;
        self.empty += other.empty;
        self.missing += other.missing;
        self.failed += other.failed;
        self.gone += other.gone;
        self.damaged += other.damaged;
    }

    /// All repositories seen; those that are gone were not.
    pub fn total(&self) -> u64 {
        self.backed_up + self.unchanged + self.empty + self.missing + self.failed + self.damaged
    }
}
