//! `packhorse-bench`: how long `backupctl` takes, beside git and other tools on the same repositories in the same run.
//!
//! Does not own: correctness, which the tests prove. Nothing here is a test: machines differ and are noisy, so it prints
//! what it saw, goals missed included, and fails only when a measurement could not be made.

mod args;
mod bench;
mod corpus;
mod json;
mod loops;
mod measure;
mod meter;
mod peers;
mod programs;
mod rows;
mod table;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;

use crate::{args::Args, bench::Bench, measure::Done};

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.carry_out {
        Some(script) => meter::carry_out(script),
        None => run(&args),
    };
    match ended {
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
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for topic in rows::selected(args) {
        match rows::run(topic, args, &bench) {
            Ok(done) => {
                bench.say(&table::short(&done));
                all.push(done);
            }
            Err(error) => {
                bench.say(&format!("{error:#}"));
                failed.push(topic);
            }
        }
        bench.tidy()?;
    }
    report(args, &bench, &all)?;
    ensure!(failed.is_empty(), "could not be measured: {failed:?}");
    Ok(())
}

fn report(args: &Args, bench: &Bench, all: &[Done]) -> Result<()> {
    writeln!(io::stdout(), "\n{}", table::render(all, bench)).context("write the table")?;
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&json::render(all, bench))?;
        std::fs::write(file, json).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
