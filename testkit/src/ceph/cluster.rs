//! The steps that bring up the smallest Ceph cluster with a gateway: keys, monitor, disk, gateway, user.
//!
//! Does not own: the gateway's API for tests (`gateway`) or stopping (the watchdog). Every daemon puts itself in the
//! background and leaves its pid in `run/`; all of them listen on loopback only, of the machine or of a host, but for the
//! gateway of a host.
//! The gateway answers without Nagle's delay, by which every small read would take 40 ms.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Host,
    command::{hermetic_command, run_checked, run_with_input, stdout_text},
    deadline::wait_until,
};

/// Access key of the only user.
pub(super) const ACCESS_KEY: &str = "test";
/// Secret key of the only user.
pub(super) const SECRET_KEY: &str = "testtest";

/// The settings that every daemon and tool reads; `@DIR@`, `@ID@`, `@MON@`, `@ADDRESS@`, `@S3@` and `@TLS@` are filled in.
const SETTINGS: &str = "\
[global]
fsid = @ID@
mon_initial_members = a
mon_host = [v2:127.0.0.1:@MON@]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = @DIR@/keyring
mon_data = @DIR@/mon
osd_data = @DIR@/osd
rgw_data = @DIR@/rgw
run_dir = @DIR@/run
pid_file = @DIR@/run/$name.pid
admin_socket = @DIR@/run/$name.asok
log_file = @DIR@/log/$name.log
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_pg_warn_min_per_osd = 0
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[client.admin]
rgw_frontends = beast tcp_nodelay=1 endpoint=@ADDRESS@:@S3@ ssl_endpoint=@ADDRESS@:@TLS@ ssl_certificate=@DIR@/server.pem ssl_private_key=@DIR@/server.key
";

/// Brings up a cluster in an existing folder; returns when the gateway answers.
pub(super) fn start(folder: &Path, host: Option<&Host>, [monitor_port, s3_port, tls_port]: [u16; 3]) {
    for name in ["mon", "osd", "rgw", "run", "log"] {
        fs::create_dir(folder.join(name)).unwrap_or_else(|error| panic!("create {name}: {error}"));
    }
    let cluster = Cluster { folder, host };
    let id = uuid();
    let settings = SETTINGS
        .replace("@DIR@", &folder.display().to_string())
        .replace("@ID@", &id)
        .replace("@MON@", &monitor_port.to_string())
        .replace("@ADDRESS@", &cluster.address().to_string())
        .replace("@S3@", &s3_port.to_string())
        .replace("@TLS@", &tls_port.to_string());
    fs::write(folder.join("ceph.conf"), settings).expect("write ceph.conf");
    cluster.make_certificates();
    cluster.make_keys();
    cluster.start_monitor(&id, monitor_port);
    cluster.start_disk();
    cluster.launch_gateway();
    cluster.make_user();
    cluster.wait_for_gateway(s3_port);
}

/// Starts a gateway again whose process was killed.
pub(super) fn revive(folder: &Path, s3_port: u16) {
    let cluster = Cluster { folder, host: None };
    cluster.launch_gateway();
    cluster.wait_for_gateway(s3_port);
}

struct Cluster<'a> {
    folder: &'a Path,
    host: Option<&'a Host>,
}

impl Cluster<'_> {
    fn address(&self) -> IpAddr {
        self.host.map_or(Ipv4Addr::LOCALHOST.into(), Host::address)
    }

    fn program(&self, name: &str) -> Command {
        self.host.map_or_else(|| hermetic_command(name), |host| host.command(name))
    }

    /// An authority of its own, `ca.pem`, and the gateway's certificate for its address by it.
    fn make_certificates(&self) {
        let openssl = |args: &str| {
            run_checked(hermetic_command("openssl").args(args.split(' ')).current_dir(self.folder));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        let extensions = format!("subjectAltName=IP:{}\nbasicConstraints=CA:FALSE\n", self.address());
        fs::write(self.folder.join("server.ext"), extensions).expect("write server.ext");
        openssl(&format!("req -x509 {key} -subj /CN=testkit-ca -keyout ca.key -out ca.pem"));
        openssl(
            &format!("req {key} -subj /CN=gateway -keyout server.key -out server.csr")
                .replace(" -days 2", ""),
        );
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext \
             -out server.pem",
        );
    }

    fn make_keys(&self) {
        let all = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
        self.keyring(["--create-keyring", "--gen-key", "--name=mon."].iter().chain(&all[..3]));
        self.keyring(["--gen-key", "--name=client.admin"].iter().chain(&all));
    }

    fn start_monitor(&self, id: &str, port: u16) {
        let map = self.folder.join("monmap");
        let address = format!("[v2:127.0.0.1:{port}]");
        let mut make_map = hermetic_command("monmaptool");
        make_map.args(["--create", "--addv", "a", &address, "--fsid", id]).arg(&map);
        run_checked(&mut make_map);
        run_checked(self.tool("ceph-mon").args(["--id=a", "--mkfs", "--monmap"]).arg(&map));
        self.daemon(self.tool("ceph-mon").arg("--id=a"));
    }

    fn start_disk(&self) {
        let disk = uuid();
        let key = stdout_text(run_checked(hermetic_command("ceph-authtool").arg("--gen-print-key")));
        let secret = format!("{{\"cephx_secret\": \"{key}\"}}");
        run_with_input(self.tool("ceph").args(["osd", "new", &disk, "-i", "-"]), secret.as_bytes());
        self.keyring(&["--name=osd.0", "--add-key", &key]);
        run_checked(self.tool("ceph-osd").args(["--id=0", "--mkfs", "--osd-uuid", &disk]));
        self.daemon(self.tool("ceph-osd").arg("--id=0"));
    }

    fn launch_gateway(&self) {
        self.daemon(self.tool("radosgw").arg("--name=client.admin"));
    }

    fn make_user(&self) {
        let access = format!("--access-key={ACCESS_KEY}");
        let secret = format!("--secret-key={SECRET_KEY}");
        let mut user = self.tool("radosgw-admin");
        run_checked(user.args(["user", "create", "--uid=test", "--display-name=test", &access, &secret]));
    }

    fn wait_for_gateway(&self, port: u16) {
        let url = format!("http://{}:{port}/", self.address());
        wait_until("the gateway's first answer", Duration::from_secs(60), || {
            let mut curl = self.program("curl");
            let status =
                curl.args(["--silent", "--fail", "--max-time", "5", "--output", "/dev/null", &url]).status();
            match status.expect("curl starts") {
                status if status.success() => Ok(()),
                status => Err(format!("curl: {status}\n{}", self.logs())),
            }
        });
    }

    /// One of Ceph's programs, which leaves its pid in `run/` too: it would wait for minutes for a monitor that died.
    fn tool(&self, name: &str) -> Command {
        let mut command = self.program("sh");
        command
            .args(["-c", r#"echo $$ >"run/$0.pid"; exec "$0" "$@""#, name])
            .arg("--conf")
            .arg(self.folder.join("ceph.conf"))
            .current_dir(self.folder);
        command
    }

    fn keyring<'a>(&self, args: impl IntoIterator<Item = &'a &'a str>) {
        run_checked(hermetic_command("ceph-authtool").arg(self.folder.join("keyring")).args(args));
    }

    /// Starts a daemon that puts itself in the background and must not keep this process's output open.
    fn daemon(&self, command: &mut Command) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        assert!(status.success(), "{command:?}: {status}\n{}", self.logs());
    }

    /// The last lines of every log.
    fn logs(&self) -> String {
        let tail = hermetic_command("sh").args(["-c", "tail -n 15 log/*"]).current_dir(self.folder).output();
        tail.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }
}

fn uuid() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("Linux makes random ids");
    text.trim().to_owned()
}
