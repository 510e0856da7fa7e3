//! What the soak lives on: a store, a coordinator, two agents with a storage each, and repositories that change.
//!
//! Does not own: what goes wrong (`trouble`). A daemon that was killed is started again by `tend`, after the pause that
//! a service manager makes; nothing else is ever done for it.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3, GitRepo, free_port};

use super::trouble::Doom;
use crate::{
    histories::random::Random,
    system::site::{Site, listed, noise},
};

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
    daemons: [Option<Daemon>; 3],
    due: [Option<Instant>; 3],
    address: String,
    made: usize,
}

impl Estate {
    /// Everything, with three repositories in each storage.
    pub fn start() -> Self {
        let (site, store) = (Site::new(), FaultyS3::start());
        let doom = Doom::new(&site.folder("doom"));
        let agents = [0, 1].map(|_| format!("http://127.0.0.1:{}", free_port()));
        let address = format!("unix://{}", site.path("coordinator.sock").display());
        let vault = format!("{}retry_budget = '15s'\n", store.vault_section("v"));
        let mut restore = vault.clone();
        for (number, storage) in STORAGES.iter().enumerate() {
            let (git, listen) = (doom.git(), &agents[number]);
            let config = format!(
                "{vault}[agent_service]\nlisten = '{listen}'\ngit = '{}'\nmax_chain = 8\njobs = 2\n{}",
                git.display(),
                site.storage_section(storage, storage)
            );
            site.write(&format!("agent-{number}.toml"), &config);
            restore += &site.storage_section(storage, &format!("back-{storage}"));
            for name in ["large", "small", "other"] {
                site.repo(&format!("{storage}/{name}.git")).fill("main", 3);
            }
        }
        let [first, second] = &agents;
        let config = format!(
            "{vault}[coordinator]\nlisten = '{address}'\nagent_patience = '30s'\n[[agent]]\naddress = '{first}'\n[[agent]]\naddress = '{second}'\n"
        );
        site.write("coordinator.toml", &config);
        site.write("restore.toml", &restore);
        let (daemons, due) = ([None, None, None], [None; 3]);
        let mut estate = Self { site, store, doom, daemons, due, address, made: 0 };
        (0..NAMES.len()).for_each(|which| estate.launch(which));
        (0..NAMES.len()).for_each(|which| estate.wait_until_ready(which));
        estate
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

    /// Starts every daemon that is due.
    pub fn tend(&mut self) {
        for which in 0..NAMES.len() {
            if self.due[which].is_some_and(|due| due <= Instant::now()) {
                self.due[which] = None;
                self.launch(which);
            }
        }
    }

    /// Starts what is due, however long that takes, and waits until all are ready.
    pub fn recover(&mut self) {
        packhorse_testkit::wait_until("the daemons that are due", SOON, || {
            self.tend();
            if self.due.iter().any(Option::is_some) { Err("a pause goes on".to_owned()) } else { Ok(()) }
        });
        (0..NAMES.len()).for_each(|which| self.wait_until_ready(which));
    }

    /// A call to the coordinator.
    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        Backupctl::new().args(["--no-progress", "--coordinator", &self.address]).args(args)
    }

    /// The committed backups, newest first, as the vault has them.
    pub fn listed(&self) -> Vec<String> {
        listed(self.site.ctl("restore.toml", ["--embedded"]).envs(self.store.env("list")))
    }

    /// Restores a backup without any daemon, and gives the storages' folders.
    pub fn restore(&self, id: &str) -> [PathBuf; 2] {
        let folders = STORAGES.map(|storage| self.site.path(&format!("back-{storage}")));
        for folder in &folders {
            // It is not there before the first restore.
            let _ = fs::remove_dir_all(folder);
            fs::create_dir(folder).expect("make the target");
        }
        let call = self.site.ctl("restore.toml", ["restore", "--embedded", id]);
        call.envs(self.store.env("restore")).run().expect_success();
        folders
    }

    /// The paths of all repositories, with their storage.
    pub fn repositories(&self) -> Vec<String> {
        let names = |storage: &str| {
            let entries = fs::read_dir(self.site.path(storage)).expect("the storage can be read");
            let names =
                entries.map(|entry| entry.expect("readable").file_name().into_string().expect("a name"));
            names
                .filter(|name| name.ends_with(".git"))
                .map(|name| format!("{storage}/{name}"))
                .collect::<Vec<_>>()
        };
        let mut all = STORAGES.map(names).concat();
        all.sort();
        all
    }

    /// A night of work: most repositories get commits, and now and then one is made, removed or made anew.
    pub fn live(&mut self, random: &mut Random) {
        for path in self.repositories() {
            if random.percent(70) {
                GitRepo::open(self.site.path(&path)).fill("main", 1 + random.below(3));
            }
        }
        let storage = *random.one(&[&STORAGES[0], &STORAGES[1]]);
        if random.percent(15) {
            // Larger than a part, so that uploads take part, but never with a history that grows for ever.
            let path = format!("{storage}/large.git");
            fs::remove_dir_all(self.site.path(&path)).expect("remove a repository");
            let repo = self.site.repo(&path);
            repo.commit("main", &[("noise", noise(random.next(), 9 << 20))]);
        }
        if random.percent(20) {
            self.made += 1;
            self.site.repo(&format!("{storage}/new-{}.git", self.made)).fill("main", 2);
        }
        let new: Vec<String> =
            self.repositories().into_iter().filter(|path| path.contains("/new-")).collect();
        if new.len() > 4 {
            fs::remove_dir_all(self.site.path(&new[random.below(new.len())])).expect("remove a repository");
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
