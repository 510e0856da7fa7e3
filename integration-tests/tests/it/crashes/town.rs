//! A site with an agent, a coordinator and a store, each of which can be killed and started again.
//!
//! Does not own: when that is done. Each process has a name of its own in the store's log. Restores are done by a
//! `backupctl` for itself, so that they prove what the vault holds and nothing else.

use std::{collections::BTreeMap, fs, time::Duration};

use bytes::Bytes;
use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3};

use super::{
    forge::Database,
    point::{Phase, Victim},
    storages::{States, Storages, change_once_more},
};
use crate::system::site::{Site, listed};

/// Time for something that takes moments.
pub const SOON: Duration = Duration::from_secs(60);

/// Everything that a point is played on.
pub struct Town {
    pub site: Site,
    pub server: FaultyS3,
    pub database: Option<Database>,
    agent: Option<Daemon>,
    coordinator: Option<Daemon>,
    /// The coordinator that is meant; another one listens elsewhere.
    number: u32,
}

impl Town {
    /// A site as it is at a run, with a vault that holds this.
    pub fn new(storages: &Storages, phase: Phase, vault: &BTreeMap<String, Bytes>) -> Self {
        let (site, server) = (Site::new(), FaultyS3::start());
        let database = storages.database(phase);
        let town = Self { site, server, database, agent: None, coordinator: None, number: 1 };
        storages.copy_to(phase, &town.site.path(""));
        for (key, bytes) in vault {
            town.server.put_object(key, bytes.clone());
        }
        town.configure();
        town
    }

    fn daemon(&self, binary: Binary, victim: Victim, config: &str) -> Daemon {
        let mut command = binary.command();
        command.arg("--config").arg(self.site.path(config)).envs(self.server.env(victim.who()));
        Daemon::spawn_command(command)
    }

    /// Starts whom it was that was killed, and returns at once.
    pub fn start(&mut self, victim: Victim) {
        match victim {
            Victim::Agent => self.agent = Some(self.daemon(Binary::Agent, victim, "agent.toml")),
            Victim::Coordinator => {
                let config = format!("coordinator-{}.toml", self.number);
                self.coordinator = Some(self.daemon(Binary::Coordinator, victim, &config));
            }
            Victim::Embedded => {}
        }
    }

    /// Starts both daemons and waits until they have nothing to do.
    pub fn start_all(&mut self) {
        self.start(Victim::Agent);
        self.start(Victim::Coordinator);
        self.wait_until_idle();
    }

    /// Waits until both daemons are there and the coordinator has looked for runs to resume.
    pub fn wait_until_idle(&self) {
        for (daemon, line) in [(&self.agent, "agent ready"), (&self.coordinator, "looked for runs to resume")]
        {
            daemon.as_ref().expect("it was started").wait_for_line(line, SOON);
        }
    }

    pub fn kill(&mut self, victim: Victim) {
        let daemon = match victim {
            Victim::Agent => self.agent.take(),
            Victim::Coordinator => self.coordinator.take(),
            Victim::Embedded => None,
        };
        if let Some(mut daemon) = daemon {
            daemon.kill();
        }
    }

    /// Kills all daemons; the coordinator that is started next is another one.
    pub fn kill_all(&mut self) {
        self.kill(Victim::Coordinator);
        self.kill(Victim::Agent);
        self.number = 2;
    }

    /// Panics when a daemon that lives has complained of anything but this.
    #[track_caller]
    pub fn assert_no_complaints(&self, allowed: &[&str]) {
        let allowed = [allowed, &["without TLS every user of this host"]].concat();
        for daemon in [&self.agent, &self.coordinator].into_iter().flatten() {
            daemon.assert_no_complaints(&allowed);
        }
    }

    /// What the daemons have said.
    pub fn said(&self) -> String {
        let daemons = [&self.agent, &self.coordinator].into_iter().flatten();
        let lines: Vec<String> = daemons.flat_map(Daemon::lines).collect();
        lines.join("\n")
    }

    /// A call of the coordinator.
    pub fn ask<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        Backupctl::new().args(["--no-progress", "--coordinator", &self.address(self.number)]).args(args)
    }

    /// A call that is its own coordinator and agent.
    pub fn alone<const N: usize>(&self, who: &str, config: &str, args: [&str; N]) -> Backupctl {
        self.site.ctl(config, args).envs(self.server.env(who))
    }

    /// The call that makes a backup, with whom the victim stands for.
    pub fn create(&self, victim: Victim, id: &str) -> Backupctl {
        let args = ["create", "--json", "--backup-id", id];
        match victim {
            Victim::Agent | Victim::Coordinator => self.ask(args),
            Victim::Embedded => self.alone(victim.who(), "embedded.toml", args),
        }
    }

    /// The backups that there are, newest first.
    pub fn listed(&self, victim: Victim) -> Vec<String> {
        match victim {
            Victim::Agent | Victim::Coordinator => listed(self.ask([])),
            Victim::Embedded => listed(self.alone("list", "embedded.toml", [])),
        }
    }

    /// Changes what there is to back up, and gives what there is then.
    pub fn move_on(&self) -> States {
        change_once_more(&self.site.path(""));
        self.database.iter().for_each(Database::change);
        States::of(&self.site.path(""), self.database.as_ref())
    }

    /// Restores a backup with all that is in it and compares everything.
    #[track_caller]
    pub fn assert_restores(&self, id: &str, states: &States) {
        for storage in ["one", "two"] {
            self.site.folder(&format!("back/{storage}"));
        }
        let database = self.database.as_ref().map(Database::empty_beside);
        self.configure_restore(database.as_ref());
        self.alone("restore", "back.toml", ["restore", id]).run().expect_success();
        states.assert_are(&States::of(&self.site.path("back"), database.as_ref()), id);
        fs::remove_dir_all(self.site.path("back")).expect("remove what was restored");
    }
}
