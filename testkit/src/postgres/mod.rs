//! A real PostgreSQL server that lives as long as a test.
//!
//! Does not own: dumping or restoring (the coordinator does), or installing PostgreSQL (`.ci/install-tools` does).
//! Loopback and a Unix socket only, in a folder that the watchdog removes with the server.

mod cluster;
mod crash;
mod queries;

pub use cluster::PostgresServer;
