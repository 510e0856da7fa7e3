//! What grows with what: the coordinator with storages and not with repositories, the agent with neither.
//!
//! Does not own: how fast it is (`bench`), or making repositories (`synthetic`). Peaks are read from the kernel while the
//! daemons still live; what coordinator and agent tell each other is counted in between, because the kernel's count of a
//! process leaves out its sockets.

mod synthetic;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use packhorse_testkit::{Backupctl, Binary, CountingRelay, Daemon, GitRepo};

use self::synthetic::{enlarge, synthesise};
use crate::system::site::{Site, json};

/// Time for a daemon to start.
const SOON: Duration = Duration::from_secs(60);

fn is_long() -> bool {
    std::env::var_os("PACKHORSE_LONG").is_some()
}

/// The most memory that a process has held so far, in MiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// The bytes that a process has read and written in files so far.
fn files(daemon: &Daemon) -> u64 {
    let told = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).expect("the process lives");
    let of = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        line.trim().parse::<u64>().expect("a number")
    };
    of("rchar:") + of("wchar:")
}

/// A coordinator and an agent for each storage.
struct Fleet {
    site: Site,
    agents: Vec<Daemon>,
    /// What each agent and the coordinator tell each other goes through one.
    relays: Vec<CountingRelay>,
    coordinator: Daemon,
}

/// Starts a daemon, and says what it said when it was ready.
fn start(binary: Binary, config: &Path, ready: &str) -> (Daemon, String) {
    let daemon = Daemon::spawn(binary, ["--config".as_ref(), config.as_os_str()]);
    let line = daemon.wait_for_line(ready, SOON);
    (daemon, line)
}

/// The port at the end of an address.
fn port(ready: &str) -> u16 {
    let port = ready.split("address=").nth(1).and_then(|address| address.trim().rsplit(':').next());
    port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {ready}"))
}

impl Fleet {
    fn start(site: Site, storages: usize) -> Self {
        let vault = format!("[vault]\nurl = '{}'\n", site.vault_url());
        let mut coordinator =
            format!("{vault}[coordinator]\nlisten = 'unix://{}'\n", site.path("coordinator.sock").display());
        let (mut agents, mut relays) = (Vec::new(), Vec::new());
        for number in 0..storages {
            let name = format!("storage-{number}");
            let storage = site.storage_section(&name, &name);
            let config = format!("{vault}[agent_service]\nlisten = 'http://127.0.0.1:0'\n{storage}");
            let config = site.write(&format!("agent-{number}.toml"), &config);
            let (agent, ready) = start(Binary::Agent, &config, "agent ready");
            let relay = CountingRelay::start(port(&ready));
            coordinator += &format!("[[agent]]\naddress = 'http://127.0.0.1:{}'\n", relay.port());
            agents.push(agent);
            relays.push(relay);
        }
        let config = site.write("coordinator.toml", &coordinator);
        let (coordinator, _) = start(Binary::Coordinator, &config, "coordinator ready");
        Self { site, agents, relays, coordinator }
    }

    /// A call of the coordinator.
    fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        let address = format!("unix://{}", self.site.path("coordinator.sock").display());
        Backupctl::new().args(["--no-progress", "--coordinator", &address]).args(args)
    }

    /// Makes a backup and says how many repositories were packed, and how many not.
    fn create(&self) -> [u64; 2] {
        let summary = json(&self.ctl(["create", "--json"]).run().expect_success());
        ["backed_up", "unchanged"].map(|what| summary["repositories"][what].as_u64().expect("a number"))
    }
}

impl Fleet {
    /// Bytes that the coordinator has moved so far: in files, to the first agent, and from it.
    fn traffic(&self) -> [u64; 3] {
        let [to, from] = self.relays[0].counts();
        [files(&self.coordinator), to, from]
    }
}

/// The coordinator's peak and its traffic with so many repositories, without what is told as time goes by.
fn measure(count: usize) -> (u64, [u64; 3]) {
    let site = Site::new();
    synthesise(&site, "storage-0", count);
    let fleet = Fleet::start(site, 1);
    let (before, begun) = (fleet.traffic(), Instant::now());
    assert_eq!(fleet.create(), [count as u64, 0]);
    assert_eq!(fleet.create(), [0, count as u64]);
    let (after, seconds) = (fleet.traffic(), begun.elapsed().as_secs());
    let moved = [0, 1, 2].map(|way| after[way] - before[way]);
    assert!(moved.iter().all(|bytes| *bytes > 0), "nothing was counted: {moved:?}");
    let (coordinator, agent) = (peak(&fleet.coordinator), peak(&fleet.agents[0]));
    eprintln!(
        "{count} repositories: coordinator {coordinator} MiB, agent {agent} MiB at most; in {seconds} s the coordinator \
         moved {moved:?} bytes in files, to the agent and from it"
    );
    assert!(agent <= 256, "the agent held {agent} MiB");
    // Progress is told a few times a second, however many repositories there are.
    (coordinator, moved.map(|bytes| bytes.saturating_sub(seconds * 4096)))
}

#[test]
fn the_coordinator_does_not_grow_with_repositories_nor_the_agent_beyond_its_bound() {
    let (few, few_moved) = measure(100);
    let (many, many_moved) = measure(if is_long() { 100_000 } else { 2_000 });
    assert!(many <= few + 8, "the coordinator grew from {few} to {many} MiB");
    for (way, bound) in [64 << 10, 4 << 10, 16 << 10].into_iter().enumerate() {
        assert!(many_moved[way] <= few_moved[way] + bound, "it grew: {few_moved:?} {many_moved:?}");
    }
}

#[test]
fn a_large_repository_is_never_held_in_memory() {
    let mib = if is_long() { 5 << 10 } else { 192 };
    let site = Site::new();
    enlarge(&site.repo("storage-0/large.git"), mib);
    let fleet = Fleet::start(site, 1);
    assert_eq!(fleet.create(), [1, 0]);
    let backing_up = peak(&fleet.agents[0]);
    let large = fleet.site.path("storage-0/large.git");
    fs::rename(&large, fleet.site.path("lost.git")).expect("lose it");
    fleet.ctl(["restore", "latest"]).run().expect_success();
    let (coordinator, agent) = (peak(&fleet.coordinator), peak(&fleet.agents[0]));
    eprintln!(
        "{mib} MiB: agent {backing_up} MiB at most, {agent} with its restore, coordinator {coordinator}"
    );
    assert!(agent <= 128 && coordinator <= 64, "agent {agent} MiB, coordinator {coordinator} MiB");
    let head = |path: &Path| GitRepo::open(path).run(&["rev-parse", "refs/heads/main"]);
    assert_eq!(head(&large), head(&fleet.site.path("lost.git")));
    GitRepo::open(&large).run(&["fsck", "--connectivity-only"]);
}

#[test]
fn the_coordinator_grows_little_with_storages() {
    let mut peaks = Vec::new();
    let counts: &[usize] = if is_long() { &[1, 10, 40] } else { &[1, 10] };
    for storages in counts {
        let site = Site::new();
        for number in 0..*storages {
            site.repo(&format!("storage-{number}/app.git")).fill("main", 2);
        }
        let fleet = Fleet::start(site, *storages);
        assert_eq!(fleet.create(), [*storages as u64, 0]);
        let coordinator = peak(&fleet.coordinator);
        eprintln!("{storages} storages: coordinator {coordinator} MiB at most");
        peaks.push(coordinator);
    }
    let more = (counts.last().expect("some") - 1) as u64;
    let grown = peaks.last().expect("some").saturating_sub(peaks[0]);
    assert!(grown <= 8 + more, "{more} more storages took {grown} MiB");
}
