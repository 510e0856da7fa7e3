//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures backupctl against git itself, alternating, on repositories that it makes.
#[derive(Parser)]
#[command(name = "packhorse-bench")]
pub struct Args {
    /// Where repositories are made and kept between runs; vaults are written here too
    #[arg(long, value_name = "DIR", default_value = "target/bench-work")]
    pub work: PathBuf,
    /// Also measure every bare repository directly in this folder, or one level below
    #[arg(long, value_name = "DIR")]
    pub real: Option<PathBuf>,
    /// Times that each side of each measurement runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: u32,
    /// Only these measurements; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<Topic>,
    /// A second git, with which the repository of many refs is measured too, where its version differs
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/git")]
    pub git: PathBuf,
    /// The backupctl to measure; default: the one beside this program
    #[arg(long, value_name = "FILE")]
    pub backupctl: Option<PathBuf>,
    /// Also write the results to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// Full backup of a large repository
    Full,
    /// Full backup of 2,000 small repositories
    Small,
    /// The same, nothing changed
    Unchanged,
    /// Full backup of a repository of 200,000 refs
    Refs,
    /// Restore of a large repository
    Restore,
}
