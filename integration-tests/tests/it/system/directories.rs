//! Directories as an operator has them: what comes back, what stays, and what the exit code says of the rest.
//!
//! Does not own: archives and swaps in detail (the coordinator's own tests).

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
};

use packhorse_testkit::{Backupctl, Binary, TreeState, hermetic_command, run_checked, skipped};

use super::{
    exit_codes::codes::assert_fails,
    site::{Site, json, text},
};

/// `nobody` on most systems; any user without rights will do.
const ID: u32 = 65534;

/// A site with one directory, whose archive is backup `one`.
fn site(exclude: &str, fill: impl FnOnce(&Path)) -> Site {
    let site = Site::new();
    fill(&site.folder("data"));
    configure(&site, "packhorse.toml", "data", exclude);
    site
}

fn configure(site: &Site, file: &str, folder: &str, exclude: &str) {
    let (vault, path) = (site.vault_url(), site.path(folder));
    let section =
        format!("[[directory]]\nname = 'data'\npath = '{}'\nexclude = [{exclude}]\n", path.display());
    site.write(file, &format!("[vault]\nurl = '{vault}'\n{section}"));
}

fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").expect("Linux").uid() == 0;
    if !is_root {
        skipped("only root makes devices and gives files away");
    }
    is_root
}

/// A call of a user without rights.
fn as_nobody<const N: usize>(site: &Site, args: [&str; N]) -> Backupctl {
    // The programs may lie in a folder that only root can enter.
    let program = site.path("backupctl");
    if !program.exists() {
        fs::copy(Binary::Backupctl.path(), &program).expect("copy backupctl");
    }
    let mut command = hermetic_command(&program);
    command.uid(ID).gid(ID).arg("--no-progress").arg("--config").arg(site.path("packhorse.toml")).args(args);
    Backupctl::from(command)
}

fn give_away(site: &Site) {
    let owner = format!("{ID}:{ID}");
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).expect("chmod");
    run_checked(hermetic_command("chown").args(["-R", &owner]).arg(site.path("")));
}

#[test]
fn what_is_excluded_survives_a_forced_restore() {
    let site = site("'cache', 'sub/*.lock'", |data| {
        fs::create_dir_all(data.join("sub")).expect("create folder");
        fs::create_dir_all(data.join("cache")).expect("create folder");
        fs::write(data.join("sub/file"), "stored").expect("write file");
        fs::write(data.join("cache/x"), "live").expect("write file");
        fs::write(data.join("sub/a.lock"), "live").expect("write file");
    });
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=one"]).run().expect_success();
    for _ in 0..2 {
        fs::write(site.path("data/sub/file"), "changed").expect("write file");
        fs::write(site.path("data/newer"), "x").expect("write file");
        ctl(&["restore", "one", "--force"]).run().expect_success();
        let read = |path: &str| fs::read_to_string(site.path(path)).ok();
        assert_eq!(read("data/sub/file").as_deref(), Some("stored"));
        assert_eq!(
            (read("data/cache/x"), read("data/sub/a.lock")),
            (Some("live".into()), Some("live".into()))
        );
        assert_eq!(read("data/newer"), None);
        // What was excluded when the backup was made stays, also when it is excluded no more.
        configure(&site, "packhorse.toml", "data", "");
    }
}

#[test]
fn read_only_folders_are_restored_and_replaced_without_root() {
    if !is_root() {
        return;
    }
    let site = site("'ro/cache'", |data| {
        fs::create_dir_all(data.join("ro/sub")).expect("create folder");
        fs::write(data.join("ro/sub/file"), "x").expect("write file");
    });
    give_away(&site);
    let close = |mode: u32| {
        for folder in ["data/ro/sub", "data/ro"] {
            fs::set_permissions(site.path(folder), fs::Permissions::from_mode(mode)).expect("chmod");
        }
    };
    close(0o555);
    as_nobody(&site, ["create", "--backup-id=one"]).run().expect_success();
    let before = TreeState::of(site.path("data"));
    for _ in 0..2 {
        as_nobody(&site, ["restore", "one", "--force"]).run().expect_success();
        TreeState::assert_same(&before, &TreeState::of(site.path("data")));
    }
    // What is kept moves out of one read-only folder into another.
    close(0o755);
    fs::create_dir(site.path("data/ro/cache")).expect("create folder");
    fs::write(site.path("data/ro/cache/x"), "live").expect("write file");
    give_away(&site);
    fs::set_permissions(site.path("data/ro/cache"), fs::Permissions::from_mode(0o555)).expect("chmod");
    close(0o555);
    as_nobody(&site, ["restore", "one", "--force"]).run().expect_success();
    assert_eq!(fs::read_to_string(site.path("data/ro/cache/x")).expect("kept"), "live");
    let mode = |path: &str| fs::metadata(site.path(path)).expect("there").mode() & 0o777;
    assert_eq!((mode("data/ro"), mode("data/ro/cache")), (0o555, 0o555));
    // A parent that may not be written: the entries are swapped in the directory itself.
    chown(site.path(""), Some(0), Some(0)).expect("take back");
    fs::write(site.path("data/newer"), "x").expect("write file");
    as_nobody(&site, ["restore", "one", "--force"]).run().expect_success();
    assert!(!site.path("data/newer").exists() && site.path("data/ro/cache/x").exists());
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(site.path(folder)).expect("list");
        entries.map(|entry| entry.expect("entry").file_name().display().to_string()).collect()
    };
    assert_eq!(names("data"), ["ro"]);
    assert!(!names("").iter().any(|name| name.starts_with('.')), "{:?}", names(""));
}

#[test]
fn a_device_costs_itself_without_root() {
    if !is_root() {
        return;
    }
    let made = |data: &Path| {
        fs::write(data.join("file"), "stored").expect("write file");
        hermetic_command("mknod").arg(data.join("null")).args(["c", "1", "3"]).status()
    };
    let site = site("", |data| drop(made(data)));
    if !site.path("data/null").exists() {
        skipped("devices cannot be made");
        return;
    }
    site.ctl("packhorse.toml", ["create", "--backup-id=one"]).run().expect_success();
    configure(&site, "packhorse.toml", "back", "");
    site.folder("back");
    site.ctl("packhorse.toml", ["restore", "one"]).run().expect_success();
    let is_device = |path: &str| {
        fs::symlink_metadata(site.path(path)).is_ok_and(|found| found.file_type().is_char_device())
    };
    assert!(is_device("back/null"));
    // Somebody else restores over it: the file comes back, the device is named, and the one that is there stays.
    give_away(&site);
    fs::write(site.path("back/file"), "changed").expect("write file");
    let output = as_nobody(&site, ["restore", "one", "--force", "--json"]).run().expect_code(3);
    let summary = json(&output);
    assert_eq!(text(&summary["failures"][0]["item"]), "null", "{summary:#}");
    assert_eq!(fs::read_to_string(site.path("back/file")).expect("restored"), "stored");
    assert!(is_device("back/null"));
}

#[test]
fn a_long_temporary_folder_does_no_harm() {
    let site = site("", |data| fs::write(data.join("file"), "x").expect("write file"));
    let long = site.folder(&"runner".repeat(20));
    site.ctl("packhorse.toml", ["create"]).env("TMPDIR", &long).run().expect_success();
}

#[test]
fn a_directory_is_restored_into_another_folder() {
    let site = site("", |data| fs::write(data.join("file"), "stored").expect("write file"));
    site.ctl("packhorse.toml", ["create", "--backup-id=one"]).run().expect_success();
    fs::write(site.path("data/file"), "live").expect("write file");
    let to = |folder: &str| format!("--to-directory=data={}", site.path(folder).display());
    let read = |path: &str| fs::read_to_string(site.path(path)).ok();
    site.ctl("packhorse.toml", ["restore", "one", &to("beside")]).run().expect_success();
    assert_eq!(
        (read("beside/file").as_deref(), read("data/file").as_deref()),
        (Some("stored"), Some("live"))
    );
    site.ctl("packhorse.toml", ["restore", "one", &to("beside")]).run().expect_code(1);
    // The configuration need not name the directory any more.
    site.write("bare.toml", &format!("[vault]\nurl = '{}'\n", site.vault_url()));
    site.ctl("bare.toml", ["restore", "one", &to("bare")]).run().expect_success();
    assert_eq!(read("bare/file").as_deref(), Some("stored"));
    // Nothing that is configured may be in the way, whatever is forced.
    for (folder, key) in [("data/sub", "[[directory]] data"), ("vault/x", "[vault] url"), ("", "[vault] url")]
    {
        let call = || site.ctl("packhorse.toml", ["restore", "one", "--force", &to(folder)]);
        assert_fails(call, 2, "invalid", "configuration", key);
        assert_fails(call, 2, "invalid", "configuration", "--to-directory data");
    }
    assert_eq!(read("data/file").as_deref(), Some("live"));
    site.ctl("packhorse.toml", ["restore", "one", "--force", &to("data")]).run().expect_success();
    assert_eq!(read("data/file").as_deref(), Some("stored"));
    let unknown = || site.ctl("packhorse.toml", ["restore", "one", "--to-directory=other=/nowhere"]);
    assert_fails(unknown, 10, "not_found", "backup", "other");
    let elsewhere = || {
        let args = ["--coordinator", "http://127.0.0.1:1", "restore", "one", "--to-directory=data=/x"];
        Backupctl::new().arg("--no-progress").args(args)
    };
    assert_fails(elsewhere, 2, "invalid", "configuration", "--to-directory");
}
