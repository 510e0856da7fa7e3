//! Runners for our own binaries, as an operator or systemd would run them.
//!
//! Does not own: configuration files or what the binaries do. Environments are cleared, so only what a test passes in
//! has an effect.

mod backupctl;
mod binaries;
mod daemon;

pub use backupctl::{Backupctl, CliOutput};
pub use binaries::Binary;
pub use daemon::Daemon;
