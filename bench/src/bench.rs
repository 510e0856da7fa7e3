//! What every measurement needs: the programs, the work folder, the number of repetitions.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{args::Args, loops::in_parallel, programs::Programs};

/// In the name of every folder that only one measurement needs.
const SCRATCH: &str = "scratch-";

/// One run of this program.
pub struct Bench {
    /// What is measured.
    pub programs: Programs,
    /// Where repositories and vaults lie; absolute.
    pub work: PathBuf,
    /// Times that each side runs.
    pub repetitions: usize,
    /// Seconds after which a side does not run again.
    pub budget: f64,
    /// Folders of the user's repositories.
    pub real: Vec<PathBuf>,
    /// Whether rustic takes part.
    pub rustic: bool,
    /// Processors of this machine.
    pub cpus: usize,
    /// Folders made so far.
    folders: AtomicU32,
}

/// Bytes below a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Of all files.
    pub all: u64,
    /// Of packs, bundles and lists of refs.
    pub git: u64,
    /// How many files there are.
    pub files: u64,
}

impl Bench {
    /// Finds the programs and makes the work folder.
    pub fn open(args: &Args) -> Result<Self> {
        let programs = Programs::find(args)?;
        fs::create_dir_all(&args.work).with_context(|| format!("create {}", args.work.display()))?;
        let work = fs::canonicalize(&args.work).with_context(|| format!("open {}", args.work.display()))?;
        Ok(Self {
            programs,
            work,
            repetitions: args.repetitions,
            budget: args.budget,
            real: args.real.clone(),
            rustic: args.rustic,
            cpus: thread::available_parallelism().map_or(1, usize::from),
            folders: AtomicU32::new(0),
        })
    }

    /// A new folder in the work folder, with this word in its name, until the measurement ends.
    ///
    /// Never one that was emptied: see `measure::side`.
    pub fn fresh(&self, word: &str) -> Result<PathBuf> {
        let dir = self.work.join(format!("{SCRATCH}{word}-{}", self.folders.fetch_add(1, Relaxed)));
        remove(&dir)?;
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(dir)
    }

    /// Removes what only one measurement needs; the repositories stay.
    pub fn tidy(&self) -> Result<()> {
        for entry in fs::read_dir(&self.work).context("read the work folder")? {
            let entry = entry.context("read the work folder")?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(SCRATCH)) {
                remove_beside(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Tells the user what is going on.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

impl Sizes {
    /// What came in addition.
    pub fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            git: self.git.saturating_sub(before.git),
            files: self.files.saturating_sub(before.files),
        }
    }
}

/// Removes a folder where it is there.
pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a large folder, several things beside each other: where the disk is told of every freed block and answers
/// slowly, one after another takes longer than what was measured.
fn remove_beside(dir: &Path) -> Result<()> {
    let mut below = vec![dir.to_owned()];
    // A storage has most of its folders below one or two that stand alone.
    while let [only] = below.as_slice() {
        if !only.is_dir() {
            break;
        }
        let entries = fs::read_dir(only).with_context(|| format!("read {}", only.display()))?;
        below = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    }
    in_parallel(16, &below, |_, path| if path.is_dir() { remove(path) } else { Ok(fs::remove_file(path)?) })?;
    remove(dir)
}

/// Counts what lies below a folder.
pub fn sizes(dir: &Path) -> Result<Sizes> {
    let mut sum = Sizes::default();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
        let below = if found.is_dir() { sizes(&path)? } else { of_file(&path, found.len()) };
        sum.all += below.all;
        sum.git += below.git;
        sum.files += below.files;
    }
    Ok(sum)
}

fn of_file(path: &Path, bytes: u64) -> Sizes {
    let name = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_git = ["bundle", "pack", "refs"].contains(&name);
    Sizes { all: bytes, git: if is_git { bytes } else { 0 }, files: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_bundles_and_refs_are_told_from_the_rest() {
        assert_eq!(of_file(Path::new("a/001.bundle"), 7), Sizes { all: 7, git: 7, files: 1 });
        assert_eq!(of_file(Path::new("a/001.refs"), 7).git, 7);
        assert_eq!(of_file(Path::new("a/20260101.toml"), 7), Sizes { all: 7, git: 0, files: 1 });
    }

    #[test]
    fn a_folder_is_removed_with_all_below_it() {
        let dir = std::env::temp_dir().join(format!("packhorse-bench-remove-{}", std::process::id()));
        for below in ["only/a/b", "only/c"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        fs::write(dir.join("only/a/b/file"), "x").unwrap();
        fs::write(dir.join("only/file"), "x").unwrap();
        remove_beside(&dir).unwrap();
        assert!(!dir.exists());
        fs::create_dir(&dir).unwrap();
        remove_beside(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn growth_is_what_came_in_addition() {
        let (before, after) = (Sizes { all: 5, git: 2, files: 1 }, Sizes { all: 9, git: 3, files: 2 });
        assert_eq!(after.since(before), Sizes { all: 4, git: 1, files: 1 });
    }
}
