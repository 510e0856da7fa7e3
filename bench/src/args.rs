//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures backupctl against git and other tools that are installed, alternating, on repositories that it makes.
#[derive(Parser)]
#[command(name = "packhorse-bench")]
pub struct Args {
    /// Where repositories are made and kept between runs; vaults are written here too
    #[arg(long, value_name = "DIR", default_value = "target/bench-work")]
    pub work: PathBuf,
    /// Copy every bare repository directly in this folder, or one level below, and measure these where large ones are
    /// asked for; may be repeated
    #[arg(long, value_name = "DIR")]
    pub real: Vec<PathBuf>,
    /// Store on a Ceph RADOS Gateway of this machine's memory, started for it; without goals
    #[arg(long)]
    pub ceph: bool,
    /// Also measure rustic
    #[arg(long)]
    pub rustic: bool,
    /// Times that each side of each measurement runs, after once for a warm page cache
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = repetitions)]
    pub repetitions: usize,
    /// Seconds after which a side that has run at least once does not run again
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub budget: f64,
    /// Only these measurements; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<Topic>,
    /// An old git for the repository of many refs, where newer ones have become faster
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/git")]
    pub git: PathBuf,
    /// The backupctl to measure; default: the one beside this program
    #[arg(long, value_name = "FILE")]
    pub backupctl: Option<PathBuf>,
    /// Also write the results to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Run the side that this file describes, and print what it took; for this program's own use
    #[arg(long, value_name = "FILE", hide = true)]
    pub carry_out: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// Full backup of large repositories
    Full,
    /// The same where they have bitmaps, with connectivity proven, and once more
    FullBitmaps,
    /// Full backup of 2,000 small repositories
    Small,
    /// The same where they have bitmaps
    SmallBitmaps,
    /// Backup of them, nothing changed
    Unchanged,
    /// The same with an empty page cache
    Cold,
    /// Backup of them, 5 % changed by one to three commits
    Changed,
    /// Full backup of a repository of 200,000 refs
    Refs,
    /// Backup of it, nothing changed
    RefsUnchanged,
    /// Backup of it, one ref moved
    RefsMoved,
    /// Restore of large repositories
    Restore,
    /// Restore of 2,000 small repositories
    RestoreSmall,
    /// Restore of 200,000 refs
    RestoreRefs,
    /// Backup of a directory of 10,000 files
    Directory,
}

fn repetitions(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("at least 1".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}
