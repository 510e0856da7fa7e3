//! Free loopback ports for servers that cannot be handed a bound socket.
//!
//! Does not own: the ports after it returned them. The kernel hands out ephemeral ports in a random order, so the same
//! one rarely comes back at once; ports asked for together are held together and therefore differ.

use std::net::TcpListener;

/// A TCP port on loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// As many different ports.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"));
    held.each_ref().map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let [first, second] = free_ports();
        assert_ne!(first, second);
        TcpListener::bind(("127.0.0.1", free_port())).expect("the port is free");
    }
}
