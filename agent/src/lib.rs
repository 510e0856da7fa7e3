//! Does: backs up and restores the repositories of a storage node, asked by a coordinator over gRPC.
//!
//! Does not own: what a run consists of, or when it is a backup (`coordinator`); the stored format (`vault`). The only
//! crate that names gix.

pub mod backup;
pub mod git;
mod packs;
pub mod restore;
mod server;

pub use packhorse_vault::{Vault, make_place, open as open_vault};
pub use server::{Agent, AgentOptions, access};
