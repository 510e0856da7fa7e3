//! Real agents and a real coordinator, and what becomes of runs when any of them goes away.
//!
//! Does not own: what is stored. One agent listens on a Unix socket and one on loopback; each serves its own storage
//! and a spare one.

mod agents;
mod callers;
mod lives;
mod resumed;
mod service;
mod young;

use std::time::Duration;

use packhorse_testkit::{Backupctl, Binary, Daemon, GitRepo, RepoState, free_port, wait_until};

use super::{
    gate::Gate,
    site::{Site, assert_restored},
};

/// Time for something that takes moments.
pub const SOON: Duration = Duration::from_secs(60);

/// A coordinator, two agents, and their files.
struct Fleet {
    site: Site,
    gate: Gate,
    agents: [Option<Daemon>; 2],
    coordinator: Option<Daemon>,
    addresses: [String; 2],
}

/// Storage of each agent, and the spare one.
const STORAGES: [[&str; 2]; 2] = [["default", "default-spare"], ["second", "second-spare"]];

impl Fleet {
    /// Starts all daemons on a site with a repository in each agent's first storage.
    fn start() -> Self {
        Self::start_patient("60s")
    }

    /// The same with a coordinator that waits this long for a lost agent.
    fn start_patient(patience: &str) -> Self {
        let site = Site::new();
        let gate = Gate::new(&site.path("gate"), 0);
        let addresses = [
            format!("unix://{}", site.path("agent.sock").display()),
            format!("http://127.0.0.1:{}", free_port()),
        ];
        let vault = format!("[vault]\nurl = '{}'\n", site.vault_url());
        for (number, address) in addresses.iter().enumerate() {
            let git = gate.git();
            let mut config = format!(
                "{vault}[agent_service]\nlisten = '{address}'\ngrace = '1s'\nrejoin_within = '0s'\ngit = '{}'\n",
                git.display()
            );
            for name in STORAGES[number] {
                config += &site.storage_section(name, name);
            }
            site.write(&format!("agent-{number}.toml"), &config);
            site.repo(&format!("{}/app.git", STORAGES[number][0])).fill("main", 10);
        }
        let [first, second] = &addresses;
        let coordinator = format!(
            "{vault}[coordinator]\nlisten = 'unix://{}'\ngrace = '1s'\nagent_patience = '{patience}'\n[[agent]]\naddress = '{first}'\n[[agent]]\naddress = '{second}'\n",
            site.path("coordinator.sock").display()
        );
        site.write("coordinator.toml", &coordinator);
        let mut fleet = Self { site, gate, agents: [None, None], coordinator: None, addresses };
        fleet.start_agent(0);
        fleet.start_agent(1);
        fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "coordinator ready"));
        fleet
    }

    fn start_agent(&mut self, number: usize) {
        self.agents[number] = Some(self.daemon(Binary::Agent, &format!("agent-{number}"), "agent ready"));
    }

    fn daemon(&self, binary: Binary, name: &str, ready: &str) -> Daemon {
        let config = self.site.path(&format!("{name}.toml"));
        let daemon = Daemon::spawn(binary, ["--config".as_ref(), config.as_os_str()]);
        daemon.wait_for_line(ready, SOON);
        daemon
    }

    fn agent(&mut self, number: usize) -> &mut Daemon {
        self.agents[number].as_mut().expect("the agent was started")
    }

    fn coordinator(&mut self) -> &mut Daemon {
        self.coordinator.as_mut().expect("the coordinator was started")
    }

    /// Waits until both agents have ended so many jobs of backups.
    fn wait_for_ends(&mut self, jobs: usize) {
        for number in [0, 1] {
            let agent = self.agent(number);
            wait_until("the ends of an agent's jobs", SOON, || {
                let lines = agent.lines();
                let ended = lines.iter().filter(|line| line.contains("backup ends")).count();
                if ended >= jobs { Ok(()) } else { Err(lines.join("\n")) }
            });
        }
    }

    fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        let address = format!("unix://{}", self.site.path("coordinator.sock").display());
        Backupctl::new().args(["--no-progress", "--coordinator", &address]).args(args)
    }

    fn repo(&self, number: usize) -> GitRepo {
        GitRepo::open(self.site.path(STORAGES[number][0]).join("app.git"))
    }

    fn states(&self) -> [RepoState; 2] {
        [0, 1].map(|number| self.repo(number).state())
    }

    /// Commits to both repositories, so that the next run has something to pack.
    fn change(&self) {
        for number in [0, 1] {
            self.repo(number).fill("main", GitRepo::COMMITS_FOR_GIT);
        }
    }

    /// Restores a backup into both spare storages, compares, and empties them again.
    fn assert_restores(&self, id: &str, expected: &[RepoState; 2]) {
        let pairs =
            STORAGES.map(|[from, to]| [format!("--storage={from}"), format!("--to-storage={from}={to}")]);
        self.ctl(["restore", id]).args(pairs.as_flattened()).run().expect_success();
        for (number, state) in expected.iter().enumerate() {
            let path = self.site.path(STORAGES[number][1]).join("app.git");
            assert_restored(state, &path);
            std::fs::remove_dir_all(&path).expect("remove what was restored");
        }
    }

    /// Stops everything that runs; each must exit with 0 and have complained of nothing but this.
    fn stop(mut self, allowed: &[&str]) {
        let daemons = [self.coordinator.take()].into_iter().chain(self.agents).flatten();
        for mut daemon in daemons {
            assert_eq!(daemon.terminate(), 0, "{}", daemon.lines().join("\n"));
            daemon.wait_for_line("stopped", SOON);
            daemon.assert_no_complaints(&[allowed, &["without TLS every user of this host"]].concat());
        }
        for socket in ["agent.sock", "coordinator.sock"] {
            assert!(!self.site.path(socket).exists(), "{socket} is left");
        }
    }
}
