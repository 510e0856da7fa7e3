//! What every Packhorse process does the same way: configuration, logging, listening, connecting, who may call, health,
//! reloading, shutting down.
//!
//! Does not own: what the process is for. Nothing here knows the wire or the stored format.

pub mod access;
mod address;
pub mod config;
mod connect;
mod course;
pub mod daemon;
pub mod descent;
mod health;
mod keeper;
mod listen;
mod live;
pub mod places;
pub mod process;
mod reflection;
mod scratch;
pub mod telemetry;
mod tls;

pub use address::Address;
pub use connect::{call_again, connect};
pub use course::{Course, Follower, Seen};
pub use health::health;
pub use keeper::{Keeper, Kept};
pub use listen::Listener;
pub use live::Live;
pub use reflection::reflection;
pub use scratch::ScratchFolder;
pub use tls::Tls;
