//! Whole-system tests: real binaries, real git, real vaults.
//!
//! Does not own: the fixtures (`testkit`). One test binary for the crate, so it links once; nextest runs every test in a
//! process of its own.

mod histories;
mod repositories;
mod system;
mod world;
