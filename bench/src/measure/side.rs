//! One side of a piece of work: how it is prepared, and what it runs.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::samples::{Sample, Samples};
use crate::{
    bench::{Bench, Sizes, remove, sizes},
    meter::{self, Script},
};

/// Folders of fewer files than this are removed at once; those of more when the work is done.
///
/// For five seconds ext4 does not use the inodes of deleted files again, and looks for others one by one. After 2,000
/// small repositories that took longer than to back them up, and would be measured.
const FEW_FILES: u64 = 500;

/// Whose side it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// backupctl.
    Ours,
    /// What it is compared with.
    Peer,
}

type Prepare<'a> = Box<dyn FnMut() -> Result<Prepared> + 'a>;

/// One side.
pub struct Side<'a> {
    /// What the table calls it.
    pub name: &'static str,
    /// Whose it is.
    pub kind: Kind,
    /// Makes ready what the next run needs; not timed. Or why it cannot run.
    prepare: Result<Prepare<'a>, String>,
    /// What it took.
    pub samples: Samples,
    /// Seconds spent on it.
    spent: f64,
}

/// A run that is ready to begin.
pub struct Prepared {
    /// What is run.
    pub script: Script,
    /// Where its result lies.
    pub stored: Stored,
}

/// Where the result of a run can be seen.
pub enum Stored {
    /// Nowhere.
    Unseen,
    /// In a folder of this run alone.
    In(PathBuf),
    /// In a folder that has more in it.
    Grown(PathBuf, Sizes),
    /// Where it cannot be counted; this removes it.
    Elsewhere(Box<dyn FnOnce()>),
}

impl<'a> Side<'a> {
    /// backupctl.
    pub fn ours(name: &'static str, prepare: impl FnMut() -> Result<Prepared> + 'a) -> Self {
        Self::new(name, Kind::Ours, Ok(Box::new(prepare)))
    }

    /// Another program.
    pub fn peer(name: &'static str, prepare: impl FnMut() -> Result<Prepared> + 'a) -> Self {
        Self::new(name, Kind::Peer, Ok(Box::new(prepare)))
    }

    /// Another program, where this machine has it.
    pub fn peer_if<T: 'a>(
        name: &'static str,
        program: Option<T>,
        mut prepare: impl FnMut(&T) -> Result<Prepared> + 'a,
    ) -> Self {
        match program {
            Some(program) => Self::peer(name, move || prepare(&program)),
            None => Self::new(name, Kind::Peer, Err("not installed".to_owned())),
        }
    }

    fn new(name: &'static str, kind: Kind, prepare: Result<Prepare<'a>, String>) -> Self {
        Self { name, kind, prepare, samples: Samples::default(), spent: 0.0 }
    }

    /// Why there are no figures, where there are none.
    pub fn missing(&self) -> Option<&str> {
        self.prepare.as_ref().err().map(String::as_str)
    }

    /// It cannot run, or no longer.
    pub fn give_up(&mut self, why: String) {
        self.prepare = Err(why);
    }

    /// Whether another run is worth its time.
    pub fn wants_more(&self, budget: f64) -> bool {
        self.prepare.is_ok() && (self.samples.len() == 0 || self.spent < budget)
    }

    /// Runs it once; `begin` is called when all is ready. A run that uses up the time of all counts in any case.
    pub fn run(&mut self, bench: &Bench, begin: impl FnOnce() -> Result<()>, counts: bool) -> Result<()> {
        let Ok(prepare) = &mut self.prepare else { return Ok(()) };
        let Prepared { script, stored } = prepare()?;
        begin()?;
        let outcome = meter::run(&script, &bench.work)?;
        self.spent += outcome.wall;
        let stored = stored.count()?;
        if counts || self.spent >= bench.budget {
            self.samples.add(Sample { outcome, stored });
        }
        Ok(())
    }
}

impl Prepared {
    /// A run that fills a new folder.
    pub fn filling(folder: &Path, script: Script) -> Self {
        Self { script, stored: Stored::In(folder.to_owned()) }
    }

    /// A run that adds to a folder.
    pub fn growing(folder: &Path, script: Script) -> Result<Self> {
        Ok(Self { script, stored: Stored::Grown(folder.to_owned(), sizes(folder)?) })
    }

    /// A run that leaves nothing that can be counted.
    pub fn unseen(script: Script) -> Self {
        Self { script, stored: Stored::Unseen }
    }
}

impl Stored {
    /// Looks, and removes what no other run needs.
    fn count(self) -> Result<Option<Sizes>> {
        match self {
            Self::Unseen => Ok(None),
            Self::In(folder) => {
                let found = sizes(&folder)?;
                if found.files < FEW_FILES {
                    remove(&folder)?;
                }
                Ok(Some(found))
            }
            Self::Grown(folder, before) => Ok(Some(sizes(&folder)?.since(before))),
            Self::Elsewhere(remove) => {
                remove();
                Ok(None)
            }
        }
    }
}
