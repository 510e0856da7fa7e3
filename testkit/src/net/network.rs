//! The bridge that hosts are on, and putting everything away.
//!
//! Does not own: a host's link (`link`). Namespaces are removed by name; processes in them belong to whoever started
//! them, except those of a test that is dead, which are killed first.

use std::{
    fs, process,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};

use super::host::Host;
use crate::{
    command::{hermetic_command, run_checked, stdout_text},
    skipped,
};

const PREFIX: &str = "packhorse-";

/// A network of hosts; removed when dropped.
pub struct Network {
    name: String,
    hosts: AtomicU8,
}

impl Network {
    /// An empty network; none, and said so, where this process may not make one.
    pub fn start() -> Option<Self> {
        static NETWORKS: AtomicUsize = AtomicUsize::new(0);
        if !rustix::process::geteuid().is_root() {
            skipped("network namespaces need root");
            return None;
        }
        remove_leftovers();
        let name = format!("{PREFIX}{}-{}", process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        let network = Self { name, hosts: AtomicU8::new(0) };
        let added = hermetic_command("ip").args(["netns", "add", &network.bridge()]).output();
        let added = added.expect("iproute2 is installed; run `make tools`");
        if !added.status.success() {
            skipped(&format!("network namespaces: {}", String::from_utf8_lossy(&added.stderr)));
            return None;
        }
        ip(&["-n", &network.bridge(), "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &network.bridge(), "link", "set", "bridge", "up"]);
        Some(network)
    }

    /// A new host with an address of its own, which all others reach.
    pub fn host(&self, name: &str) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let (host, bridge, port) = (format!("{}-{name}", self.name), self.bridge(), format!("port{number}"));
        ip(&["netns", "add", &host]);
        let address = [10, 77, 0, number].into();
        ip(&["link", "add", "eth0", "netns", &host, "type", "veth", "peer", "name", &port, "netns", &bridge]);
        ip(&["-n", &host, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", &host, "link", "set", "lo", "up"]);
        ip(&["-n", &host, "link", "set", "eth0", "up"]);
        ip(&["-n", &bridge, "link", "set", &port, "master", "bridge", "up"]);
        Host::new(host, address, bridge, port)
    }

    fn bridge(&self) -> String {
        format!("{}-bridge", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in namespaces().iter().filter(|name| name.starts_with(&format!("{}-", self.name))) {
            // One that stays is removed by the next test.
            let _ = hermetic_command("ip").args(["netns", "delete", name]).output();
        }
    }
}

/// Runs `ip`, which has to succeed.
pub(super) fn ip(args: &[&str]) {
    run_checked(hermetic_command("ip").args(args));
}

fn namespaces() -> Vec<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Removes what tests left that were killed.
fn remove_leftovers() {
    for name in namespaces() {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let dead =
            owner.is_some_and(|pid| !pid.is_empty() && !fs::exists(format!("/proc/{pid}")).unwrap_or(true));
        if !dead {
            continue;
        }
        // Another test may be removing the same: then there is nothing to do.
        if let Ok(pids) = hermetic_command("ip").args(["netns", "pids", &name]).output() {
            for pid in stdout_text(pids).lines() {
                let _ = hermetic_command("kill").args(["-KILL", pid]).output();
            }
        }
        let _ = hermetic_command("ip").args(["netns", "delete", &name]).output();
    }
}
