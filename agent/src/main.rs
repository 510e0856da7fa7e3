//! `packhorse-agent`: serves the storages of one host until it is told to stop.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use packhorse_agent::{Agent, AgentOptions};
use packhorse_model::{ErrorKind, Exit, Problem, Subject};
use packhorse_service::{Listener, Tls, config::Config, process, telemetry};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::level_filters::LevelFilter;

/// Backs up and restores the repositories of this host, asked by a coordinator.
#[derive(Parser)]
#[command(name = "packhorse-agent", version)]
struct Flags {
    /// Configuration file.
    #[arg(long, env = "PACKHORSE_CONFIG", default_value = "/etc/packhorse/packhorse.toml")]
    config: PathBuf,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
    /// Log what is decided, too.
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    process::restrict_new_files();
    process::allow_many_files();
    telemetry::start(if flags.verbose { LevelFilter::DEBUG } else { LevelFilter::INFO }, flags.log_json);
    let runtime = match process::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start runtime");
            return ExitCode::from(Exit::Failed.code());
        }
    };
    match runtime.block_on(run(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!(next = problem.next, "{problem}");
            ExitCode::from(Exit::of_problem(&problem).code())
        }
    }
}

async fn run(flags: Flags) -> Result<(), Problem> {
    let config = Config::load(&flags.config)?;
    let vault = packhorse_vault::open(&config.vault_settings()?)?;
    let options = AgentOptions::from_config(&config);
    if options.storages.is_empty() {
        return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "start agent")
            .on(flags.config.display())
            .answered("names no [[storage]]"));
    }
    let tls = Tls::from_config(config.tls.as_ref())?;
    let access = packhorse_agent::access(&config)?;
    let listener = Listener::bind(&config.agent_service.listen.parse()?, tls.as_ref(), access).await?;
    let shutdown = CancellationToken::new();
    let _signal = process::cancel_on_signal(shutdown.clone());
    let tracker = TaskTracker::new();
    let uploads = vault.uploads().clone();
    let router = Agent::new(options, vault, shutdown.clone(), tracker.clone()).router().await?;
    tracing::info!(address = %listener.address(), "agent ready");
    listener.serve(router, shutdown).await?;
    process::drain(&tracker).await;
    process::drain(&uploads).await;
    tracing::info!("agent stopped");
    Ok(())
}
