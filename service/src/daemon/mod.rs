//! The frame of a daemon: everything between `main` and the service that it runs.
//!
//! Does not own: the service. A daemon's `main` parses its flags and says how its service is built; what both daemons do
//! in the same way is here, so they cannot differ in it.

mod frame;

pub use frame::{Flags, Service, Stage, run};
