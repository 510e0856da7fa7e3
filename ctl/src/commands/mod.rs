//! The commands, one file each.

pub mod agents;
pub mod cancel;
pub mod certs;
pub mod completions;
pub mod create;
pub mod find;
mod follow;
pub mod list;
pub mod restore;
pub mod show;
pub mod status;
pub mod vault;
