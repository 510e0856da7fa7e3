//! A real S3 server: Ceph's RADOS Gateway over one in-memory disk, on loopback.
//!
//! Does not own: the vault's view of a store, or installing Ceph (`.ci/install-tools` does). Starting takes about ten
//! seconds, so tests share one (`shared`) and keep apart by buckets. The server's folder and processes belong to a
//! watchdog, so nothing is left when a test is killed.

mod cluster;
mod gateway;
mod requests;
mod shared;

pub use gateway::CephGateway;
