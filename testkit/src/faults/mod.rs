//! The fault store: an S3 server in memory that fails, stops and damages on command, the same way for the same seed.
//!
//! Does not own: what a store must keep (the vault's contract suite runs on it too). A request goes through these
//! files: `server` takes it, `request` reads it, `point` may hold it, `plan` may spoil it, `bucket` applies it, `log`
//! remembers it, `body` sends the answer; `handle` and `control` are what tests see. It listens on loopback on a thread
//! of its own, so tests and our programs in processes of their own use it alike. Signatures are not checked: the access
//! key says who asks, so each process gets one of its own.

mod answer;
mod body;
mod bucket;
mod control;
mod handle;
mod listing;
mod log;
mod plan;
mod point;
mod request;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod uploads;

pub use handle::FaultyS3;
pub use log::LoggedRequest;
pub use plan::{Fault, Plan, Rule};
pub use point::When;
pub use request::Operation;
