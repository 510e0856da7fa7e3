//! What every Packhorse process does the same way: configuration, logging, listening, connecting, shutting down.
//!
//! Does not own: what the process is for. Nothing here knows the wire or the stored format.

pub mod config;
