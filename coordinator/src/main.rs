//! `packhorse-coordinator`: drives the agents and answers `backupctl` until it is told to stop.

use std::process::ExitCode;

use clap::Parser;
use packhorse_coordinator::{Coordinator, CoordinatorOptions};
use packhorse_model::Problem;
use packhorse_service::{
    Live, Tls,
    config::Config,
    daemon::{self, Role, Service, Stages},
    process,
};

/// Fans backups and restores out over agents, databases and directories.
#[derive(Parser)]
#[command(name = "packhorse-coordinator", version)]
struct Args {
    #[command(flatten)]
    flags: daemon::Flags,
}

const ROLE: Role = Role {
    name: "coordinator",
    listen: |config| &config.coordinator.listen,
    grace: |config| config.coordinator.grace.duration(),
    reloads: &[
        "run",
        "peer",
        "agent",
        "database",
        "directory",
        "schedule",
        "coordinator.grace",
        "coordinator.storages",
        "coordinator.jobs",
        "coordinator.uploads",
        "coordinator.bandwidth",
        "coordinator.agent_patience",
        "coordinator.resume_within",
    ],
    ignores: &["storage", "agent_service"],
};

fn main() -> ExitCode {
    let Args { flags } = Args::parse();
    daemon::run(&ROLE, &flags, build)
}

async fn build(config: Config, stages: Stages) -> Result<Service, Problem> {
    let vault = packhorse_vault::open(&config.vault_settings()?)?;
    let tls = Tls::from_config(config.tls.as_ref())?;
    let access = packhorse_coordinator::access(&config)?;
    let shown = tls.clone();
    let options = move |config: &Config| {
        CoordinatorOptions::from_config(config, &process::environment(), shown.clone())
    };
    let live = Live::from(options(&config)?);
    let uploads = vault.uploads().clone();
    let status = live.now().status();
    let coordinator = Coordinator::new(live.clone(), vault, stages);
    let beside = Box::pin(coordinator.own_runs());
    let apply = Box::new(move |config: &Config| {
        live.replace(options(config)?.as_the_same(&live.now()));
        Ok(live.now().status())
    });
    Ok(Service { routes: coordinator.router().await?, tls, access, uploads, status, apply, beside })
}
