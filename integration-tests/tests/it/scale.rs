//! What grows with what: the coordinator with storages and not with repositories, the agent with neither.
//!
//! Does not own: how fast it is (`bench`). Repositories are synthetic: hard links to the files of a few real ones, so that
//! 100,000 of them (in the long suite) are made in moments. Peaks are read from the kernel while the daemons still live.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use packhorse_testkit::{Backupctl, Binary, Daemon, GitRepo, hermetic_command};

use crate::system::site::{Site, json, noise};

/// Time for a daemon to start.
const SOON: Duration = Duration::from_secs(60);
/// Hard links to one file, of which ext4 has 65,000.
const LINKS: usize = 50_000;

fn is_long() -> bool {
    std::env::var_os("PACKHORSE_LONG").is_some()
}

/// A repository whose files the others share.
fn template(site: &Site, number: usize) -> PathBuf {
    let repo = GitRepo::init(site.path(&format!("template-{number}.git")));
    repo.fill("main", 2);
    repo.run(&["repack", "-adq"]);
    repo.run(&["pack-refs", "--all"]);
    repo.path().to_owned()
}

/// Makes a storage of this many repositories.
fn synthesise(site: &Site, storage: &str, count: usize) {
    let root = site.folder(storage);
    let mut shared = PathBuf::new();
    for number in 0..count {
        if number % LINKS == 0 {
            shared = template(site, number / LINKS);
        }
        let repo = root.join(format!("{:03}/{:02}/{number:06}.git", number / 1000, number / 100 % 10));
        fs::create_dir_all(repo.join("objects/pack")).expect("make folders");
        fs::create_dir(repo.join("refs")).expect("make folder");
        for name in ["HEAD", "packed-refs"] {
            fs::hard_link(shared.join(name), repo.join(name)).expect("link");
        }
        for entry in fs::read_dir(shared.join("objects/pack")).expect("packs") {
            let entry = entry.expect("pack");
            fs::hard_link(entry.path(), repo.join("objects/pack").join(entry.file_name())).expect("link");
        }
    }
}

/// The most memory that a process has held so far, in MiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// The bytes that a process has read and written so far, in files and sockets alike.
fn traffic(daemon: &Daemon) -> u64 {
    let told = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).expect("the process lives");
    let of = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        line.trim().parse::<u64>().expect("a number")
    };
    of("rchar:") + of("wchar:")
}

/// Makes a repository of this many MiB that do not compress, in files of 16 MiB.
fn enlarge(repo: &GitRepo, mib: usize) {
    const FILE: usize = 16 << 20;
    let mut import = hermetic_command("git");
    import.args([
        "-c",
        "core.compression=0",
        "-c",
        "fastimport.unpackLimit=1",
        "-c",
        "core.bigFileThreshold=1m",
        "fast-import",
        "--quiet",
        "--done",
    ]);
    let mut import = import.current_dir(repo.path()).stdin(Stdio::piped()).spawn().expect("start git");
    let mut input = import.stdin.take().expect("a pipe");
    let files = mib.div_ceil(FILE >> 20);
    for number in 0..files {
        write!(input, "blob\nmark :{}\ndata {FILE}\n", number + 1).expect("write");
        input.write_all(&noise(number as u64, FILE)).expect("write");
    }
    write!(input, "commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 1\nx\n").expect("write");
    for number in 0..files {
        writeln!(input, "M 100644 :{} file-{number}", number + 1).expect("write");
    }
    write!(input, "\ndone\n").expect("write");
    drop(input);
    assert!(import.wait().expect("wait for git").success());
}

/// A coordinator and an agent for each storage.
struct Fleet {
    site: Site,
    agents: Vec<Daemon>,
    coordinator: Daemon,
}

fn start(binary: Binary, config: &Path, ready: &str) -> Daemon {
    let daemon = Daemon::spawn(binary, ["--config".as_ref(), config.as_os_str()]);
    daemon.wait_for_line(ready, SOON);
    daemon
}

impl Fleet {
    fn start(site: Site, storages: usize) -> Self {
        let vault = format!("[vault]\nurl = '{}'\n", site.vault_url());
        let mut coordinator =
            format!("{vault}[coordinator]\nlisten = 'unix://{}'\n", site.path("coordinator.sock").display());
        let mut agents = Vec::new();
        for number in 0..storages {
            let listen = format!("unix://{}", site.path(&format!("agent-{number}.sock")).display());
            let name = format!("storage-{number}");
            let config = format!(
                "{vault}[agent_service]\nlisten = '{listen}'\n{}",
                site.storage_section(&name, &name)
            );
            let config = site.write(&format!("agent-{number}.toml"), &config);
            agents.push(start(Binary::Agent, &config, "agent ready"));
            coordinator += &format!("[[agent]]\naddress = '{listen}'\n");
        }
        let config = site.write("coordinator.toml", &coordinator);
        let coordinator = start(Binary::Coordinator, &config, "coordinator ready");
        Self { site, agents, coordinator }
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

#[test]
fn the_coordinator_does_not_grow_with_repositories_nor_the_agent_beyond_its_bound() {
    let (mut peaks, mut traffics) = (Vec::new(), Vec::new());
    for count in [100, if is_long() { 100_000 } else { 2_000 }] {
        let site = Site::new();
        synthesise(&site, "storage-0", count);
        let fleet = Fleet::start(site, 1);
        let (before, begun) = (traffic(&fleet.coordinator), Instant::now());
        assert_eq!(fleet.create(), [count as u64, 0]);
        assert_eq!(fleet.create(), [0, count as u64]);
        let (bytes, seconds) = (traffic(&fleet.coordinator) - before, begun.elapsed().as_secs());
        let (coordinator, agent) = (peak(&fleet.coordinator), peak(&fleet.agents[0]));
        eprintln!(
            "{count} repositories: coordinator {coordinator} MiB, agent {agent} MiB at most; \
             coordinator read and wrote {bytes} bytes in {seconds} s"
        );
        // Progress is told a few times a second, however many repositories there are.
        traffics.push(bytes.saturating_sub(seconds * 4096));
        assert!(agent <= 256, "the agent held {agent} MiB");
        peaks.push(coordinator);
    }
    assert!(peaks[1] <= peaks[0] + 8, "the coordinator grew from {} to {} MiB", peaks[0], peaks[1]);
    assert!(traffics[1] <= traffics[0] + (64 << 10), "its traffic grew: {traffics:?}");
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
