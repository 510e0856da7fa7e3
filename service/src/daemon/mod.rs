//! The frame of a daemon: everything between `main` and the service that it runs.
//!
//! Does not own: the service. A daemon's `main` parses its flags and says how its service is built; what both daemons do
//! in the same way is here, so they cannot differ in it.
//!
//! It ends in stages. The first signal cancels `stopping`: health turns to not serving, no new work is taken, calls are
//! still answered. When the work is done, or `grace` is over, `shutdown` is cancelled, which stops what is left; then
//! the listener closes and uploads are aborted. A second signal ends the process at once, wherever it is.

mod drain;
mod frame;
mod reload;
mod role;
mod systemd;
mod watch;

pub use frame::{Flags, run};
pub use role::{Apply, Role, Service, Stages};
