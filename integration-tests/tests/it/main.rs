//! Whole-system tests: real binaries, real git, real vaults.
//!
//! Does not own: the fixtures (`testkit`). One test binary for the crate, so it links once; nextest runs every test in a
//! process of its own.

#![expect(
    clippy::print_stderr,
    reason = "a skipped case and a failing seed are told to whoever reads the test's output"
)]

mod crashes;
mod faults;
mod histories;
mod hosts;
mod repositories;
mod scale;
mod soak;
mod system;
mod world;
