//! One gateway for all tests of a run, also when every test is a process of its own.
//!
//! Does not own: starting (`cluster`). Under nextest each test is a process, so the first one starts the gateway while
//! the others wait at a file lock; it ends with the nextest process, which is the parent of all of them. Under
//! `cargo test` it belongs to the test binary. A lock is released by the kernel when its holder dies, so a test that is
//! killed while starting blocks nobody.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process,
};

use crate::{
    ceph::{CephGateway, cluster},
    ports::free_ports,
    watchdog::Watchdog,
};

/// Joins the run's gateway, or starts it.
pub(super) fn join_or_start() -> CephGateway {
    let (run, owner) = match env::var("NEXTEST_RUN_ID") {
        Ok(run) => (run, std::os::unix::process::parent_id()),
        Err(_) => (process::id().to_string(), process::id()),
    };
    let folder = env::temp_dir().join(format!("packhorse-ceph-{run}"));
    if fs::create_dir(&folder).is_ok() {
        Watchdog::outliving(&folder, "KILL", owner);
    }
    let lock = File::create(folder.join("lock")).expect("the run's folder can be written");
    lock.lock().expect("a local file can be locked");
    let [port, tls_port] = ready_ports(&folder);
    CephGateway { port, tls_port, folder, host: None, watchdog: None }
}

/// The ports of the folder's gateway, which is started unless somebody did. Call under the lock.
fn ready_ports(folder: &Path) -> [u16; 2] {
    let file = folder.join("ports");
    if let Ok(text) = fs::read_to_string(&file) {
        let (port, tls_port) = text.split_once(' ').expect("the ports were written under the lock");
        return [port, tls_port].map(|port| port.parse().expect("the ports were written under the lock"));
    }
    assert!(!folder.join("mon").exists(), "the gateway did not start in another test: see there");
    let ports = free_ports();
    cluster::start(folder, None, ports);
    let [_, port, tls_port] = ports;
    fs::write(&file, format!("{port} {tls_port}")).expect("write the ports");
    [port, tls_port]
}
