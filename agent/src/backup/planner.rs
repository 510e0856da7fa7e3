//! What one repository needs, asked of the vault before its turn where that is worth it.
//!
//! Does not own: the decision (`plan`), or turns (`work`). An increment takes several answers of the vault, one after the
//! other. A slot stands for a CPU, so where the vault is far away nobody holds one while they come; only repositories of
//! few refs are planned so, because what is known of them is kept until their turn.

use packhorse_vault::{CatalogueEntry, LastGood};

use super::{
    Run,
    adopt::{self, Found},
    bases::Base,
    discover::Candidate,
    plan::{self, Plan},
    queue::Waiting,
    repository::{self, facts_of, settled},
    snapshot::{Snapshot, SnapshotError},
};

/// Repositories that are planned, or were and wait for a slot, at once.
pub const AHEAD: usize = 32;
/// Refs of those that are planned without a slot.
const FEW_REFS: usize = 4096;

impl Run {
    /// Whether the vault takes its time to answer.
    pub(super) fn is_far_away(&self) -> bool {
        self.vault.local_folder().is_none()
    }
}

impl Waiting {
    /// Plans the repository as it was seen, if it has few refs; gives the line of one that needs nothing, or cannot be
    /// planned.
    pub(super) async fn plan(&mut self, run: &Run) -> Option<CatalogueEntry> {
        let seen = self.seen.as_ref().filter(|seen| seen.snapshot.refs.refs.len() <= FEW_REFS)?;
        match self.planner.next(run, &self.candidate, &seen.snapshot).await {
            Ok(Next::Pack(plan)) => {
                self.plan = Some(plan);
                None
            }
            Ok(Next::Settled(entry)) => Some(*entry),
            Err(error) => Some(repository::without(&self.candidate, self.planner.known(), error)),
        }
    }
}

/// What comes next for a repository.
pub enum Next {
    /// Nothing: this is its line.
    Settled(Box<CatalogueEntry>),
    /// To be packed.
    Pack(Plan),
}

/// Plans one repository, also again when it has moved.
pub struct Planner {
    /// What the vault has of it.
    base: Option<Base>,
    /// Whether everything that `base` names was seen, where that is of an unfinished run.
    looked: bool,
    /// What an unfinished run has of it.
    found: Option<Found>,
    asked_for_unfinished: bool,
    /// Whether it was said that something of its chain is lost.
    told_of_loss: bool,
    /// Bytes that it takes, about.
    size: u64,
}

impl Planner {
    /// A planner for a repository of about this many bytes, of which the vault has `base`.
    pub fn new(base: Option<Base>, size: u64) -> Self {
        Self { base, looked: false, found: None, asked_for_unfinished: false, told_of_loss: false, size }
    }

    /// The line that the vault has of it: not that of an unfinished run before it was looked at.
    pub fn known(&self) -> Option<CatalogueEntry> {
        let base = self.base.clone();
        let base = if self.looked { base } else { base.and_then(Base::into_committed) };
        base.map(|base| base.entry)
    }

    /// Drops what an unfinished run has of it unless all of that is in the vault.
    pub async fn look(&mut self, run: &Run) -> Result<(), SnapshotError> {
        if !self.looked {
            let whole = adopt::whole(run, self.base.as_ref()).await;
            let whole = whole.map_err(|error| SnapshotError::Failed(adopt::not_asked(error)))?;
            self.base =
                self.base.take().and_then(|base| if whole { Some(base) } else { base.into_committed() });
            self.looked = true;
        }
        Ok(())
    }

    /// What the repository needs when it looks like this.
    pub async fn next(
        &mut self,
        run: &Run,
        candidate: &Candidate,
        snapshot: &Snapshot,
    ) -> Result<Next, SnapshotError> {
        self.look(run).await?;
        let base = self.base.as_ref().filter(|_| self.found.is_none());
        if let Some(entry) = settled(run, (snapshot, &candidate.dir), base) {
            return Ok(Next::Settled(entry.into()));
        }
        if !self.asked_for_unfinished {
            self.asked_for_unfinished = true;
            let found = adopt::find(run, &candidate.path, self.base.as_ref(), snapshot).await;
            self.found = found.map_err(SnapshotError::Failed)?;
        }
        if let Some(found) = &self.found
            && let Some(entry) = settled(run, (snapshot, &candidate.dir), Some(&found.base))
        {
            found.announce(run, &candidate.path).await.map_err(SnapshotError::Failed)?;
            if entry.damage.is_some() || entry.fingerprint.as_ref() != Some(&snapshot.fingerprint) {
                return Ok(Next::Settled(entry.into()));
            }
            // It may have been found when the repository looked different.
            let (refs, head) = facts_of(&snapshot.refs);
            return Ok(Next::Settled(CatalogueEntry { refs, head, ..entry }.into()));
        }
        let known = self.newest().map(|base| &base.entry);
        let decided = plan::decide(&run.vault, snapshot, known, self.size, run.rules).await;
        let (plan, lost) = decided.map_err(SnapshotError::Failed)?;
        // A repository that moves is planned more than once.
        if lost.is_some() && !std::mem::replace(&mut self.told_of_loss, true) {
            run.lost_chains.add(&candidate.path);
        }
        Ok(Next::Pack(plan))
    }

    /// The newest state of which nothing was left out.
    pub fn last_good(&self) -> Option<LastGood> {
        self.newest().and_then(|base| base.entry.last_good())
    }

    /// Whether objects of it were missing or damaged when it was last backed up.
    pub fn has_damaged_objects(&self) -> bool {
        let damage = self.newest().and_then(|base| base.entry.damage.as_ref());
        damage.is_some_and(|damage| damage.object_files.is_some())
    }

    fn newest(&self) -> Option<&Base> {
        self.found.as_ref().map(|found| &found.base).or(self.base.as_ref())
    }
}
