//! Unix sockets: the kernel says who calls, and the configuration says who may.
//!
//! Does not own: who may open the folder above the socket; that is the operator's.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    process::Stdio,
};

use packhorse_testkit::{Backupctl, Binary, Daemon, hermetic_command, skipped};

use super::{super::site::Site, assert_refused_once, start};

/// Users without any rights.
const WATCHER: u32 = 65534;
const NOBODY: u32 = 65533;

/// A coordinator on a Unix socket that everybody could reach by the modes of the folders.
fn coordinator(peers: &str) -> (Site, Daemon, String) {
    let site = Site::new();
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o711)).expect("chmod");
    let socket = site.path("coordinator.sock");
    let config = format!(
        "[vault]\nurl = '{}'\n[coordinator]\nlisten = 'unix://{}'\n{peers}",
        site.vault_url(),
        socket.display()
    );
    site.write("coordinator.toml", &config);
    let program = site.path("backupctl");
    // The programs may lie in a folder that only root can enter.
    fs::copy(Binary::Backupctl.path(), &program).expect("copy backupctl");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let (daemon, address) = start(&site, Binary::Coordinator, "coordinator");
    (site, daemon, address)
}

/// The exit code and the error of a call by another user.
fn call_as(site: &Site, uid: u32, address: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = hermetic_command(site.path("backupctl"));
    command.args(["--no-progress", "--coordinator", address]).args(args).uid(uid).gid(uid);
    let output = command.stdin(Stdio::null()).output().expect("backupctl starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("Linux").uid() == 0
}

#[test]
fn another_user_has_the_role_that_it_was_given() {
    if !is_root() {
        return skipped("only root can call as another user");
    }
    let (site, daemon, address) = coordinator("[[peer]]\nuid = 65534\nrole = 'observer'\n");
    assert_eq!(fs::metadata(site.path("coordinator.sock")).expect("socket").mode() & 0o777, 0o666);
    Backupctl::new().args(["list", "--coordinator", &address]).run().expect_success();
    let (code, error) = call_as(&site, WATCHER, &address, &["list"]);
    assert_eq!(code, Some(0), "{error}");
    let (code, error) = call_as(&site, WATCHER, &address, &["create"]);
    assert_eq!(code, Some(12), "{error}");
    assert!(error.contains("uid 65534") && error.contains("role operator"), "{error}");
    assert_refused_once(&daemon, &["uid 65534", "CoordinatorService/Create", "role"]);
    let (code, error) = call_as(&site, NOBODY, &address, &["list"]);
    assert_eq!(code, Some(12), "{error}");
    assert_refused_once(&daemon, &["uid 65533", "CoordinatorService/List", "stranger"]);
}

#[test]
fn without_peers_nobody_else_can_even_connect() {
    let (site, _daemon, address) = coordinator("");
    assert_eq!(fs::metadata(site.path("coordinator.sock")).expect("socket").mode() & 0o777, 0o600);
    Backupctl::new().args(["list", "--coordinator", &address]).run().expect_success();
    if !is_root() {
        return skipped("only root can call as another user");
    }
    let (code, error) = call_as(&site, NOBODY, &address, &["list"]);
    assert_eq!(code, Some(12), "{error}");
    assert!(error.contains("Permission denied") && error.contains("user that owns the socket"), "{error}");
}
