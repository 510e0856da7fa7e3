//! Whole sites: configuration files, daemons, signals, databases and directories, failing and damaged stores.
//!
//! Does not own: what a repository may look like (`repositories`, `histories`). Every test runs our real programs
//! against real servers in a folder of its own (`site`); runs are stopped half way by a git that waits (`gate`).

mod bare_hands;
mod daemons;
mod damage;
mod directories;
mod dying_disk;
mod exit_codes;
mod fan_out;
pub mod gate;
mod going_on;
mod golden;
mod gone;
mod hanging;
pub mod json;
mod killed;
mod ledger;
mod limits;
mod mishaps;
mod next_steps;
mod other_targets;
mod places;
mod preflight;
mod progress;
mod promises;
mod quickstart;
pub mod security;
mod service_manager;
pub mod site;
mod store_failures;
mod telling;
mod vault_files;
mod vault_init;
mod whole;
