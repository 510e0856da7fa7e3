//! An agent and a coordinator as processes of their own, on a place with a fault store that tells them apart.
//!
//! Does not own: what goes wrong. Restores of repositories are done by a `backupctl` for itself, so that they prove what
//! the vault holds and nothing else.

use std::{path::Path, time::Duration};

use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3};

use super::place::Place;
use crate::system::site::Site;

/// Time for something that takes moments.
pub const SOON: Duration = Duration::from_secs(60);

/// The daemons and what they work on.
pub struct Crew {
    pub place: Place,
    pub agent: Daemon,
    pub coordinator: Daemon,
}

impl Crew {
    /// Starts both on fresh repositories, with more lines for `[vault]` and more sections for the coordinator.
    pub fn start(vault: &str, sections: &str) -> Self {
        Self::on(Place::new("20s"), vault, sections)
    }

    /// The same on a copy of repositories that were made once.
    pub fn with_copy_of(storage: &Path, vault: &str) -> Self {
        Self::on(Place::with_copy_of(storage, "20s"), vault, "")
    }

    fn on(place: Place, vault: &str, sections: &str) -> Self {
        let (site, vault) = (&place.site, format!("{}{vault}", place.server.vault_section("v")));
        let agent = format!("unix://{}", site.path("agent.sock").display());
        let storage = site.storage_section("default", "storage");
        site.write(
            "agent.toml",
            &format!("{vault}[agent_service]\nlisten = '{agent}'\ngrace = '1s'\n{storage}"),
        );
        let listen = address(site);
        let coordinator = format!(
            "{vault}[coordinator]\nlisten = '{listen}'\ngrace = '1s'\n[[agent]]\naddress = '{agent}'\n{sections}"
        );
        site.write("coordinator.toml", &coordinator);
        let agent = launch(site, &place.server, Binary::Agent, "agent");
        let coordinator = launch(site, &place.server, Binary::Coordinator, "coordinator");
        Self { place, agent, coordinator }
    }

    /// A call to the coordinator.
    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        Backupctl::new().args(["--no-progress", "--coordinator", &address(&self.place.site)]).args(args)
    }

    /// A call for a backup with its summary as JSON.
    pub fn create(&self, id: &str) -> Backupctl {
        self.ctl(["create", "--json", "--backup-id", id])
    }

    /// Kills the agent and starts it again.
    pub fn kill_agent(&mut self) {
        self.agent.kill();
        self.start_agent();
    }

    /// Starts the agent, which was ended.
    pub fn start_agent(&mut self) {
        self.agent = launch(&self.place.site, &self.place.server, Binary::Agent, "agent");
    }

    /// Kills the coordinator and starts it again.
    pub fn kill_coordinator(&mut self) {
        self.coordinator.kill();
        self.coordinator = launch(&self.place.site, &self.place.server, Binary::Coordinator, "coordinator");
    }

    /// Stops both, which have to end well.
    pub fn stop(self) {
        let Self { agent, coordinator, .. } = self;
        for mut daemon in [coordinator, agent] {
            assert_eq!(daemon.terminate(), 0, "{}", daemon.lines().join("\n"));
            let lines = daemon.lines();
            assert!(!lines.iter().any(|line| line.contains("panicked")), "{}", lines.join("\n"));
        }
    }
}

fn address(site: &Site) -> String {
    format!("unix://{}", site.path("coordinator.sock").display())
}

fn launch(site: &Site, server: &FaultyS3, binary: Binary, name: &str) -> Daemon {
    let mut command = binary.command();
    command.arg("--config").arg(site.path(&format!("{name}.toml"))).envs(server.env(name));
    let daemon = Daemon::spawn_command(command);
    daemon.wait_for_line(&format!("{name} ready"), SOON);
    daemon
}
