//! What was backed up before this process started, as the vault has it.
//!
//! Does not own: anything that is stored. A run that committed nothing does not count: it is what has to be made up for.

use jiff::Timestamp;
use packhorse_model::Problem;
use packhorse_vault::{FormatMarker, Vault, committed};

use super::Schedule;

/// When the newest backups were started.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    whole: Option<Timestamp>,
    any: Option<Timestamp>,
}

impl History {
    /// Asks the vault.
    pub async fn read(vault: &Vault) -> Result<Self, Problem> {
        FormatMarker::of(vault).await?;
        let (backups, _unreadable) = committed(vault).await?;
        let newest = |started: &mut dyn Iterator<Item = Timestamp>| started.max();
        Ok(Self {
            whole: newest(&mut backups.iter().filter(|b| !b.partial).map(|b| b.started_at)),
            any: newest(&mut backups.iter().map(|b| b.started_at)),
        })
    }

    /// The start of the newest backup that stands for one of this schedule: a whole one stands for any, one that leaves
    /// something out only for schedules that do so, too.
    pub fn covers(&self, schedule: &Schedule) -> Option<Timestamp> {
        if schedule.is_partial() { self.any } else { self.whole }
    }
}
