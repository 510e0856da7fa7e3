//! One coordinator over several agents: what it asks of whom, how much all of them take together, and agents that are
//! not as they should be.
//!
//! Does not own: agents that die (`daemons`). The vault is a store that can hold a request, so that who waits for whom is
//! seen without any timing.

mod counted_git;
mod disguise;
mod largest;
mod lies;
mod odd;
mod patterns;
mod rivals;
mod rooms;

use std::collections::BTreeSet;

use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3, GitRepo, LoggedRequest, Operation, free_port};

use super::{daemons::SOON, site::Site};

/// A store, agents with storages, and a coordinator over them.
struct Post {
    site: Site,
    store: FaultyS3,
    agents: Vec<Daemon>,
    coordinators: Vec<Daemon>,
    addresses: Vec<String>,
}

impl Post {
    /// Agents that serve these storages, each with `agent` in its section.
    fn new(agents: &[&[&str]], agent: &str) -> Self {
        Self::with(agents, agent, "")
    }

    /// The same, with `storage` in the section of each storage.
    fn with(agents: &[&[&str]], agent: &str, storage: &str) -> Self {
        let mut post = Self {
            site: Site::new(),
            store: FaultyS3::start(),
            agents: Vec::new(),
            coordinators: Vec::new(),
            addresses: Vec::new(),
        };
        for (number, storages) in agents.iter().enumerate() {
            let (address, name) = (format!("http://127.0.0.1:{}", free_port()), format!("agent-{number}"));
            let section = |name: &&str| format!("{}{storage}\n", post.site.storage_section(name, name));
            let storages: String = storages.iter().map(section).collect();
            let vault = post.store.vault_section("v");
            let config = format!("{vault}[agent_service]\nlisten = '{address}'\n{agent}\n{storages}");
            post.site.write(&format!("{name}.toml"), &config);
            post.agents.push(post.daemon(Binary::Agent, &name, "agent ready"));
            post.addresses.push(address);
        }
        post
    }

    /// Starts a coordinator over these agents, with `section` in its section.
    fn start(&mut self, addresses: &[String], section: &str) {
        let agents: String = addresses.iter().map(|a| format!("[[agent]]\naddress = '{a}'\n")).collect();
        let number = self.coordinators.len();
        let (vault, listen, name) =
            (self.store.vault_section("v"), self.listen(number), format!("coordinator-{number}"));
        let config = format!("{vault}[coordinator]\nlisten = '{listen}'\n{section}\n{agents}");
        self.site.write(&format!("{name}.toml"), &config);
        let daemon = self.daemon(Binary::Coordinator, &name, "coordinator ready");
        self.coordinators.push(daemon);
    }

    /// Starts a coordinator that was killed.
    fn start_again(&mut self, number: usize) {
        let daemon = self.daemon(Binary::Coordinator, &format!("coordinator-{number}"), "coordinator ready");
        self.coordinators[number] = daemon;
    }

    /// Agents and a coordinator over all of them.
    fn started(agents: &[&[&str]], agent: &str, section: &str) -> Self {
        let mut post = Self::new(agents, agent);
        post.start(&post.addresses.clone(), section);
        post
    }

    fn listen(&self, number: usize) -> String {
        format!("unix://{}", self.site.path(&format!("coordinator-{number}.sock")).display())
    }

    fn daemon(&self, binary: Binary, name: &str, ready: &str) -> Daemon {
        let mut command = binary.command();
        command.arg("--config").arg(self.site.path(&format!("{name}.toml"))).envs(self.store.env(name));
        let daemon = Daemon::spawn_command(command);
        daemon.wait_for_line(ready, SOON);
        daemon
    }

    /// A call of the first coordinator.
    fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        self.ctl_at(0, args)
    }

    fn ctl_at<const N: usize>(&self, number: usize, args: [&str; N]) -> Backupctl {
        Backupctl::new().args(["--no-progress", "--coordinator", &self.listen(number)]).args(args)
    }

    /// Makes so many small repositories in a storage.
    fn fill(&self, storage: &str, repositories: usize) {
        for number in 0..repositories {
            self.site.repo(&format!("{storage}/{number:02}.git")).fill("main", 2);
        }
    }

    /// Commits to each of them.
    fn change(&self, storage: &str, repositories: usize) {
        for number in 0..repositories {
            self.repo(&format!("{storage}/{number:02}.git")).fill("main", GitRepo::COMMITS_FOR_GIT);
        }
    }

    fn repo(&self, path: &str) -> GitRepo {
        GitRepo::open(self.site.path(path))
    }

    /// What the vault's objects are called, without the vault's own prefix.
    fn keys(&self) -> BTreeSet<String> {
        self.store.keys().iter().map(|key| key.trim_start_matches("v/").to_owned()).collect()
    }

    /// The paths of a backup's repositories.
    fn paths(&self, id: &str, storage: &str) -> Vec<String> {
        let show = self.ctl(["show", id, "--json", "--storage", storage]).run().expect_success();
        let shown = super::site::json(&show);
        let lines = shown["storages"][0]["repositories"].as_array().cloned().expect("lines");
        lines.iter().map(|line| super::site::text(&line["path"])).collect()
    }
}

/// Whether a request writes something of a repository in one of these storages.
fn writes(request: &LoggedRequest, storages: &[&str]) -> bool {
    let written = matches!(request.operation, Operation::Create | Operation::Put | Operation::BeginUpload);
    written && storages.iter().any(|name| request.key.contains(&format!("v/{name}/")))
}
