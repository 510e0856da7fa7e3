//! Daemons as a service manager runs them: what they tell it, how they reload and stop, what they start by themselves.
//!
//! Does not own: runs that go wrong (`daemons`). A test is the service manager: it binds the socket that daemons notify.

mod drain;
mod live;
mod notify;
mod reload;
mod schedule;
mod units;

use std::{
    os::unix::net::UnixDatagram,
    sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use packhorse_testkit::{Backupctl, Binary, Daemon};

use super::{gate::Gate, site::Site};

/// Time for something that takes moments.
const SOON: Duration = Duration::from_secs(60);

/// A socket that daemons notify, read all the time as systemd does.
struct Manager(Mutex<Receiver<String>>);

impl Manager {
    fn bind(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify")).expect("bind the manager's socket");
        let (sender, receiver) = sync_channel(1 << 16);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(size) = socket.recv(&mut buffer) {
                if sender.send(String::from_utf8_lossy(&buffer[..size]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self(Mutex::new(receiver))
    }

    /// Waits for the next message that holds this text, and gives it; messages before it are dropped.
    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        let (end, mut told) = (Instant::now() + SOON, Vec::new());
        let receiver = self.0.lock().expect("no holder of this lock panics");
        loop {
            match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) if message.contains(text) => return message,
                Ok(message) => told.push(message),
                Err(error) => panic!("no {text:?} among {told:#?}: {error}"),
            }
        }
    }
}

/// A service manager, an agent with one storage and a coordinator on one host.
struct Host {
    site: Site,
    gate: Gate,
    manager: Manager,
    agent: Option<Daemon>,
    coordinator: Option<Daemon>,
}

impl Host {
    /// Starts both daemons on a site with one repository.
    fn start() -> Self {
        let site = Site::new();
        site.repo("default/app.git").fill("main", 10);
        let (gate, manager) = (Gate::new(&site.path("gate"), 0), Manager::bind(&site));
        let mut host = Self { site, gate, manager, agent: None, coordinator: None };
        host.configure_agent("");
        host.configure_coordinator("");
        host.agent = Some(host.daemon(Binary::Agent));
        host.coordinator = Some(host.daemon(Binary::Coordinator));
        host
    }

    fn vault_section(&self) -> String {
        format!("[vault]\nurl = '{}'\n", self.site.vault_url())
    }

    /// Writes the agent's configuration with these further sections.
    fn configure_agent(&self, more: &str) {
        let (socket, git) = (self.site.path("agent.sock"), self.gate.git());
        let service =
            format!("[agent_service]\nlisten = 'unix://{}'\ngit = '{}'\n", socket.display(), git.display());
        let storage = self.site.storage_section("default", "default");
        self.replace("agent.toml", &(self.vault_section() + &service + &storage + more));
    }

    /// Writes the coordinator's configuration with these further sections.
    fn configure_coordinator(&self, more: &str) {
        let [agent, own] = ["agent.sock", "coordinator.sock"].map(|name| self.site.path(name));
        let text = format!(
            "{}[coordinator]\nlisten = 'unix://{}'\nagent_patience = '1s'\n[[agent]]\naddress = 'unix://{}'\n{more}",
            self.vault_section(),
            own.display(),
            agent.display()
        );
        self.replace("coordinator.toml", &text);
    }

    /// Puts a new file in the place of another, as configuration management does.
    fn replace(&self, name: &str, text: &str) {
        let new = self.site.write(&format!("{name}.new"), text);
        std::fs::rename(new, self.site.path(name)).expect("replace the configuration");
    }

    /// Starts a daemon as its service manager does, and waits until it is ready.
    fn daemon(&self, binary: Binary) -> Daemon {
        let name = if binary == Binary::Agent { "agent" } else { "coordinator" };
        let mut command = binary.command();
        command
            .arg("--verbose")
            .env("PACKHORSE_CONFIG", self.site.path(&format!("{name}.toml")))
            .env("NOTIFY_SOCKET", self.site.path("notify"))
            .env("WATCHDOG_USEC", "200000");
        let daemon = Daemon::spawn_command(command);
        daemon.wait_for_line(&format!("{name} ready"), SOON);
        daemon
    }

    fn agent(&mut self) -> &mut Daemon {
        self.agent.as_mut().expect("the agent runs")
    }

    fn coordinator(&mut self) -> &mut Daemon {
        self.coordinator.as_mut().expect("the coordinator runs")
    }

    fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        let address = format!("unix://{}", self.site.path("coordinator.sock").display());
        Backupctl::new().args(["--no-progress", "--coordinator", &address]).args(args)
    }

    /// Stops both; each must exit with 0 and have complained of nothing but this.
    fn stop(self, allowed: &[&str]) {
        for mut daemon in [self.coordinator, self.agent].into_iter().flatten() {
            assert_eq!(daemon.terminate(), 0, "{}", daemon.lines().join("\n"));
            daemon.assert_no_complaints(allowed);
        }
    }
}
