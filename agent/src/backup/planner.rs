//! What one repository needs, asked of the vault before it takes a slot where that is worth it.
//!
//! Does not own: the decision (`plan`), or slots. An increment takes several answers of the vault, one after the other. A
//! slot stands for a CPU, so where the vault is far away nobody holds one while they come; only repositories of few
//! refs are planned so, because what is known of them is kept until their turn.

use packhorse_vault::CatalogueEntry;

use super::{
    Run, adopt,
    bases::Base,
    discover::Candidate,
    plan::{self, Plan},
    repository::settled,
    snapshot::{Snapshot, SnapshotError},
};

/// Repositories that are planned, or wait for a slot, at once.
const AHEAD: usize = 32;
/// Refs of those that are planned without a slot.
const FEW_REFS: usize = 4096;

impl Run {
    /// How many repositories may be on their way to a slot.
    pub(super) fn ahead(&self) -> usize {
        if self.vault.local_folder().is_some() { 1 } else { AHEAD }
    }

    /// Whether this one is planned on that way.
    pub(super) fn plans_ahead(&self, snapshot: &Snapshot) -> bool {
        self.vault.local_folder().is_none() && snapshot.refs.refs.len() <= FEW_REFS
    }
}

/// What comes next for a repository.
pub enum Next {
    /// Nothing: this is its line.
    Settled(CatalogueEntry),
    /// To be packed.
    Pack(Plan),
}

/// Plans one repository, also again when it has moved.
pub struct Planner<'a> {
    run: &'a Run,
    candidate: &'a Candidate,
    base: Option<Base>,
    /// Bytes that it takes, about.
    size: u64,
    asked_for_unfinished: bool,
}

impl<'a> Planner<'a> {
    /// A planner for a repository of about this many bytes, of which the vault has `base`.
    pub fn new(run: &'a Run, candidate: &'a Candidate, base: Option<Base>, size: u64) -> Self {
        Self { run, candidate, base, size, asked_for_unfinished: false }
    }

    /// What a repository needs that looks like this.
    pub async fn next(&mut self, snapshot: &Snapshot) -> Result<Next, SnapshotError> {
        let Self { run, candidate, .. } = *self;
        if let Some(entry) = settled(run, snapshot, self.base.as_ref()) {
            return Ok(Next::Settled(entry));
        }
        if !self.asked_for_unfinished {
            self.asked_for_unfinished = true;
            let found = adopt::find(run, &candidate.path, self.base.as_ref(), snapshot).await;
            if let Some(found) = found.map_err(SnapshotError::Failed)? {
                if let Some(entry) = settled(run, snapshot, Some(&found.base)) {
                    found.announce(run, &candidate.path).await.map_err(SnapshotError::Failed)?;
                    return Ok(Next::Settled(entry));
                }
                self.base = Some(found.base);
            }
        }
        let known = self.base.as_ref().map(|base| &base.entry);
        let plan = plan::decide(&run.vault, snapshot, known, self.size, run.rules).await;
        plan.map(Next::Pack).map_err(SnapshotError::Failed)
    }
}
