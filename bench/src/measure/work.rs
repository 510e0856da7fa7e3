//! A piece of work: runs its sides in turn, until each has its repetitions or has used up its time.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::{Goal, Kind, Side, samples::Samples};
use crate::{
    bench::Bench,
    programs::{checked, isolated},
};

type Before<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// What is to be measured.
pub struct Work<'a> {
    /// What the table calls it.
    pub title: String,
    /// All sides, in the order in which they run.
    pub sides: Vec<Side<'a>>,
    /// What ours should reach.
    pub goals: Vec<Goal>,
    /// How many things are worked on, where that is what counts.
    pub items: Option<u64>,
    /// Whether the goals are meant for something else than what is measured here.
    pub stands_in: bool,
    /// What changes before each repetition; not timed.
    pub before: Option<Before<'a>>,
    /// Whether nothing may be in the page cache. Else each side first runs once untimed, so that all read from there.
    pub cold: bool,
}

/// What was measured.
pub struct Done {
    /// What the table calls it.
    pub title: String,
    /// Names, owners and figures of the sides, or why there are none.
    pub sides: Vec<Measured>,
    /// What ours should reach.
    pub goals: Vec<Goal>,
    /// How many things were worked on.
    pub items: Option<u64>,
    /// Whether the goals are meant for something else.
    pub stands_in: bool,
}

/// One side, finished.
pub struct Measured {
    /// What the table calls it.
    pub name: &'static str,
    /// Whose it is.
    pub kind: Kind,
    /// What it took.
    pub samples: Samples,
    /// Why there are no figures, or not more.
    pub missing: Option<String>,
}

impl<'a> Work<'a> {
    /// One without goals.
    pub fn new(title: impl Into<String>, sides: Vec<Side<'a>>) -> Self {
        let (title, goals) = (title.into(), Vec::new());
        Self { title, sides, goals, items: None, stands_in: false, before: None, cold: false }
    }

    /// The goals are meant for something else.
    pub fn stands_in(mut self, stands_in: bool) -> Self {
        self.stands_in = stands_in;
        self
    }

    /// What ours should reach.
    pub fn goals(mut self, goals: impl IntoIterator<Item = Goal>) -> Self {
        self.goals.extend(goals);
        self
    }

    /// So many things are worked on.
    pub fn items(mut self, items: usize) -> Self {
        self.items = Some(items as u64);
        self
    }

    /// What changes before each repetition.
    pub fn before(mut self, before: impl FnMut() -> Result<()> + 'a) -> Self {
        self.before = Some(Box::new(before));
        self
    }

    /// With an empty page cache.
    pub fn cold(mut self) -> Self {
        self.cold = true;
        self
    }

    /// Measures. A peer that fails is reported and left out from then on; ours may not fail.
    pub fn run(mut self, bench: &Bench) -> Result<Done> {
        self.rule_out_cold();
        let untimed = usize::from(!self.cold);
        for repetition in 0..bench.repetitions + untimed {
            if !self.sides.iter().any(|side| side.wants_more(bench.budget)) {
                break;
            }
            if let Some(before) = &mut self.before {
                before().context("prepare a repetition")?;
            }
            for side in &mut self.sides {
                if side.wants_more(bench.budget) {
                    let begin = || if self.cold { forget_all_files() } else { settle() };
                    run(side, bench, begin, repetition >= untimed)?;
                }
            }
        }
        Ok(self.done())
    }

    /// Without root, cached files cannot be dropped, and nothing is measured.
    fn rule_out_cold(&mut self) {
        if let (true, Err(error)) = (self.cold, forget_all_files()) {
            for side in &mut self.sides {
                side.give_up(format!("not measurable here: {error:#}"));
            }
        }
    }

    fn done(self) -> Done {
        let measured = |side: Side<'_>| Measured {
            name: side.name,
            kind: side.kind,
            missing: side.missing().map(str::to_owned),
            samples: side.samples,
        };
        let sides = self.sides.into_iter().map(measured).collect();
        let (items, stands_in) = (self.items, self.stands_in);
        Done { title: self.title, sides, goals: self.goals, items, stands_in }
    }
}

impl Done {
    /// The figures of a side; `None` where it has none.
    pub fn samples(&self, name: &str) -> Option<&Samples> {
        self.sides.iter().find(|side| side.name == name).map(|side| &side.samples).filter(|s| s.len() > 0)
    }
}

fn run(side: &mut Side<'_>, bench: &Bench, begin: impl FnOnce() -> Result<()>, counts: bool) -> Result<()> {
    match side.run(bench, begin, counts) {
        Err(error) if side.kind == Kind::Ours => bail!("{}: {error:#}", side.name),
        Err(error) => {
            bench.say(&format!("  {} failed: {error:#}", side.name));
            side.give_up(format!("failed: {error:#}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Waits until what earlier work wrote is on the disk.
fn settle() -> Result<()> {
    checked(&mut isolated(Path::new("sync")))
}

/// The same, and drops all cached files.
fn forget_all_files() -> Result<()> {
    settle()?;
    fs::write("/proc/sys/vm/drop_caches", "3").context("drop the page cache, as root")
}
