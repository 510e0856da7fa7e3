//! What the soak lives on: a store, a coordinator with a database, and two agents with a storage each.
//!
//! Does not own: what goes wrong (`trouble`), or what there is to back up (`life`, `forge`). What was killed is started
//! again by `tend`, after the pause that a service manager makes; nothing else is ever done for it.

use std::time::{Duration, Instant};

use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3, free_port, wait_until};

use super::{forge::Forge, trouble::Doom};
use crate::system::site::{Site, json, listed, text};

const SOON: Duration = Duration::from_secs(60);

/// The daemons, by their place in [`Estate::daemons`].
pub const NAMES: [&str; 3] = ["agent-0", "agent-1", "coordinator"];
/// The coordinator's place.
pub const COORDINATOR: usize = 2;
/// The storage of each agent.
pub const STORAGES: [&str; 2] = ["default", "second"];

pub struct Estate {
    pub site: Site,
    pub store: FaultyS3,
    pub doom: Doom,
    pub forge: Forge,
    /// Restores that were killed half way.
    pub cut_restores: u64,
    /// How many repositories were made, which gives each a name of its own.
    pub made: usize,
    daemons: [Option<Daemon>; 3],
    due: [Option<Instant>; 3],
    address: String,
}

impl Estate {
    /// Everything, with nothing backed up yet.
    pub fn start() -> Self {
        let (site, store) = (Site::new(), FaultyS3::start());
        let doom = Doom::new(&site.folder("doom"));
        let address = format!("unix://{}", site.path("coordinator.sock").display());
        let (daemons, due) = ([None, None, None], [None; 3]);
        let (forge, cut_restores, made) = (Forge::start(), 0, 0);
        let mut estate = Self { site, store, doom, forge, cut_restores, made, daemons, due, address };
        estate.found();
        estate.configure();
        (0..NAMES.len()).for_each(|which| estate.launch(which));
        (0..NAMES.len()).for_each(|which| estate.wait_until_ready(which));
        estate
    }

    fn configure(&self) {
        let agents = [0, 1].map(|_| format!("http://127.0.0.1:{}", free_port()));
        let (vault, git) = (self.vault_section(), self.doom.git());
        for (number, (storage, listen)) in STORAGES.iter().zip(&agents).enumerate() {
            let section = format!(
                "[agent_service]\nlisten = '{listen}'\nrejoin_within = '0s'\ngit = '{}'\n",
                git.display()
            );
            let storage = self.site.storage_section(storage, storage);
            let config = format!("{vault}{section}max_chain = 8\njobs = 2\n{storage}");
            self.site.write(&format!("agent-{number}.toml"), &config);
        }
        let section = format!("[coordinator]\nlisten = '{}'\nagent_patience = '30s'\n", self.address);
        let agents = agents.map(|address| format!("[[agent]]\naddress = '{address}'\n")).concat();
        self.site.write("coordinator.toml", &format!("{vault}{section}{agents}{}", self.forge.section()));
        self.site.write("list.toml", &vault);
    }

    /// The part of a configuration that names the vault.
    pub fn vault_section(&self) -> String {
        format!("{}retry_budget = '15s'\n", self.store.vault_section("v"))
    }

    fn launch(&mut self, which: usize) {
        let name = NAMES[which];
        let binary = if which == COORDINATOR { Binary::Coordinator } else { Binary::Agent };
        let mut command = binary.command();
        command.arg("--config").arg(self.site.path(&format!("{name}.toml"))).envs(self.store.env(name));
        // As our units for systemd have it: what an upload's buffers took goes back to the system.
        command.env("MALLOC_MMAP_THRESHOLD_", "1048576");
        self.daemons[which] = Some(Daemon::spawn_command(command));
    }

    fn wait_until_ready(&self, which: usize) {
        let name = if which == COORDINATOR { "coordinator ready" } else { "agent ready" };
        self.daemon(which).wait_for_line(name, SOON);
    }

    pub fn daemon(&self, which: usize) -> &Daemon {
        self.daemons[which].as_ref().expect("a daemon is only missing until it is due")
    }

    /// Kills a daemon, which is due again after a pause.
    pub fn kill(&mut self, which: usize, pause: Duration) {
        let Some(mut daemon) = self.daemons[which].take() else { return };
        daemon.kill();
        assert_sound(&daemon);
        self.due[which] = Some(Instant::now() + pause);
    }

    /// Starts everything that is due, and says whether all is there.
    pub fn tend(&mut self) -> bool {
        for which in 0..NAMES.len() {
            if self.due[which].is_some_and(|due| due <= Instant::now()) {
                self.due[which] = None;
                self.launch(which);
            }
        }
        let database = self.forge.tend();
        database && self.due.iter().all(Option::is_none)
    }

    /// Starts what is due, however long that takes, and waits until all are ready.
    pub fn recover(&mut self) {
        wait_until("everything that is due", SOON, || {
            if self.tend() { Ok(()) } else { Err("a pause goes on".to_owned()) }
        });
        (0..NAMES.len()).for_each(|which| self.wait_until_ready(which));
    }

    /// A call to the coordinator.
    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        Backupctl::new().args(["--no-progress", "--coordinator", &self.address]).args(args)
    }

    /// The committed backups, newest first, as the vault has them.
    pub fn listed(&self) -> Vec<String> {
        listed(self.site.ctl("list.toml", ["--embedded"]).envs(self.store.env("list")))
    }

    /// Whether a committed backup says that it has everything.
    pub fn is_complete(&self, id: &str) -> bool {
        let show = self.site.ctl("list.toml", ["show", id, "--json", "--embedded"]);
        let shown = json(&show.envs(self.store.env("list")).run().expect_success());
        match text(&shown["report"]["state"]).as_str() {
            "complete" => true,
            "incomplete" => false,
            _ => panic!("{shown:#}"),
        }
    }

    /// Stops all daemons, which have to end well.
    pub fn stop(mut self) {
        for which in [COORDINATOR, 0, 1] {
            let mut daemon = self.daemons[which].take().expect("all daemons run");
            assert_eq!(daemon.terminate(), 0, "{}", daemon.lines().join("\n"));
            assert_sound(&daemon);
        }
    }
}

/// A daemon may complain in bad weather, but never panic.
#[track_caller]
fn assert_sound(daemon: &Daemon) {
    let lines = daemon.lines();
    assert!(!lines.iter().any(|line| line.contains("panicked")), "{}", lines.join("\n"));
}
