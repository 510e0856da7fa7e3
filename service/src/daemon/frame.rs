//! From flags to exit code: logging, runtime, configuration, signals, serving, draining.
//!
//! Does not own: what is served. The first signal asks the work to stop, the second ends the process at once.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use packhorse_model::{Exit, Problem};
use tracing::level_filters::LevelFilter;

use super::{Role, Service, Stages, drain::drain, reload::Reload, systemd::Systemd, watch::Watch};
use crate::{Address, Listener, Live, Tls, config::Config, process, telemetry};

/// The flags of every daemon.
#[derive(Args)]
pub struct Flags {
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

/// Runs a daemon to its end; `build` makes its service.
pub fn run<F>(role: &'static Role, flags: &Flags, build: impl FnOnce(Config, Stages) -> F) -> ExitCode
where
    F: Future<Output = Result<Service, Problem>>,
{
    process::restrict_new_files();
    process::allow_many_files();
    telemetry::start(if flags.verbose { LevelFilter::DEBUG } else { LevelFilter::INFO }, flags.log_json);
    let runtime = match process::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime does not start");
            return ExitCode::from(Exit::Failed.code());
        }
    };
    let served = runtime.block_on(serve(role, flags, build));
    // A thread that waits for a dead disk must not hold the exit up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!(next = problem.next, "{problem}");
            ExitCode::from(Exit::of_problem(&problem).code())
        }
    }
}

async fn serve<F>(
    role: &'static Role,
    flags: &Flags,
    build: impl FnOnce(Config, Stages) -> F,
) -> Result<(), Problem>
where
    F: Future<Output = Result<Service, Problem>>,
{
    let environment = process::environment();
    let systemd = Systemd::find(|key| environment.get(key).cloned());
    // Before the file is read, so that no change of it is missed.
    let watch = Watch::new(&flags.config);
    let (config, written) = Config::load_written(&flags.config)?;
    config.check_places()?;
    let address = (role.listen)(&config).parse()?;
    let current = Live::from(config.clone());
    let stages = Stages::default();
    let Service { routes, tls, access, uploads, status, apply, beside } =
        build(config, stages.clone()).await?;
    let others = access.has_other_users();
    let listener = Listener::bind(&address, tls.as_ref(), access.clone()).await?;
    let _signal = process::cancel_on_signal(stages.stopping.clone());
    tracing::info!(address = %listener.address(), "{} ready", role.name);
    if let Some(remark) = tls.as_ref().and_then(Tls::remark) {
        tracing::warn!("this {}: {remark}", role.name);
    }
    systemd.ready(&status);

    let path = flags.config.clone();
    let shuts_out_others = matches!(listener.address(), Address::Unix(_)) && !others;
    let reload =
        Reload { role, path, current: current.clone(), written, apply, tls, access, shuts_out_others };
    let mut serving = std::pin::pin!(listener.serve(routes, stages.shutdown.clone()));
    stages.tracker.spawn(beside);
    let always = async { tokio::join!(systemd.keep_alive(), reload.run(watch, &systemd)) };
    let ending = async {
        stages.stopping.cancelled().await;
        let grace = (role.grace)(&current.now());
        tracing::info!("{} stopping: what is at hand has {}s to end", role.name, grace.as_secs_f64());
        systemd.stopping(grace + process::GRACE * 3);
        drain(&stages, grace).await;
    };
    let served = tokio::select! {
        served = &mut serving => served,
        _ = always => Ok(()),
        () = ending => tokio::time::timeout(process::GRACE, serving).await.unwrap_or_else(|_| {
            tracing::warn!("calls did not end within {}s and are left", process::GRACE.as_secs());
            Ok(())
        }),
    };
    process::drain(&uploads).await;
    tracing::info!("{} stopped", role.name);
    served
}
