//! `backupctl completions`.

use clap::CommandFactory as _;
use packhorse_model::Exit;

use crate::args::Args;

/// Prints a completion script.
pub fn run(shell: clap_complete::Shell) -> Exit {
    clap_complete::generate(shell, &mut Args::command(), "backupctl", &mut std::io::stdout());
    Exit::Complete
}
