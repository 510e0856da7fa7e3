//! Decides: what a run consists of, who does it, and when it is a backup.
//!
//! Does not own: repositories (`agent`) or the stored format (`vault`). Its work and memory grow with the number of
//! storages, not of repositories.

mod board;
pub mod database;
pub mod directory;
mod fleet;
mod options;
mod patience;
mod pipe;
mod restore;
mod run;
mod schedule;
mod server;
mod stop;

pub use options::{CoordinatorOptions, RunLimits};
pub use server::{Coordinator, access};
