//! The test kit: fixtures made by real git, real servers on loopback, and runners for our own binaries.
//!
//! Does not own: any test of Packhorse itself. Development only; every function panics with full context (command,
//! output, state) instead of returning an error, so that a failing test explains itself. Depends on none of the crates
//! under test, so any of them can use it for its own tests.

mod bind_mount;
mod ceph;
mod certificates;
mod command;
mod counting;
mod deadline;
mod differences;
mod faults;
mod git;
mod listing;
mod machine;
mod net;
mod ports;
mod postgres;
mod processes;
mod skipped;
mod terminal;
mod tree;
mod watchdog;
mod xml;

pub use bind_mount::BindMount;
pub use ceph::CephGateway;
pub use certificates::{CertificateAuthority, IssuedCertificate};
pub use command::{hermetic_command, run_checked, run_with_input};
pub use counting::CountingRelay;
pub use deadline::{assert_stays, wait_until};
pub use faults::{Fault, FaultyS3, LoggedRequest, Operation, Plan, Rule, When};
pub use git::{GitRepo, Head, HookEntry, ReachableObjects, RefState, RepoState};
pub use listing::Listing;
pub use machine::Machine;
pub use net::{Host, Network, Relay};
pub use ports::free_port;
pub use postgres::PostgresServer;
pub use processes::{Backupctl, Binary, CliOutput, Daemon};
pub use skipped::skipped;
pub use terminal::Terminal;
pub use tree::{Kind, TreeEntry, TreeState};

/// The signals that `Daemon::signal` sends.
pub use rustix::process::Signal;
