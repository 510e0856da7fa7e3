//! What is left when a process of ours is killed outright: no child of it, and in a vault of files nothing that it had begun.
//!
//! Does not own: what a crash leaves in an object store (`crashes`), or restores (`daemons`).

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use packhorse_testkit::{Backupctl, Binary, Daemon, GitRepo, PostgresServer, skipped, wait_until};

use super::site::{Site, assert_restored, json, noise, objects, text};

const SOON: Duration = Duration::from_secs(60);

/// A program that neither reads nor writes when its arguments hold this, and otherwise is the real one. What it has started
/// goes with it.
struct Hanging {
    program: PathBuf,
    pids: PathBuf,
}

impl Hanging {
    fn new(site: &Site, name: &str, real: &str, when: &str) -> Self {
        let (program, pids) = (site.folder("tools").join(name), site.path(&format!("{name}.pids")));
        let script = "#!/bin/sh\ncase \" $* \" in *@WHEN@*) ;; *) exec @REAL@ \"$@\" ;; esac\n\
                      sleep 1000000 & echo $$ $! >@PIDS@.new; mv @PIDS@.new @PIDS@; wait\n";
        let script = script.replace("@WHEN@", when).replace("@REAL@", real);
        fs::write(&program, script.replace("@PIDS@", &pids.display().to_string())).expect("write script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it run");
        Self { program, pids }
    }

    /// Waits until it hangs, and gives what runs.
    fn running(&self) -> Vec<String> {
        let read = || fs::read_to_string(&self.pids).map_err(|error| error.to_string());
        let running = wait_until("a program that hangs", SOON, read);
        running.split_whitespace().map(str::to_owned).collect()
    }
}

fn assert_end(pids: &[String]) {
    for pid in pids {
        wait_until("the end of what it had started", SOON, || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // A zombie is dead; it is only not yet buried.
            let lives = status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'));
            if lives { Err(status) } else { Ok(()) }
        });
    }
}

/// A git that hangs when it packs, and a repository that takes one.
fn with_git_that_hangs(site: &Site) -> Hanging {
    let repo = site.repo("storage/a.git");
    repo.fill("main", 3);
    let config = |git: &str| {
        let storage = site.storage_section("default", "storage");
        let text =
            format!("[vault]\nurl = '{}'\n[agent_service]\ngit = '{git}'\n{storage}", site.vault_url());
        site.write("packhorse.toml", &text);
    };
    config("git");
    site.ctl("packhorse.toml", ["create"]).run().expect_success();
    repo.fill("main", GitRepo::COMMITS_FOR_GIT);
    let git = Hanging::new(site, "git", "git", "\" pack-objects \"");
    config(&git.program.display().to_string());
    git
}

#[test]
fn a_git_ends_with_its_agent_though_it_does_nothing() {
    let site = Site::new();
    let git = with_git_that_hangs(&site);
    let mut run = site.ctl("packhorse.toml", ["create"]).spawn();
    let running = git.running();
    run.kill();
    assert_end(&running);
}

/// A daemon of the site, and where it listens.
fn daemon(site: &Site, binary: Binary, config: &str, path: &str) -> Daemon {
    let mut command = binary.command();
    command.arg("--config").arg(site.path(config)).env("PATH", path);
    let daemon = Daemon::spawn_command(command);
    daemon.wait_for_line("ready", SOON);
    daemon
}

fn path_with(site: &Site) -> String {
    format!("{}:{}", site.folder("tools").display(), std::env::var("PATH").expect("PATH is set"))
}

#[test]
fn a_git_ends_with_its_agent_daemon() {
    let site = Site::new();
    let git = with_git_that_hangs(&site);
    let sockets = ["agent", "coordinator"].map(|name| format!("unix://{}", site.path(name).display()));
    let [agent, coordinator] = &sockets;
    let config = fs::read_to_string(site.path("packhorse.toml")).expect("configuration");
    let listen = format!("[agent_service]\nlisten = '{agent}'\n");
    site.write("agent.toml", &config.replace("[agent_service]\n", &listen));
    let vault = site.vault_url();
    let coordinating = format!(
        "[vault]\nurl = '{vault}'\n[coordinator]\nlisten = '{coordinator}'\n[[agent]]\naddress = '{agent}'\n"
    );
    site.write("coordinator.toml", &coordinating);
    let path = std::env::var("PATH").expect("PATH is set");
    let mut serving = daemon(&site, Binary::Agent, "agent.toml", &path);
    let mut leading = daemon(&site, Binary::Coordinator, "coordinator.toml", &path);
    let mut run = Backupctl::new().args(["--coordinator", coordinator, "create"]).spawn();
    let running = git.running();
    serving.kill();
    assert_end(&running);
    run.kill();
    leading.kill();
}

#[test]
fn dumps_and_archives_end_with_their_coordinator_daemon() {
    let (site, server) = (Site::new(), PostgresServer::start());
    server.create_database("app");
    let pg_dump = server.binaries().join("pg_dump").display().to_string();
    let hanging = [
        Hanging::new(&site, "pg_dump", &pg_dump, "--snapshot"),
        Hanging::new(&site, "tar", "/usr/bin/tar", "--create"),
    ];
    fs::write(site.folder("files").join("file"), "content").expect("write");
    let coordinator = format!("unix://{}", site.path("coordinator").display());
    let config = format!(
        "[vault]\nurl = '{}'\n[coordinator]\nlisten = '{coordinator}'\n[[database]]\nname = 'main'\nurl = '{}'\n\
         [[directory]]\nname = 'files'\npath = '{}'\n",
        site.vault_url(),
        server.url("app"),
        site.path("files").display(),
    );
    site.write("coordinator.toml", &config);
    let path = format!("{}:{}", path_with(&site), server.binaries().display());
    let mut leading = daemon(&site, Binary::Coordinator, "coordinator.toml", &path);
    let mut run = Backupctl::new().args(["--coordinator", &coordinator, "create"]).spawn();
    let running: Vec<String> = hanging.iter().flat_map(Hanging::running).collect();
    leading.kill();
    assert_end(&running);
    run.kill();
}

/// Whether a process has a file open below a folder that has no name; none where it cannot be seen.
fn has_nameless_below(pid: u32, folder: &Path) -> Result<(), String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| error.to_string())?;
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let links: Vec<String> = links.map(|link| link.display().to_string()).collect();
    let below = format!("{}/", folder.display());
    let found = links.iter().any(|link| link.starts_with(&below) && link.ends_with(" (deleted)"));
    if found { Ok(()) } else { Err(format!("{links:?}")) }
}

#[test]
fn a_killed_writer_leaves_nothing_unfinished_in_a_folder() {
    let site = Site::new();
    if !has_nameless_files(&site.folder("trial")) {
        return skipped("this file system has no files without a name");
    }
    let repo = site.repo("storage/a.git");
    repo.commit("main", &[("noise", noise(7, 20 << 20))]);
    let storage = site.storage_section("default", "storage");
    let config = |bandwidth: &str| {
        let text = format!("[vault]\nurl = '{}'\n[agent_service]\n{bandwidth}\n{storage}", site.vault_url());
        site.write("packhorse.toml", &text);
    };
    // So that it is at it for days.
    config("bandwidth = '100 B'");
    let mut run = site.ctl("packhorse.toml", ["create", "--backup-id", "0001"]).spawn();
    let vault = site.path("vault");
    wait_until("an upload in parts", SOON, || has_nameless_below(run.pid(), &vault));
    run.kill();
    let left: Vec<String> =
        objects(&vault).into_keys().filter(|key| key.contains("a.git") || key.contains('#')).collect();
    assert_eq!(left, Vec::<String>::new());
    config("");
    let made =
        json(&site.ctl("packhorse.toml", ["create", "--json", "--backup-id", "0002"]).run().expect_success());
    assert_eq!(text(&made["state"]), "complete", "{made:#}");
    let back = site.folder("back");
    let place = format!("--storage=default={}", back.display());
    site.ctl("packhorse.toml", ["restore", "0002", &place]).run().expect_success();
    assert_restored(&repo.state(), back.join("a.git"));
}

/// Whether files without a name can be made in a folder.
fn has_nameless_files(folder: &Path) -> bool {
    use rustix::fs::{CWD, Mode, OFlags};
    rustix::fs::openat(CWD, folder, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR).is_ok()
}
