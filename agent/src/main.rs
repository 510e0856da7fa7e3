//! `packhorse-agent`: serves the storages of one host until it is told to stop.

use std::process::ExitCode;

use clap::Parser;
use packhorse_agent::{Agent, AgentOptions};
use packhorse_model::Problem;
use packhorse_service::{
    Live, Tls,
    config::Config,
    daemon::{self, Role, Service, Stages},
};

/// Backs up and restores the repositories of this host, asked by a coordinator.
#[derive(Parser)]
#[command(name = "packhorse-agent", version)]
struct Args {
    #[command(flatten)]
    flags: daemon::Flags,
}

const ROLE: Role = Role {
    name: "agent",
    listen: |config| &config.agent_service.listen,
    grace: |config| config.agent_service.grace.duration(),
    reloads: &[
        "storage",
        "peer",
        "agent_service.git",
        "agent_service.jobs",
        "agent_service.uploads",
        "agent_service.bandwidth",
        "agent_service.rejoin_within",
        "agent_service.stall_timeout",
        "agent_service.repository_timeout",
        "agent_service.max_chain",
        "agent_service.max_garbage",
        "agent_service.index_from",
        "agent_service.gitaly_manifests",
        "agent_service.grace",
    ],
    ignores: &["run", "coordinator", "agent", "database", "directory", "schedule"],
};

fn main() -> ExitCode {
    let Args { flags } = Args::parse();
    daemon::run(&ROLE, &flags, build)
}

async fn build(config: Config, stages: Stages) -> Result<Service, Problem> {
    let vault = packhorse_vault::open(&config.vault_settings()?)?;
    let options = Live::from(AgentOptions::for_daemon(&config)?);
    let uploads = vault.uploads().clone();
    let status = options.now().status();
    let tls = Tls::from_config(config.tls.as_ref())?;
    let access = packhorse_agent::access(&config)?;
    let agent = Agent::new(options.clone(), vault, stages).with_tls(tls.clone());
    let apply = move |config: &Config| {
        options.replace(AgentOptions::for_daemon(config)?);
        Ok(options.now().status())
    };
    let (apply, beside) = (Box::new(apply), Box::pin(agent.look()));
    Ok(Service { routes: agent.router().await?, tls, access, uploads, status, apply, beside })
}
