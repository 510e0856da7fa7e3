//! The vault is the one that is meant: made when somebody asks for it, named by every output, and never by accident.
//!
//! Does not own: what makes a place a vault (`packhorse-vault`).

use std::fs;

use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3};

use super::{
    exit_codes::codes::assert_fails,
    site::{Site, json, objects, text},
};

/// A site with a repository, and the URL of a vault that nobody has made.
fn site() -> (Site, String) {
    let site = Site::new();
    site.repo("storage/a.git").fill("main", 3);
    let url = format!("file://{}", site.path("vault").display());
    (site, url)
}

fn ctl(url: &str, args: &[&str]) -> Backupctl {
    Backupctl::new().args(["--no-progress", "--vault", url]).args(args)
}

#[test]
fn no_command_but_init_makes_a_vault() {
    let (site, url) = site();
    let storage = format!("--storage=default={}", site.path("storage").display());
    let commands: [&[&str]; 7] = [
        &["create", &storage],
        &["create", "--dry-run", &storage],
        &["restore", "latest", &storage],
        &["list"],
        &["show", "latest"],
        &["status"],
        &["agents"],
    ];
    for command in commands {
        let failed = ctl(&url, command).run().expect_code(13);
        assert!(failed.stderr.contains("no vault here"), "{failed:#?}");
        assert!(failed.stderr.contains("backupctl vault init"), "{failed:#?}");
        assert!(!site.path("vault").exists(), "{command:?}");
    }
    // A mount point without its file system.
    site.folder("vault");
    for command in commands {
        let failed = ctl(&url, command).run().expect_code(13);
        assert!(failed.stderr.contains("no vault here"), "{failed:#?}");
        assert!(objects(&site.path("vault")).is_empty(), "{command:?}");
    }
    assert_fails(|| ctl(&url, &["list"]), 13, "not_found", "vault", "no vault here");
}

#[test]
fn a_vault_is_made_once_and_every_output_names_it() {
    let (site, url) = site();
    let made = json(&ctl(&url, &["vault", "init", "--json"]).run().expect_success());
    let id = text(&made["vault_id"]);
    assert_eq!(text(&made["vault"]), url);
    assert_fails(|| ctl(&url, &["vault", "init"]), 1, "already_exists", "vault", &id);
    let deep = format!("{url}/not/there");
    assert_fails(|| ctl(&deep, &["vault", "init"]), 13, "not_found", "vault", "there is no folder");

    let storage = format!("--storage=default={}", site.path("storage").display());
    let back = format!("--storage=default={}", site.folder("back").display());
    let commands: [&[&str]; 6] = [
        &["create", &storage],
        &["list"],
        &["show", "latest"],
        &["status"],
        &["agents"],
        &["restore", "latest", &back],
    ];
    for command in commands {
        let shown = ctl(&url, command).run().expect_success();
        assert!(shown.stdout.contains(&url), "{shown:#?}");
    }
    fs::remove_dir_all(site.path("back")).expect("remove what was restored");
    site.folder("back");
    for command in commands {
        let shown = json(&ctl(&url, command).arg("--json").run().expect_success());
        assert_eq!(
            (text(&shown["vault"]), text(&shown["vault_id"])),
            (url.clone(), id.clone()),
            "{command:?}"
        );
    }
    // Where a vault lies may change; a report does not say it.
    let stored = objects(&site.path("vault"));
    let reports: Vec<_> = stored.iter().filter(|(key, _)| key.ends_with("report.json")).collect();
    assert_eq!(reports.len(), 2);
    for (key, bytes) in reports {
        assert!(!String::from_utf8_lossy(bytes).contains(&url), "{key}");
    }
}

#[test]
fn create_makes_the_vault_when_it_is_told_to() {
    let (site, url) = site();
    let storage = format!("--storage=default={}", site.path("storage").display());
    for _ in ["new", "there"] {
        ctl(&url, &["create", "--init", &storage]).run().expect_success();
    }
    let listed = json(&ctl(&url, &["list", "--json"]).run().expect_success());
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_vault_that_lost_its_marker_is_not_made_anew() {
    let (site, url) = site();
    let storage = format!("--storage=default={}", site.path("storage").display());
    ctl(&url, &["create", "--init", &storage]).run().expect_success();
    let marker = site.path("vault/packhorse/format.json");
    let kept = fs::read(&marker).expect("read the marker");
    fs::remove_file(&marker).expect("lose the marker");
    let before = objects(&site.path("vault"));
    for command in
        [&["list"][..], &["vault", "init"], &["create", "--init", &storage], &["restore", "latest"]]
    {
        assert_fails(|| ctl(&url, command), 4, "corrupt", "vault", "format.json");
    }
    assert_eq!(objects(&site.path("vault")), before);
    fs::write(&marker, kept).expect("put it back");
    ctl(&url, &["list"]).run().expect_success();
}

#[test]
fn another_vault_than_the_configured_one_is_refused_by_all() {
    let site = Site::new();
    site.repo("storage/a.git").fill("main", 3);
    let (url, agent, coordinator) = (
        site.vault_url(),
        format!("unix://{}", site.path("agent.sock").display()),
        format!("unix://{}", site.path("coordinator.sock").display()),
    );
    let vault = |id: &str| format!("[vault]\nurl = '{url}'\nvault_id = '{id}'\n");
    let own = text(&json(&ctl(&url, &["list", "--json"]).run().expect_success())["vault_id"]);
    let storage = site.storage_section("default", "storage");

    site.write("embedded.toml", &(vault(&own) + &storage));
    site.ctl("embedded.toml", ["create"]).run().expect_success();
    site.write("embedded.toml", &(vault("another") + &storage));
    for args in [["create", "--init"], ["list", "--quiet"], ["show", "latest"], ["restore", "latest"]] {
        assert_fails(|| site.ctl("embedded.toml", args), 13, "not_found", "vault", "another");
    }

    let start = |binary, config: &str, id: &str, more: &str| {
        let daemon = Daemon::spawn(
            binary,
            [site.path("x").with_file_name(config)].map(|path| {
                site.write(config, &(vault(id) + more));
                format!("--config={}", path.display())
            }),
        );
        daemon.wait_for_line("ready", std::time::Duration::from_secs(30));
        daemon
    };
    let agent_section = format!("[agent_service]\nlisten = '{agent}'\n{storage}");
    let fleet = format!("[coordinator]\nlisten = '{coordinator}'\n[[agent]]\naddress = '{agent}'\n");
    let ask =
        |args: &[&str]| Backupctl::new().args(["--no-progress", "--coordinator", &coordinator]).args(args);
    let mut right = start(Binary::Coordinator, "coordinator.toml", &own, &fleet);
    let wrong = start(Binary::Agent, "agent.toml", "another", &agent_section);
    let agents = ask(&["agents"]).run().expect_code(14);
    assert!(agents.stdout.contains("another"), "{agents:#?}");
    let refused = ask(&["create"]).run();
    assert!(refused.code != 0 && refused.stderr.contains("another"), "{refused:#?}");
    right.terminate();
    let _wrong = start(Binary::Coordinator, "coordinator.toml", "another", &fleet);
    for args in [&["create"][..], &["list"], &["restore", "latest"]] {
        assert_fails(|| ask(args), 13, "not_found", "vault", "another");
    }
    drop(wrong);
}

#[test]
fn flags_that_a_coordinator_would_not_see_are_refused() {
    let (_site, url) = site();
    let ask =
        |args: &[&str]| Backupctl::new().args(["--coordinator", "unix:///nowhere/x.sock", "list"]).args(args);
    for flag in [format!("--vault={url}"), "--config=/nowhere.toml".into(), "--git=/bin/git".into()] {
        let name = flag.split_once('=').expect("a value").0;
        assert_fails(|| ask(&[&flag]), 2, "invalid", "configuration", name);
    }
    // A flag beats the environment; of two variables neither beats the other.
    ask(&[]).env("PACKHORSE_VAULT", &url).env("PACKHORSE_CONFIG", "/nowhere.toml").run().expect_code(14);
    let both = || {
        let list = Backupctl::new().arg("list").env("PACKHORSE_VAULT", &url);
        list.env("PACKHORSE_COORDINATOR", "unix:///nowhere/x.sock")
    };
    assert_fails(both, 2, "invalid", "configuration", "PACKHORSE_VAULT");
    ask(&["--embedded", &format!("--vault={url}")]).run().expect_code(13);
}

#[test]
fn a_coordinator_makes_the_vault_of_its_configuration() {
    let (site, server) = (Site::new(), FaultyS3::start());
    let address = format!("unix://{}", site.path("coordinator.sock").display());
    site.write("c.toml", &format!("{}[coordinator]\nlisten = '{address}'\n", server.place_section("v")));
    let mut command = Binary::Coordinator.command();
    command.arg("--config").arg(site.path("c.toml")).envs(server.env("coordinator"));
    let daemon = Daemon::spawn_command(command);
    daemon.wait_for_line("coordinator ready", std::time::Duration::from_secs(30));
    let ask = |args: &[&str]| Backupctl::new().args(["--coordinator", &address]).args(args);
    assert_fails(|| ask(&["list"]), 13, "not_found", "vault", "no vault here");
    assert!(server.keys().is_empty());
    ask(&["vault", "init"]).run().expect_success();
    ask(&["list"]).run().expect_success();
    assert_fails(|| ask(&["vault", "init"]), 1, "already_exists", "vault", "there is a vault already");
    assert_fails(|| ask(&["vault", "init", "--group=0"]), 2, "invalid", "configuration", "--group");
}

#[test]
fn a_daemon_takes_no_other_vault_in_place_of_the_one_that_it_has_used() {
    let site = Site::new();
    let url = site.vault_url();
    let address = format!("unix://{}", site.path("coordinator.sock").display());
    let config =
        site.write("c.toml", &format!("[vault]\nurl = '{url}'\n[coordinator]\nlisten = '{address}'\n"));
    let daemon = Daemon::spawn(Binary::Coordinator, ["--config".as_ref(), config.as_os_str()]);
    daemon.wait_for_line("coordinator ready", std::time::Duration::from_secs(30));
    let ask = |args: &[&str]| Backupctl::new().args(["--coordinator", &address]).args(args);
    ask(&["list"]).run().expect_success();
    // Its file system is not mounted any more.
    fs::rename(site.path("vault"), site.path("away")).expect("move");
    site.folder("vault");
    for args in [&["list"][..], &["vault", "init"], &["create", "--init"]] {
        assert_fails(|| ask(args), 13, "not_found", "vault", "this process has used vault");
    }
    assert!(fs::read_dir(site.path("vault")).expect("a folder").next().is_none(), "nothing was made");
    // Another vault is mounted there.
    let other = format!("file://{}", site.path("vault").display());
    ctl(&other, &["vault", "init"]).run().expect_success();
    assert_fails(|| ask(&["list"]), 13, "not_found", "vault", "this process has used vault");
    fs::rename(site.path("vault"), site.path("other")).expect("move");
    fs::rename(site.path("away"), site.path("vault")).expect("move back");
    ask(&["list"]).run().expect_success();
}

#[test]
fn a_folder_of_somebody_else_is_told_with_its_owner_and_mode() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    if !is_root() {
        return packhorse_testkit::skipped("only root becomes somebody else");
    }
    let site = Site::new();
    let url = site.vault_url();
    for folder in ["", "vault"] {
        fs::set_permissions(site.path(folder), fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let program = site.path("backupctl");
    fs::copy(Binary::Backupctl.path(), &program).expect("copy backupctl");
    let mut list = packhorse_testkit::hermetic_command(&program);
    let output =
        list.args(["list", "--vault", &url]).uid(65534).gid(65534).output().expect("backupctl starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{told}");
    for word in ["Permission denied", "vault/packhorse belongs to user root", "mode 0700", "we are user"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
}

#[test]
fn where_no_vault_can_be_made_yet_it_is_said_who_may_write_there() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    if !is_root() {
        return packhorse_testkit::skipped("only root becomes somebody else");
    }
    let (site, url) = site();
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).expect("chmod");
    let program = site.path("backupctl");
    fs::copy(Binary::Backupctl.path(), &program).expect("copy backupctl");
    for args in [&["vault", "init"][..], &["create", "--init"]] {
        for there in [false, true] {
            if there {
                fs::DirBuilder::new().create(site.path("vault")).expect("a folder of root");
                fs::set_permissions(site.path("vault"), fs::Permissions::from_mode(0o755)).expect("chmod");
            }
            let mut command = packhorse_testkit::hermetic_command(&program);
            let output = command.args(args).args(["--vault", &url]).uid(65534).gid(65534).output();
            let output = output.expect("backupctl starts");
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(12), "{told}");
            for word in ["belongs to user root", "nothing was made", "run as a user who may write there"] {
                assert!(told.contains(word), "no {word} in {told}");
            }
            assert!(!told.contains("the vault's owner"), "there is none yet: {told}");
        }
        fs::remove_dir(site.path("vault")).expect("nothing was made in it");
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").expect("Linux").uid() == 0
}

#[test]
fn a_store_that_does_not_answer_is_told_after_five_seconds_with_how_long_it_is_tried() {
    let site = Site::new();
    let port = packhorse_testkit::free_port();
    let config =
        format!("[vault]\nurl = 's3://b/p'\nendpoint = 'http://127.0.0.1:{port}'\nretry_budget = '7s'\n");
    site.write("packhorse.toml", &config);
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let output = site.ctl("packhorse.toml", ["list"]).envs(keys).run().expect_code(13);
    let told = output.stderr.lines().find(|line| line.contains("has not answered for 5 seconds"));
    assert!(told.is_some_and(|line| line.contains("is tried for 7 seconds")), "{output:#?}");
}

#[test]
fn agents_tell_a_storage_that_is_not_there() {
    let (site, url) = site();
    ctl(&url, &["vault", "init"]).run().expect_success();
    let storage = site.path("nowhere");
    let config =
        format!("[vault]\nurl = '{url}'\n[[storage]]\nname = 'gone'\npath = '{}'\n", storage.display());
    site.write("packhorse.toml", &config);
    let agents = site.ctl("packhorse.toml", ["agents"]).run().expect_code(3);
    assert!(agents.stdout.contains("storage gone is not there"), "{agents:#?}");
    let agents = json(&site.ctl("packhorse.toml", ["agents", "--json"]).run().expect_code(3));
    assert_eq!(agents["agents"][0]["missing_storages"], serde_json::json!(["gone"]), "{agents:#}");
}
