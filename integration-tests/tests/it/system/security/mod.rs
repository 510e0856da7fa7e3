//! Who may do what, proven with real daemons that listen with TLS on loopback: friends are served, intruders are not.
//!
//! Does not own: the rules one by one; their unit tests lie beside them in `service`. Every refusal must be logged with
//! who and what, once, and counted.

mod certs;
mod end_to_end;
mod floods;
mod intruders;
mod paths;
mod renewal;
mod sockets;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use packhorse_model::Subject;
use packhorse_service::{Address, Tls, config::TlsSection, connect};
use packhorse_testkit::{Backupctl, Binary, CertificateAuthority, Daemon, GitRepo, wait_until};
use tonic::transport::Channel;

use super::site::Site;

/// Time for something that takes moments.
const SOON: Duration = Duration::from_secs(60);

/// An agent and a coordinator with TLS, and the certificates of everybody.
struct Secured {
    site: Site,
    authority: CertificateAuthority,
    agent: Daemon,
    coordinator: Daemon,
    agent_address: String,
    address: String,
}

/// The callers of the coordinator, with their roles.
const PEERS: [[&str; 2]; 3] =
    [["ops.internal", "operator"], ["watch.internal", "observer"], ["agent.internal", "agent"]];

/// A `[[peer]]` section.
pub fn peer(san: &str, role: &str) -> String {
    format!("[[peer]]\nsan = '{san}'\nrole = '{role}'\n")
}

impl Secured {
    /// Starts both on a site with one repository.
    fn start() -> Self {
        let (site, authority) = (Site::new(), CertificateAuthority::new());
        for name in ["coordinator.internal", "agent.internal", "ops.internal", "watch.internal"] {
            authority.issue(name).write(&site.path(name));
        }
        site.repo("default/app.git").fill("main", 3);
        let vault = format!("[vault]\nurl = '{}'\n", site.vault_url());
        let agent = format!(
            "{vault}[agent_service]\nlisten = 'https://127.0.0.1:0'\n{}{}{}",
            site.storage_section("default", "default"),
            tls_section(&site, "agent.internal"),
            peer("coordinator.internal", "coordinator"),
        );
        site.write("agent.toml", &agent);
        Self::of(site, authority)
    }

    /// Starts both on files that are there.
    fn of(site: Site, authority: CertificateAuthority) -> Self {
        let (agent, agent_address) = start(&site, Binary::Agent, "agent");
        write_coordinator(&site, &agent_address, &PEERS);
        let (coordinator, address) = start(&site, Binary::Coordinator, "coordinator");
        Self { site, authority, agent, coordinator, agent_address, address }
    }

    /// Stops both, and starts them again.
    fn restarted(mut self) -> Self {
        assert_eq!(self.coordinator.terminate(), 0);
        assert_eq!(self.agent.terminate(), 0);
        Self::of(self.site, self.authority)
    }

    /// A call of `backupctl` with the certificate of `name`.
    fn ctl<const N: usize>(&self, name: &str, args: [&str; N]) -> Backupctl {
        self.ctl_at(&self.address, name).args(args)
    }

    fn ctl_at(&self, address: &str, name: &str) -> Backupctl {
        let file = |file| self.site.path(name).join(file);
        Backupctl::new()
            .args(["--no-progress", "--coordinator", address])
            .env("PACKHORSE_TLS_CERT", file("cert.pem"))
            .env("PACKHORSE_TLS_KEY", file("key.pem"))
            .env("PACKHORSE_TLS_CA", file("ca.pem"))
    }

    /// A channel with the certificate of `name`.
    async fn channel(&self, address: &str, name: &str) -> Channel {
        let address: Address = address.parse().expect("valid address");
        let tls = Tls::open(&tls_files(&self.site, name)).expect("good certificates");
        connect(&address, Subject::Agent, Some(&tls)).await.expect("the daemon accepts the certificate")
    }

    fn repo(&self) -> GitRepo {
        GitRepo::open(self.site.path("default/app.git"))
    }

    /// The address of the coordinator as host and port.
    fn place(&self) -> String {
        self.address.trim_start_matches("https://").to_owned()
    }

    /// Stops both; each tells how much it refused.
    fn stop(mut self) -> [Vec<String>; 2] {
        assert_eq!(self.coordinator.terminate(), 0);
        assert_eq!(self.agent.terminate(), 0);
        [self.coordinator.lines(), self.agent.lines()]
    }
}

fn write_coordinator(site: &Site, agent: &str, peers: &[[&str; 2]]) {
    let peers: String = peers.iter().map(|[san, role]| peer(san, role)).collect();
    let config = format!(
        "[vault]\nurl = '{}'\n[coordinator]\nlisten = 'https://127.0.0.1:0'\n[[agent]]\naddress = '{agent}'\n{}{peers}",
        site.vault_url(),
        tls_section(site, "coordinator.internal"),
    );
    site.write("coordinator.toml", &config);
}

fn tls_files(site: &Site, name: &str) -> TlsSection {
    let file = |file| -> PathBuf { site.path(name).join(file) };
    TlsSection { certificate: file("cert.pem"), key: file("key.pem"), ca: file("ca.pem") }
}

pub fn tls_section(site: &Site, name: &str) -> String {
    let TlsSection { certificate, key, ca } = tls_files(site, name);
    format!(
        "[tls]\ncertificate = '{}'\nkey = '{}'\nca = '{}'\n",
        certificate.display(),
        key.display(),
        ca.display()
    )
}

/// Starts a daemon with `<name>.toml` and says where it listens.
fn start(site: &Site, binary: Binary, name: &str) -> (Daemon, String) {
    let config = site.path(&format!("{name}.toml"));
    let daemon = Daemon::spawn(binary, ["--config".as_ref(), config.as_os_str()]);
    let ready = daemon.wait_for_line(&format!("{name} ready"), SOON);
    let address = ready.split("address=").nth(1).expect("the line names the address");
    (daemon, address.trim().to_owned())
}

/// The lines of a log that tell a refusal and contain all of these texts.
fn refusals(lines: &[String], texts: &[&str]) -> Vec<String> {
    let told = |line: &&String| {
        line.contains("WARN") && line.contains("refused") && texts.iter().all(|text| line.contains(text))
    };
    lines.iter().filter(told).cloned().collect()
}

/// Waits for a refusal that is logged with all of these texts, and checks that it is logged once.
#[track_caller]
fn assert_refused_once(daemon: &Daemon, texts: &[&str]) {
    let found = wait_until("a refusal in the log", SOON, || match refusals(&daemon.lines(), texts) {
        found if found.is_empty() => Err(format!("{texts:?}\n{}", daemon.lines().join("\n"))),
        found => Ok(found),
    });
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// How often each reason was counted, as a daemon told when it ended.
#[track_caller]
fn counts(log: &[String]) -> BTreeMap<String, u64> {
    let mut told = log.iter().filter(|line| line.contains("refusals since the start"));
    let (line, other) = (told.next().unwrap_or_else(|| panic!("no counts in {log:#?}")), told.next());
    assert_eq!(other, None, "told once");
    let counts = line.split("counts=\"").nth(1).and_then(|rest| rest.split('"').next());
    let counts = counts.unwrap_or_else(|| panic!("{line}")).split(", ");
    let pair = |count: &str| count.split_once(' ').and_then(|(r, n)| Some((r.to_owned(), n.parse().ok()?)));
    counts.map(|count| pair(count).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// Panics unless these were the refusals of a daemon that has ended, and there were no others.
#[track_caller]
fn assert_counted<const N: usize>(log: &[String], expected: [(&str, u64); N]) {
    assert_eq!(counts(log), expected.map(|(reason, count)| (reason.to_owned(), count)).into());
}
