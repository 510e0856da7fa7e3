//! What every measurement needs: the programs, the work folder, the number of repetitions.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, Result};

use crate::{args::Args, programs::Programs};

/// Folder of the vault that is written.
pub const VAULT: &str = "vault";
/// Folder of the pack that the peer indexes.
pub const PACK: &str = "pack";
/// Folder of the storage that is restored.
pub const RESTORED: &str = "restored";

/// One run of this program.
pub struct Bench {
    /// What is measured.
    pub programs: Programs,
    /// Where repositories and vaults lie; absolute.
    pub work: PathBuf,
    /// Times that each side runs.
    pub repetitions: u32,
    /// Processors of this machine.
    pub cpus: usize,
    /// Folders made so far.
    folders: AtomicU32,
}

impl Bench {
    /// Finds the programs and makes the work folder.
    pub fn open(args: &Args) -> Result<Self> {
        let programs = Programs::find(args.backupctl.as_deref(), &args.git)?;
        fs::create_dir_all(&args.work).with_context(|| format!("create {}", args.work.display()))?;
        let work = fs::canonicalize(&args.work).with_context(|| format!("open {}", args.work.display()))?;
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { programs, work, repetitions: args.repetitions, cpus, folders: AtomicU32::new(0) })
    }

    /// A new folder in the work folder, whose name starts like this.
    ///
    /// Not one that was emptied: for five seconds ext4 does not use the inodes of deleted files again, and looks for
    /// others one by one. After 2,000 small repositories that took longer than to back them up, and would be measured.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.work.join(format!("{name}-{}", self.folders.fetch_add(1, Relaxed)));
        remove(&dir)?;
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(dir)
    }

    /// Removes what only one measurement needs; the repositories stay.
    pub fn tidy(&self) -> Result<()> {
        for entry in fs::read_dir(&self.work).context("read the work folder")? {
            let entry = entry.context("read the work folder")?;
            let name = entry.file_name();
            let start = name.to_str().and_then(|name| name.rsplit_once('-')).map(|(start, _)| start);
            if start.is_some_and(|start| [VAULT, PACK, RESTORED].contains(&start)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Tells the user what is going on.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
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

/// Bytes of all files below a folder.
pub fn size_of(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        sum += if kind.is_dir() { size_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
