//! Places that lie inside each other: the vault, storages and directories are refused before anything is done.
//!
//! Does not own: how places are compared (the service crate's own tests, with bind mounts).

use std::{fs, time::Duration};

use packhorse_testkit::{Backupctl, Binary, Daemon};

use super::{exit_codes::codes::assert_fails, site::Site};

#[test]
fn a_vault_in_a_storage_is_refused() {
    let site = Site::new();
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage"));
    site.write("packhorse.toml", &config);
    let vault = format!("--vault=file://{}", site.path("storage/backups/vault").display());
    let call = || site.ctl("packhorse.toml", ["create", &vault, "--only=repositories", "--storage=default"]);
    assert_fails(call, 2, "invalid", "configuration", "lies in it");
    assert!(!site.path("storage/backups").exists(), "the vault was made all the same");
}

#[test]
fn places_inside_each_other_are_refused_by_every_command_with_both_keys() {
    let site = Site::new();
    std::os::unix::fs::symlink(site.folder("a/deep"), site.path("link")).expect("make link");
    for folder in ["a", "b", "c"] {
        fs::write(site.folder(folder).join("file"), "precious").expect("write file");
    }
    let config = |vault: &str, storage: &str, directories: [&str; 2]| {
        let path = |name: &str| site.path(name).display().to_string();
        let mut config = format!("[vault]\nurl = 'file://{}'\n", path(vault));
        config += &format!("[[storage]]\nname = 'default'\npath = '{}'\n", path(storage));
        for (name, folder) in ["up", "lfs"].iter().zip(directories) {
            let section = format!("[[directory]]\nname = '{name}'\npath = '{}'\n", path(folder));
            config += &(section + "exclude = ['deep', 'vault', 'git']\n");
        }
        config
    };
    const VAULT: &str = "[vault] url";
    const STORAGE: &str = "[[storage]] default";
    for (vault, storage, directories, keys) in [
        ("a/vault", "git", ["a", "b"], [VAULT, "[[directory]] up"]),
        ("a/deep/new/vault", "git", ["b", "a"], [VAULT, "[[directory]] lfs"]),
        ("link/vault", "git", ["a", "b"], [VAULT, "[[directory]] up"]),
        ("a", "git", ["link", "b"], [VAULT, "[[directory]] up"]),
        ("git/vault", "git", ["a", "b"], [VAULT, STORAGE]),
        ("vault", "a/git", ["a", "b"], [STORAGE, "[[directory]] up"]),
        ("vault", "a", ["a/deep", "b"], [STORAGE, "[[directory]] up"]),
        ("vault", "git", ["a", "link"], ["[[directory]] up", "[[directory]] lfs"]),
        ("vault", "git", ["a", "a"], ["[[directory]] up", "[[directory]] lfs"]),
    ] {
        site.write("nested.toml", &config(vault, storage, directories));
        for args in [&["create"][..], &["create", "--only=repositories"], &["restore", "one", "--force"]] {
            for key in keys {
                let call = || site.ctl("nested.toml", []).args(args);
                assert_fails(call, 2, "invalid", "configuration", key);
            }
        }
    }
    assert!(!site.path("a/vault").exists() && !site.path("a/deep/new").exists(), "something was made");
    site.write("beside.toml", &config("vault", "git", ["a", "b"]));
    site.folder("git");
    site.ctl("beside.toml", ["create", "--init", "--backup-id=one"]).run().expect_success();
    site.ctl("beside.toml", ["restore", "one", "--only=up", "--force"]).run().expect_success();
}

#[test]
fn two_storages_of_which_one_holds_the_other_are_refused() {
    let site = Site::new();
    let place = |name: &str, folder: &str| format!("--storage={name}={}", site.folder(folder).display());
    let vault = format!("--vault={}", site.vault_url());
    let (one, two) = (place("one", "git"), place("two", "git/team"));
    let call = || Backupctl::new().args(["--no-progress", "create", &vault, &one, &two]);
    for key in ["[[storage]] one", "[[storage]] two"] {
        assert_fails(call, 2, "invalid", "configuration", key);
    }
}

/// Time for something that takes moments.
const SOON: Duration = Duration::from_secs(60);

fn daemon(site: &Site, binary: Binary, file: &str) -> Daemon {
    Daemon::spawn(binary, ["--config".as_ref(), site.path(file).as_os_str()])
}

#[test]
fn a_coordinator_asks_agents_under_its_kernel_where_their_storages_lie() {
    let site = Site::new();
    let socket = |name: &str| format!("unix://{}", site.path(name).display());
    let vault = format!("[vault]\nurl = '{}'\n", site.vault_url());
    let agent = format!("{vault}[agent_service]\nlisten = '{}'\n", socket("agent.sock"));
    site.write("agent.toml", &(agent + &site.storage_section("default", "srv/git")));
    let coordinator = |directory: &str| {
        let (listen, agent) = (socket("coordinator.sock"), socket("agent.sock"));
        let directory = site.folder(directory).display().to_string();
        format!(
            "{vault}[coordinator]\nlisten = '{listen}'\n[[agent]]\naddress = '{agent}'\n\
             [[directory]]\nname = 'srv'\npath = '{directory}'\nexclude = ['git']\n"
        )
    };
    site.write("coordinator.toml", &coordinator("beside"));
    site.repo("srv/git/a.git").fill("main", 2);
    let mut agent = daemon(&site, Binary::Agent, "agent.toml");
    agent.wait_for_line("agent ready", SOON);
    let ctl = |args: &[&str]| {
        let address = socket("coordinator.sock");
        Backupctl::new().args(["--no-progress", "--coordinator", &address]).args(args)
    };
    let mut first = daemon(&site, Binary::Coordinator, "coordinator.toml");
    first.wait_for_line("coordinator ready", SOON);
    ctl(&["create", "--backup-id=one"]).run().expect_success();
    assert_eq!(first.terminate(), 0);

    // Neither file names two places inside each other.
    site.write("coordinator.toml", &coordinator("srv"));
    let mut second = daemon(&site, Binary::Coordinator, "coordinator.toml");
    second.wait_for_line("coordinator ready", SOON);
    for args in [&["create"][..], &["create", "--only=srv"], &["restore", "one", "--only=srv", "--force"]] {
        for key in ["[[storage]] default", "[[directory]] srv"] {
            assert_fails(|| ctl(args), 2, "invalid", "configuration", key);
        }
    }
    assert!(site.path("srv/git/a.git/HEAD").exists());
    assert_eq!((second.terminate(), agent.terminate()), (0, 0));

    // A daemon of which one file does, does not start.
    let nested = format!("{vault}{}", site.storage_section("default", "vault/git"));
    site.write("nested.toml", &nested);
    for binary in [Binary::Agent, Binary::Coordinator] {
        let mut daemon = daemon(&site, binary, "nested.toml");
        assert_eq!(daemon.wait(SOON), 2);
        let said = daemon.lines().join("\n");
        assert!(said.contains("[vault] url") && said.contains("[[storage]] default"), "{said}");
    }
}
