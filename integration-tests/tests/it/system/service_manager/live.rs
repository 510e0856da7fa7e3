//! The units as they are, on a machine that systemd has started: installed, enabled, killed, stopped, reloaded.
//!
//! Does not own: what the daemons tell systemd in detail (`notify`). Users, paths and confinement are those of the units;
//! only what would take minutes is made quicker, the way `systemctl edit` does it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use packhorse_testkit::{
    Binary, GitRepo, Machine, RepoState, hermetic_command, run_checked, skipped, wait_until,
};

use super::{
    super::site::{Site, json, text},
    SOON,
};

/// Where GitLab keeps its repositories.
const STORAGE: &str = "/var/opt/gitlab/git-data/repositories";
const CONFIG: &str = "[vault]
url = 'file:///var/backups/packhorse'
[agent_service]
listen = 'unix:///run/packhorse/agent.sock'
[[storage]]
name = 'default'
path = '/var/opt/gitlab/git-data/repositories'
[coordinator]
listen = 'unix:///run/packhorse/coordinator.sock'
[[agent]]
address = 'unix:///run/packhorse/agent.sock'
";
/// What an operator types once.
const INSTALL: &str = "
id git >/dev/null 2>&1 || useradd --system --home-dir /var/opt/gitlab git
chown -R git:git /var/opt/gitlab /var/backups/packhorse
runuser -u git -- backupctl vault init --config /etc/packhorse/packhorse.toml
systemctl enable packhorse-agent packhorse-coordinator packhorse-backup.timer
";
/// Without a journal, what the services say goes to a file; a second is the night.
const QUICKER: [(&str, &str); 4] = [
    (
        "packhorse-agent.service",
        "[Service]\nStandardError=append:/var/log/agent\nWatchdogSec=2s\nRestartSec=100ms\n",
    ),
    (
        "packhorse-coordinator.service",
        "[Service]\nStandardError=append:/var/log/coordinator\nRestartSec=100ms\n",
    ),
    ("packhorse-backup.service", "[Service]\nStandardError=append:/var/log/backup\n"),
    (
        "packhorse-backup.timer",
        "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nRandomizedDelaySec=0\nAccuracySec=100ms\nPersistent=no\n",
    ),
];

fn put(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().expect("in a folder")).expect("make folder");
    fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// What is installed: programs, units, a configuration, and a repository.
fn files(root: &Path) {
    for binary in [Binary::Agent, Binary::Coordinator, Binary::Backupctl] {
        let installed = format!("/usr/bin/{}", binary.name());
        put(root, &installed, fs::read(binary.path()).expect("a program"));
        let file = root.join(installed.trim_start_matches('/'));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("make it run");
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    for unit in fs::read_dir(units).expect("the units").flatten() {
        let name = unit.file_name().to_string_lossy().into_owned();
        put(root, &format!("/etc/systemd/system/{name}"), fs::read(unit.path()).expect("a unit"));
    }
    for (unit, text) in QUICKER {
        put(root, &format!("/etc/systemd/system/{unit}.d/override.conf"), text);
    }
    put(root, "/etc/packhorse/packhorse.toml", CONFIG);
    let file = root.join("etc/packhorse/packhorse.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("readable");
    fs::create_dir_all(root.join("var/backups/packhorse")).expect("a folder for the vault");
    GitRepo::init(root.join(format!("{}/app.git", STORAGE.trim_start_matches('/')))).fill("main", 5);
}

fn pid(machine: &Machine, unit: &str) -> String {
    machine.property(unit, "MainPID")
}

/// Waits until a service runs as another process than this.
fn wait_for_another(machine: &Machine, unit: &str, old: &str) {
    wait_until("a restart", SOON, || {
        let (state, now) = (machine.property(unit, "SubState"), pid(machine, unit));
        if state == "running" && now != old && now != "0" { Ok(()) } else { Err(format!("{state} {now}")) }
    });
}

fn backups(machine: &Machine) -> Vec<String> {
    let list = ["--coordinator", "unix:///run/packhorse/coordinator.sock", "list", "--json"];
    let listed = json(&machine.run("backupctl", &list).expect_success());
    listed["backups"].as_array().expect("backups").iter().map(|backup| text(&backup["backup_id"])).collect()
}

/// What the services said, for a test that fails.
fn said(machine: &Machine) -> String {
    let read = |name| fs::read_to_string(machine.path(&format!("/var/log/{name}"))).unwrap_or_default();
    ["agent", "coordinator", "backup"].map(read).join("\n") + &machine.log()
}

#[test]
fn the_units_start_at_boot_back_up_every_night_and_survive_what_kills_them() {
    let site = Site::new();
    files(&site.folder("root"));
    let machine = match Machine::boot(&site.path("root"), INSTALL) {
        Ok(machine) => machine,
        Err(why) => return skipped(&why),
    };
    let (agent, coordinator) = ("packhorse-agent.service", "packhorse-coordinator.service");
    for unit in [agent, coordinator] {
        assert_eq!(machine.property(unit, "ActiveState"), "active", "{}", said(&machine));
    }
    let made = || if backups(&machine).is_empty() { Err(said(&machine)) } else { Ok(()) };
    wait_until("the timer's backup", SOON, made);
    machine.run("systemctl", &["stop", "packhorse-backup.timer"]).expect_success();
    wait_until("its end", SOON, || match machine.property("packhorse-backup.service", "ActiveState") {
        state if state == "inactive" => Ok(()),
        state => Err(format!("{state}\n{}", said(&machine))),
    });
    assert_eq!(machine.property("packhorse-backup.service", "Result"), "success", "{}", said(&machine));
    assert_confined(&machine, coordinator);
    assert_confined(&machine, agent);
    assert_gives_way_and_reaches_its_storage(&machine, agent);

    // A crash of either, and one that no longer answers.
    for (unit, signal) in [(agent, "KILL"), (coordinator, "KILL"), (agent, "STOP")] {
        let (old, before) = (pid(&machine, unit), backups(&machine).len());
        machine.run("kill", &["-s", signal, &old]).expect_success();
        wait_for_another(&machine, unit, &old);
        let by_hand = machine.run("systemctl", &["start", "packhorse-backup"]);
        assert_eq!(by_hand.code, 0, "after {signal} to {unit}: {}", said(&machine));
        assert_eq!(backups(&machine).len(), before + 1);
    }

    // A restore writes where the unit lets it, and its files belong to the user of the unit.
    let app = machine.path(&format!("{STORAGE}/app.git"));
    let owner = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).expect("it is there");
    let (state, owned) = (copied(&app, &site.path("before")).state(), owner(&app));
    fs::remove_dir_all(&app).expect("lose the repository");
    let restore = ["--coordinator", "unix:///run/packhorse/coordinator.sock", "restore", "latest"];
    let restored = machine.run("backupctl", &restore);
    assert_eq!(restored.code, 0, "{restored:#?}{}", said(&machine));
    RepoState::assert_same(&state, &copied(&app, &site.path("after")).state());
    assert_eq!([owner(&app), owner(&app.join("HEAD"))], [owned; 2]);

    let old = pid(&machine, agent);
    machine.run("systemctl", &["reload", agent, coordinator]).expect_success();
    assert_eq!(pid(&machine, agent), old, "a reload is no restart");
    machine.run("systemctl", &["stop", agent, coordinator]).expect_success();
    for unit in [agent, coordinator] {
        assert_eq!(machine.property(unit, "Result"), "success", "{}", said(&machine));
        assert_eq!(machine.property(unit, "ExecMainStatus"), "0");
    }

    // What cannot get better by itself is not tried again.
    fs::write(machine.path("/etc/packhorse/packhorse.toml"), "nonsense = 1\n").expect("break it");
    machine.run("systemctl", &["start", agent]).expect_code(1);
    assert_eq!(machine.property(agent, "ExecMainStatus"), "2", "{}", said(&machine));
    assert_eq!(machine.property(agent, "ActiveState"), "failed");
}

/// A copy that this host's git may look at.
fn copied(repo: &Path, to: &Path) -> GitRepo {
    run_checked(hermetic_command("cp").arg("--recursive").arg(repo).arg(to));
    GitRepo::open(to)
}

/// The kernel's own view of a service's process.
#[track_caller]
fn assert_confined(machine: &Machine, unit: &str) {
    let pid = pid(machine, unit);
    let status = machine.run("cat", &[&format!("/proc/{pid}/status")]).expect_success().stdout;
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Seccomp:\t2"] {
        assert!(status.contains(line), "no {line} in {status}");
    }
    for path in ["/etc/x", "/usr/bin/x", "/var/opt/x"] {
        assert_ne!(touch(machine, &pid, path), 0, "{path} is read-only for it");
    }
    // The vault is a folder of this host.
    let path = "/var/backups/packhorse/x";
    assert_eq!(touch(machine, &pid, path), 0, "the vault is not");
    fs::remove_file(machine.path(path)).expect("remove it");
}

/// The same, of what is the agent's only.
#[track_caller]
fn assert_gives_way_and_reaches_its_storage(machine: &Machine, unit: &str) {
    let (pid, path) = (pid(machine, unit), format!("{STORAGE}/x"));
    let class = machine.run("ionice", &["-p", &pid]).expect_success().stdout;
    assert!(class.starts_with("idle"), "{class}");
    assert_eq!(touch(machine, &pid, &path), 0, "the storage is not read-only for it");
    fs::remove_file(machine.path(&path)).expect("remove it");
}

/// Makes a file in the view that a process has of the files, and says how that ended.
fn touch(machine: &Machine, pid: &str, path: &str) -> i32 {
    machine.run("nsenter", &["--target", pid, "--mount", "touch", path]).code
}
