//! `packhorse-coordinator`: drives the agents and answers `backupctl` until it is told to stop.

use std::process::ExitCode;

use clap::Parser;
use packhorse_coordinator::{Coordinator, CoordinatorOptions};
use packhorse_model::Problem;
use packhorse_service::{
    config::Config,
    daemon::{self, Service, Stage},
    process,
};

/// Fans backups and restores out over agents, databases and directories.
#[derive(Parser)]
#[command(name = "packhorse-coordinator", version)]
struct Args {
    #[command(flatten)]
    flags: daemon::Flags,
}

fn main() -> ExitCode {
    let Args { flags } = Args::parse();
    daemon::run("coordinator", &flags, |config| &config.coordinator.listen, build)
}

async fn build(config: Config, stage: Stage) -> Result<Service, Problem> {
    let vault = packhorse_vault::open(&config.vault_settings()?)?;
    let options = CoordinatorOptions::from_config(&config, &process::environment())?;
    let uploads = vault.uploads().clone();
    let router = Coordinator::new(options, vault, stage.shutdown, stage.tracker).router().await?;
    Ok(Service { router, uploads })
}
