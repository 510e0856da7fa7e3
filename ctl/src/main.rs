//! `backupctl`: what an operator types.
//!
//! Does not own: any work; it asks a coordinator, its own in embedded mode, and shows the answer. Results go to
//! stdout, progress and errors to stderr; the exit code follows from the result or the problem in one place.

mod args;
mod commands;
mod config_file;
mod embedded;
mod examples;
mod render;
mod session;

use std::process::ExitCode;

use packhorse_model::Exit;
use packhorse_service::{process, telemetry};
use tracing::level_filters::LevelFilter;

use self::args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(error) => return refused(&error),
    };
    process::restrict_new_files();
    process::allow_many_files();
    let level = match args.common.verbose {
        0 => LevelFilter::ERROR,
        1 => LevelFilter::WARN,
        2 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    telemetry::start(level, false);
    let exit = match process::runtime() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(&args));
            // Work that was told to stop has stopped; what blocks on a dead disk must not hold the exit up.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            exit
        }
        Err(error) => {
            render::note(&format!("error: start runtime: {error}"));
            Exit::Failed
        }
    };
    ExitCode::from(render::checked(exit).code())
}

/// Help, the version, or flags that do not parse; what was typed is quoted and may be anything.
fn refused(error: &clap::Error) -> ExitCode {
    let steers = std::env::args_os().any(|arg| arg.to_string_lossy().contains(char::is_control));
    if error.use_stderr() && steers {
        render::note(&error.render().to_string());
    } else {
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Complete }.code())
}

async fn run(args: &Args) -> Exit {
    let common = &args.common;
    let result = match &args.command {
        Command::Create(create) => commands::create::run(common, create).await,
        Command::Restore(restore) => commands::restore::run(common, restore).await,
        Command::List(list) => commands::list::run(common, list).await,
        Command::Find(find) => commands::find::run(common, find).await,
        Command::Show(show) => commands::show::run(common, show).await,
        Command::Status(status) => commands::status::run(common, status).await,
        Command::Cancel(cancel) => commands::cancel::run(common, cancel).await,
        Command::Agents(agents) => commands::agents::run(common, agents).await,
        Command::Vault(vault) => commands::vault::run(common, vault).await,
        Command::Certs(certs) => commands::certs::run(certs),
        Command::Completions { shell } => Ok(commands::completions::run(*shell)),
    };
    result.unwrap_or_else(|problem| {
        let exit = Exit::of_problem(&problem);
        render::failure(&problem, exit, common.json);
        exit
    })
}
