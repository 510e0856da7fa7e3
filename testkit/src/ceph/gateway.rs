//! The handle of a running gateway: where it is and how to log in.
//!
//! Does not own: bringing it up (`cluster`), sharing it (`shared`) or requests (`requests`). The user is the same in
//! every gateway; it is worth nothing outside this machine, because only loopback and hosts of a test are listened on.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::PathBuf,
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Host,
    ceph::{
        cluster::{self, ACCESS_KEY, SECRET_KEY},
        shared,
    },
    deadline::wait_until,
    hermetic_command,
    ports::free_ports,
    run_checked,
    watchdog::Watchdog,
};

/// A running S3 server; stopped when dropped, unless it is shared.
pub struct CephGateway {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) tls_port: u16,
    pub(super) host: Option<Host>,
    pub(super) watchdog: Option<Watchdog>,
}

impl CephGateway {
    /// Starts a gateway for this test alone, which may stop it.
    pub fn start() -> Self {
        Self::start_at(None)
    }

    /// The same on a host; it is neither killed nor revived there.
    pub fn start_on(host: &Host) -> Self {
        Self::start_at(Some(host.clone()))
    }

    fn start_at(host: Option<Host>) -> Self {
        let folder = TempDir::with_prefix("packhorse-ceph-").expect("temporary folder").keep();
        let watchdog = Watchdog::owned(&folder, "KILL");
        let ports = free_ports();
        cluster::start(&folder, host.as_ref(), ports);
        let [_, port, tls_port] = ports;
        Self { folder, port, tls_port, host, watchdog: Some(watchdog) }
    }

    /// The gateway that all tests of a run share, started by the first; keep apart by buckets.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<CephGateway> = OnceLock::new();
        SHARED.get_or_init(shared::join_or_start)
    }

    /// The address, for path-style requests.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.address(), self.port)
    }

    /// The address with TLS, under a certificate that only [`CephGateway::ca_file`] makes trusted.
    pub fn tls_endpoint(&self) -> String {
        format!("https://{}:{}", self.address(), self.tls_port)
    }

    /// The certificate of the authority that signed the gateway's.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The access key of the user that may do everything.
    pub fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// That user's secret key.
    pub fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }

    /// The region to sign for.
    pub fn region(&self) -> &'static str {
        "us-east-1"
    }

    /// The environment that lets an S3 client of ours use this gateway.
    pub fn env(&self) -> Vec<(String, String)> {
        let endpoint = self.endpoint();
        let variables = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", self.region()),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Kills the gateway, as a failing store would vanish, and leaves its data to `revive`.
    pub fn kill(&self) {
        self.signal_gateway("KILL");
        wait_until("the gateway's end", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", self.port)).map_or(Ok(()), |_| Err("still listening".to_owned()))
        });
    }

    /// Stops the gateway in its tracks, as a store that hangs, until `thaw`.
    pub fn freeze(&self) {
        self.signal_gateway("STOP");
    }

    /// Lets a frozen gateway go on.
    pub fn thaw(&self) {
        self.signal_gateway("CONT");
    }

    /// Starts the gateway again after `kill`, on the same port with the same data.
    pub fn revive(&self) {
        cluster::revive(&self.folder, self.port);
    }

    /// Stops everything and removes the folder.
    pub fn stop(self) {
        drop(self);
    }

    fn address(&self) -> IpAddr {
        self.host.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), Host::address)
    }

    fn signal_gateway(&self, signal: &str) {
        assert!(self.watchdog.is_some(), "a shared gateway may not be stopped: other tests use it");
        let file = self.folder.join("run/client.admin.pid");
        let pid = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        run_checked(hermetic_command("kill").args(["-s", signal, pid.trim()]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_gateway_comes_back_with_its_data_and_leaves_nothing_behind() {
        let gateway = CephGateway::start();
        gateway.create_bucket("own");
        gateway.put("own", "key", b"value");
        gateway.kill();
        gateway.revive();
        assert_eq!(gateway.get("own", "key"), b"value");
        let folder = gateway.folder.clone();
        gateway.stop();
        assert!(!folder.exists(), "{} is left", folder.display());
    }

    #[test]
    fn shared_gateways_are_one() {
        assert!(std::ptr::eq(CephGateway::shared(), CephGateway::shared()));
    }
}
