//! Several hosts on one machine: network namespaces on a bridge, and links that are cut, lossy, slow or far.
//!
//! Does not own: the programs on the hosts, or their files, which all hosts share. Everything lies in namespaces of the
//! test's own, bridge and addresses too, so nothing of the machine's network is touched. Names hold the test's pid: what
//! a test that was killed left is removed by the next. It takes root; [`Network::start`] says so where it cannot.

mod host;
mod link;
mod network;
mod relay;
#[cfg(test)]
mod tests;

pub use host::Host;
pub use network::Network;
pub use relay::Relay;
