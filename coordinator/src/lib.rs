//! Decides: what a run consists of, who does it, and when it is a backup.

pub mod database;
pub mod directory;
