//! From flags to exit code: logging, runtime, configuration, signals, serving, draining.
//!
//! Does not own: what is served. The first signal asks the work to stop, the second ends the process at once.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use packhorse_model::{Exit, Problem};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Router;
use tracing::level_filters::LevelFilter;

use crate::{Listener, config::Config, process, telemetry};

/// The flags of every daemon.
#[derive(Args)]
pub struct Flags {
    /// Configuration file.
    #[arg(long, env = "PACKHORSE_CONFIG", default_value = "/etc/packhorse/packhorse.toml")]
    pub config: PathBuf,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
    /// Log what is decided, too.
    #[arg(short, long)]
    verbose: bool,
}

/// What a service is built on, and what it is served as.
pub struct Stage {
    /// Cancelled when the process is to stop.
    pub shutdown: CancellationToken,
    /// Tracks the work that a shutdown waits for.
    pub tracker: TaskTracker,
}

/// A service that is ready to be served.
pub struct Service {
    /// The calls that it answers.
    pub router: Router,
    /// The vault's uploads, which end last.
    pub uploads: TaskTracker,
}

/// Runs a daemon to its end. `listen` picks its address from the configuration, `build` makes its service.
pub fn run<F>(
    name: &'static str,
    flags: &Flags,
    listen: impl Fn(&Config) -> &str,
    build: impl FnOnce(Config, Stage) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Service, Problem>>,
{
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
    match runtime.block_on(serve(name, flags, listen, build)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!(next = problem.next, "{problem}");
            ExitCode::from(Exit::of_problem(&problem).code())
        }
    }
}

async fn serve<F>(
    name: &'static str,
    flags: &Flags,
    listen: impl Fn(&Config) -> &str,
    build: impl FnOnce(Config, Stage) -> F,
) -> Result<(), Problem>
where
    F: Future<Output = Result<Service, Problem>>,
{
    let config = Config::load(&flags.config)?;
    let address = listen(&config).parse();
    let shutdown = CancellationToken::new();
    let tracker = TaskTracker::new();
    let service = build(config, Stage { shutdown: shutdown.clone(), tracker: tracker.clone() }).await?;
    let listener = Listener::bind(&address?).await?;
    let _signal = process::cancel_on_signal(shutdown.clone());
    tracing::info!(address = %listener.address(), "{name} ready");
    listener.serve(service.router, shutdown).await?;
    process::drain(&tracker).await;
    process::drain(&service.uploads).await;
    tracing::info!("{name} stopped");
    Ok(())
}
