//! The hosts of a test, what runs on them, and their certificates.
//!
//! Does not own: what becomes of the links. Each agent serves one storage with one repository, and a spare one to restore
//! into; its git waits when it is told to. Fields are dropped in their order: programs before the network.

use std::time::Duration;

use packhorse_testkit::{
    Backupctl, Binary, CephGateway, CertificateAuthority, Daemon, FaultyS3, GitRepo, Host, Network, Relay,
    RepoState,
};

use super::SOON;
use crate::system::{
    gate::Gate,
    security::{peer, tls_section},
    site::{Site, assert_restored},
};

const BUCKET: &str = "hosts";
/// The storage of each agent, and its spare one.
pub const STORAGES: [[&str; 2]; 2] = [["default", "default-spare"], ["second", "second-spare"]];
/// Where all daemons listen.
const PORT: u16 = 7443;

/// How hosts are set up.
pub struct Options {
    /// Whether the store is a real Ceph gateway.
    pub ceph: bool,
    /// How far the agents and the store are away.
    pub delay: Duration,
    pub patience: &'static str,
    pub retry_budget: &'static str,
    /// More of the coordinator's configuration.
    pub databases: String,
}

impl Default for Options {
    fn default() -> Self {
        let (ceph, delay, databases) = (super::long(), Duration::ZERO, String::new());
        Self { ceph, delay, patience: "90s", retry_budget: "60s", databases }
    }
}

enum Store {
    Ceph(CephGateway),
    Faulty(FaultyS3),
}

pub struct Hosts {
    pub site: Site,
    pub gates: [Gate; 2],
    pub agents: [Option<Daemon>; 2],
    pub coordinator: Daemon,
    _relays: Vec<Relay>,
    store: Store,
    pub agent_hosts: [Host; 2],
    pub coordinator_host: Host,
    pub store_host: Host,
    pub operator: Host,
    network: Network,
}

impl Hosts {
    /// Starts everything on a network of its own; nothing where there cannot be one.
    pub fn start(options: Options) -> Option<Self> {
        let network = Network::start()?;
        Some(Self::start_on(network, options))
    }

    /// The same on a network that has hosts already.
    pub fn start_on(network: Network, options: Options) -> Self {
        let site = Site::new();
        let store_host = network.host("store");
        let store = match options.ceph {
            true => Store::Ceph(CephGateway::start_on(&store_host)),
            false => Store::Faulty(FaultyS3::start_on(&store_host)),
        };
        let agent_hosts = [network.host("agent-0"), network.host("agent-1")];
        let (coordinator_host, operator) = (network.host("coordinator"), network.host("operator"));
        let authority = CertificateAuthority::new();
        for (name, host) in [
            ("agent-0.internal", &agent_hosts[0]),
            ("agent-1.internal", &agent_hosts[1]),
            ("coordinator.internal", &coordinator_host),
            ("ops.internal", &operator),
        ] {
            authority.issue_at(name, host.address()).write(&site.path(name));
        }
        let mut relays = Vec::new();
        let mut far = |host: &Host, port: u16| {
            if options.delay.is_zero() {
                return format!("{}:{port}", host.address());
            }
            relays.push(Relay::start(host, port, options.delay));
            relays.last().expect("just added").address().to_string()
        };
        let vault = store.vault_section(&options, |port| far(&store_host, port));
        let gates = [0, 1].map(|number| Gate::new(&site.path(&format!("gate-{number}")), 0));
        let mut agents = String::new();
        for (number, host) in agent_hosts.iter().enumerate() {
            let listen = format!("https://{}:{PORT}", host.address());
            let mut config = format!(
                "{vault}[agent_service]\nlisten = '{listen}'\ngrace = '1s'\nrejoin_within = '0s'\ngit = '{}'\n{}{}",
                gates[number].git().display(),
                tls_section(&site, &format!("agent-{number}.internal")),
                peer("coordinator.internal", "coordinator"),
            );
            for name in STORAGES[number] {
                config += &site.storage_section(name, name);
            }
            site.write(&format!("agent-{number}.toml"), &config);
            site.repo(&format!("{}/app.git", STORAGES[number][0])).fill("main", 10);
            agents += &format!("[[agent]]\naddress = 'https://{}'\n", far(host, PORT));
        }
        let coordinator = format!(
            "{vault}[coordinator]\nlisten = 'https://{}:{PORT}'\ngrace = '1s'\nagent_patience = '{}'\n{agents}{}{}{}",
            coordinator_host.address(),
            options.patience,
            options.databases,
            tls_section(&site, "coordinator.internal"),
            peer("ops.internal", "operator"),
        );
        site.write("coordinator.toml", &coordinator);
        let start = |number: usize| Some(start_agent(&site, &store, &agent_hosts[number], number));
        let agents = [start(0), start(1)];
        let mut command = coordinator_host.binary(Binary::Coordinator);
        command.arg("--config").arg(site.path("coordinator.toml")).envs(store.env("coordinator"));
        let coordinator = Daemon::spawn_command(command);
        coordinator.wait_for_line("coordinator ready", SOON);
        let estate = Self {
            site,
            gates,
            agents,
            coordinator,
            _relays: relays,
            store,
            agent_hosts,
            coordinator_host,
            store_host,
            operator,
            network,
        };
        // Only the coordinator's host has the store's keys.
        estate.ctl(["vault", "init"]).run().expect_success();
        estate
    }

    /// Starts an agent again.
    pub fn start_agent(&mut self, number: usize) {
        self.agents[number] = Some(start_agent(&self.site, &self.store, &self.agent_hosts[number], number));
    }

    pub fn agent(&mut self, number: usize) -> &mut Daemon {
        self.agents[number].as_mut().expect("the agent was started")
    }

    /// Every host of ours but the operator's.
    pub fn all(&self) -> [&Host; 4] {
        [&self.agent_hosts[0], &self.agent_hosts[1], &self.coordinator_host, &self.store_host]
    }

    /// A call of the operator's, from the operator's host.
    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        self.ctl_on(&self.operator, args)
    }

    /// A call of the operator's from any host.
    pub fn ctl_on<const N: usize>(&self, host: &Host, args: [&str; N]) -> Backupctl {
        let file = |file| self.site.path("ops.internal").join(file);
        let address = format!("https://{}:{PORT}", self.coordinator_host.address());
        host.backupctl()
            .args(["--no-progress", "--coordinator", &address])
            .env("PACKHORSE_TLS_CERT", file("cert.pem"))
            .env("PACKHORSE_TLS_KEY", file("key.pem"))
            .env("PACKHORSE_TLS_CA", file("ca.pem"))
            .args(args)
    }

    pub fn repo(&self, number: usize) -> GitRepo {
        GitRepo::open(self.site.path(STORAGES[number][0]).join("app.git"))
    }

    pub fn states(&self) -> [RepoState; 2] {
        [0, 1].map(|number| self.repo(number).state())
    }

    /// Commits to both repositories, so that the next run has something to pack.
    pub fn change(&self) {
        for number in [0, 1] {
            self.repo(number).fill("main", GitRepo::COMMITS_FOR_GIT);
        }
    }

    /// Makes a first backup, commits to both repositories, and begins a run that is held at one agent.
    pub fn held_at(&self, number: usize) -> Daemon {
        self.ctl(["create", "--backup-id", "0001"]).run().expect_success();
        self.change();
        self.gates[number].close();
        let run = self.ctl(["create", "--json", "--backup-id", "0002"]).spawn();
        self.gates[number].wait_until_reached();
        run
    }

    /// Restores a backup into both spare storages, compares, and empties them again.
    #[track_caller]
    pub fn assert_restores(&self, id: &str, expected: &[RepoState; 2]) {
        let pairs =
            STORAGES.map(|[from, to]| [format!("--storage={from}"), format!("--to-storage={from}={to}")]);
        self.ctl(["restore", id]).args(pairs.as_flattened()).run().expect_success();
        for (number, state) in expected.iter().enumerate() {
            let path = self.site.path(STORAGES[number][1]).join("app.git");
            assert_restored(state, &path);
            std::fs::remove_dir_all(&path).expect("remove what was restored");
        }
    }

    /// Stops everything; each daemon must end well and have complained of nothing but this.
    pub fn stop(self, allowed: &[&str]) {
        let Self { agents, coordinator, network, .. } = self;
        // Daemons are there before the vault is made, and say so, as of a store that is silent for a while.
        let allowed = [allowed, &["no vault here", "has not answered for", "answers again"]].concat();
        for mut daemon in agents.into_iter().flatten().chain([coordinator]) {
            assert_eq!(daemon.terminate(), 0, "{}", daemon.lines().join("\n"));
            daemon.assert_no_complaints(&allowed);
        }
        drop(network);
    }
}

fn start_agent(site: &Site, store: &Store, host: &Host, number: usize) -> Daemon {
    let name = format!("agent-{number}");
    let mut command = host.binary(Binary::Agent);
    command.arg("--config").arg(site.path(&format!("{name}.toml"))).envs(store.env(&name));
    let daemon = Daemon::spawn_command(command);
    daemon.wait_for_line("agent ready", SOON);
    daemon
}

impl Store {
    /// The `[vault]` section; `far` gives the address by which a port of the store's host is reached.
    fn vault_section(&self, options: &Options, far: impl FnOnce(u16) -> String) -> String {
        let port = |endpoint: &str| -> u16 {
            endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address ends in a port")
        };
        let (bucket, endpoint, more) = match self {
            Self::Ceph(gateway) => {
                gateway.create_bucket(BUCKET);
                let endpoint = format!("https://{}", far(port(&gateway.tls_endpoint())));
                (BUCKET, endpoint, format!("ca_file = '{}'\n", gateway.ca_file().display()))
            }
            Self::Faulty(server) => {
                (server.bucket(), format!("http://{}", far(port(&server.endpoint()))), String::new())
            }
        };
        format!(
            "[vault]\nurl = 's3://{bucket}/v'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\npath_style = true\n\
             retry_budget = '{}'\n{more}",
            options.retry_budget
        )
    }

    fn env(&self, who: &str) -> [(&'static str, String); 2] {
        let (key, secret) = match self {
            Self::Ceph(gateway) => (gateway.access_key(), gateway.secret_key()),
            Self::Faulty(_) => (who, "secret"),
        };
        [("AWS_ACCESS_KEY_ID", key.to_owned()), ("AWS_SECRET_ACCESS_KEY", secret.to_owned())]
    }
}
