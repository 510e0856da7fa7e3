//! `backupctl completions`.

use clap::CommandFactory as _;
use packhorse_model::Exit;

use crate::{args::Args, render};

/// Prints a completion script.
pub fn run(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "backupctl", &mut script);
    render::script(&String::from_utf8_lossy(&script));
    Exit::Complete
}
