//! `packhorse-agent`: serves the storages of one host until it is told to stop.

use std::process::ExitCode;

use clap::Parser;
use packhorse_agent::{Agent, AgentOptions};
use packhorse_model::Problem;
use packhorse_service::{
    config::Config,
    daemon::{self, Service, Stage},
};

/// Backs up and restores the repositories of this host, asked by a coordinator.
#[derive(Parser)]
#[command(name = "packhorse-agent", version)]
struct Args {
    #[command(flatten)]
    flags: daemon::Flags,
}

fn main() -> ExitCode {
    let Args { flags } = Args::parse();
    daemon::run("agent", &flags, |config| &config.agent_service.listen, build)
}

async fn build(config: Config, stage: Stage) -> Result<Service, Problem> {
    let vault = packhorse_vault::open(&config.vault_settings()?)?;
    let options = AgentOptions::for_daemon(&config)?;
    let uploads = vault.uploads().clone();
    let router = Agent::new(options, vault, stage.shutdown, stage.tracker).router().await?;
    Ok(Service { router, uploads })
}
