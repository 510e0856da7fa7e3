//! `packhorse-bench`: how long `backupctl` takes, as a ratio to git on the same repositories in the same run.
//!
//! Does not own: correctness, which the tests prove. Nothing here is a test: machines differ and are noisy, so it prints
//! what it saw and always exits with 0 unless a measurement could not be made.

mod args;
mod bench;
mod corpus;
mod loops;
mod measure;
mod memory;
mod peers;
mod programs;
mod table;
mod work;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::{args::Args, bench::Bench};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "packhorse-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let bench = Bench::open(args)?;
    bench.tidy()?;
    let mut rows = Vec::new();
    for work in work::selected(args, &bench)? {
        let row = work.run(&bench).with_context(|| format!("measure {}", work.name()))?;
        bench.say(&table::line(&row));
        rows.push(row);
        bench.tidy()?;
    }
    writeln!(io::stdout(), "\n{}", table::render(&rows, &bench)).context("write the table")?;
    if let Some(file) = &args.json {
        let json = serde_json::json!({
            "cpus": bench.cpus, "repetitions": bench.repetitions, "backupctl": bench.programs.backupctl, "rows": rows,
        });
        std::fs::write(file, serde_json::to_string_pretty(&json)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
