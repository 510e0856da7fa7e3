//! A restore looks at all of its targets before it touches one, and `--dry-run` says what it saw.
//!
//! Does not own: what the restore then does (`whole`), or agents that cannot plan (`fan_out`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use packhorse_testkit::{Backupctl, GitRepo, PostgresServer, free_port};
use serde_json::Value;

use super::{
    json::assert_documented,
    site::{Site, json, noise, objects, text},
    store_failures::disks::Disk,
};

/// Two storages, a database and a directory, all in backup 0001, and nothing of the repositories left.
struct Town {
    site: Site,
    server: PostgresServer,
}

impl Town {
    fn new() -> Self {
        let town = Self { site: Site::new(), server: PostgresServer::start() };
        town.server.create_database("forge");
        town.server.psql("forge", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
        fs::write(town.site.folder("uploads").join("file"), "content").expect("write file");
        for path in ["one/a.git", "one/b.git", "two/c.git"] {
            town.site.repo(path).fill("main", 2);
        }
        town.configure(&town.server.url("forge"));
        town.ctl(&["create", "--backup-id=0001"]).run().expect_success();
        for storage in ["one", "two"] {
            fs::rename(town.site.path(storage), town.site.path(&format!("was-{storage}")))
                .expect("move away");
            town.site.folder(storage);
        }
        town
    }

    fn configure(&self, database: &str) {
        let config = format!(
            "[vault]\nurl = '{}'\n{}{}[[database]]\nname = 'main'\nurl = '{database}'\n\
             [[directory]]\nname = 'uploads'\npath = '{}'\n",
            self.site.vault_url(),
            self.site.storage_section("default", "one"),
            self.site.storage_section("second", "two"),
            self.site.path("uploads").display(),
        );
        self.site.write("packhorse.toml", &config);
    }

    fn ctl(&self, args: &[&str]) -> Backupctl {
        self.site.ctl("packhorse.toml", []).args(args)
    }

    fn plan(&self, args: &[&str], code: i32) -> Value {
        json(&self.ctl(&["restore", "0001", "--dry-run", "--json"]).args(args).run().expect_code(code))
    }
}

/// Everything in a folder, to see that nothing was touched.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(names(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn all_that_stands_in_the_way_is_told_at_once_and_nothing_is_touched() {
    let town = Town::new();
    let nowhere = format!("postgresql://x@127.0.0.1:{}/forge", free_port());
    town.configure(&nowhere);
    fs::remove_dir(town.site.path("two")).expect("remove a storage");
    let before = (names(&town.site.path("one")), objects(&town.site.path("vault")));
    let planned = town.plan(&[], 2);
    let items = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|problem| text(&problem["component"])).collect()
    };
    assert_eq!(items(&planned["problems"]), ["repositories", "db", "uploads"], "{planned:#}");
    assert_eq!(planned["storages"][0]["new"], 2, "{planned:#}");
    assert_eq!(before.1, objects(&town.site.path("vault")), "a dry run leaves no record");
    let told = town.ctl(&["restore", "0001", "--dry-run"]).run().expect_code(2).stdout;
    assert!(
        told.contains("REFUSED: it would touch nothing") && told.contains("Connection refused"),
        "{told}"
    );

    let refused = json(&town.ctl(&["restore", "0001", "--json"]).run().expect_code(2));
    assert_eq!(items(&refused["failures"]), ["repositories", "db", "uploads"], "{refused:#}");
    assert_eq!(text(&refused["error"]["what"]), "restore second: open storage", "{refused:#}");
    let state = text(&refused["error"]["state"]);
    assert_eq!(state, "nothing was touched; 2 more things stand in the way");
    let told = town.ctl(&["restore", "0001", "--quiet"]).run().expect_code(2).stderr;
    assert!(told.contains("Connection refused") && told.contains("is not empty"), "{told}");
    assert_eq!(names(&town.site.path("one")), before.0, "the storage that is well was touched");

    // What has no place at all is told the same way.
    town.site.write(
        "bare.toml",
        &format!(
            "[vault]\nurl = '{}'\n{}",
            town.site.vault_url(),
            town.site.storage_section("default", "one")
        ),
    );
    let refused = json(&town.site.ctl("bare.toml", ["restore", "0001", "--json"]).run().expect_code(2));
    assert_eq!(items(&refused["failures"]).len(), 3, "{refused:#}");
    assert_eq!(names(&town.site.path("one")), before.0);
    town.site.ctl("bare.toml", ["restore", "0001", "--storage=default"]).run().expect_success();
}

#[test]
fn a_dry_run_says_what_the_restore_then_does() {
    let town = Town::new();
    let forced = town.plan(&["--force"], 0);
    assert_documented(
        "restore --dry-run",
        &[town.ctl(&["restore", "0001", "--dry-run", "--json", "--force"]).run().expect_success()],
    );
    let database = &forced["databases"][0];
    assert_eq!(
        (&database["exists"], text(&database["way"]).as_str()),
        (&true.into(), "beside"),
        "{forced:#}"
    );
    assert_eq!(text(&database["target"]), town.server.url("forge"), "{forced:#}");
    assert_eq!(forced["directories"][0]["exists"], true, "{forced:#}");
    // That something live is there is said of each kind, before anything is touched.
    for part in [&forced["databases"][0], &forced["directories"][0]] {
        assert_eq!(part["replaces"], true, "{forced:#}");
    }
    let told = town.ctl(&["restore", "0001", "--dry-run", "--force"]).run().expect_success().stdout;
    for line in ["a live database that holds something IS REPLACED", "it is not empty and IS REPLACED"] {
        assert!(told.contains(line), "{told}");
    }
    assert!(forced["storages"][0]["room"].as_u64() > Some(0), "{forced:#}");
    assert!(names(&town.site.path("one")).is_empty() && names(&town.site.path("two")).is_empty());

    // A repository is one of many: what is there is refused by itself, and said before.
    let only = ["--storage=default"];
    let read = |numbers: &Value| -> BTreeMap<String, u64> {
        let storage = numbers["storages"][0].as_object().expect("a storage");
        storage.iter().filter_map(|(key, value)| Some((key.clone(), value.as_u64()?))).collect()
    };
    town.ctl(&["restore", "0001", "--storage=default", "--repository=a.git"]).run().expect_success();
    let planned = town.plan(&only, 3);
    let numbers = read(&planned);
    assert_eq!((numbers["new"], numbers["refused"], numbers["already"]), (1, 1, 0), "{planned:#}");
    assert_eq!(text(&planned["failures"][0]["item"]), "a.git", "{planned:#}");
    let next = text(&planned["failures"][0]["problem"]["next"]);
    assert!(next.contains("--skip-existing goes on"), "{next}");
    let skipping = read(&town.plan(&["--storage=default", "--skip-existing"], 0));
    assert_eq!((skipping["new"], skipping["refused"], skipping["already"]), (1, 0, 1));
    GitRepo::open(town.site.path("one/a.git")).fill("other", 1);
    let skipping = read(&town.plan(&["--storage=default", "--skip-existing"], 3));
    assert_eq!((skipping["refused"], skipping["already"]), (1, 0));
    let forced = read(&town.plan(&["--storage=default", "--force"], 0));
    assert_eq!((forced["new"], forced["replaced"]), (1, 1));
    assert!(forced["bytes"] > numbers["bytes"], "{forced:?} {numbers:?}");
    let restored = json(&town.ctl(&["restore", "0001", "--json", "--storage=default"]).run().expect_code(3));
    assert_eq!(
        (restored["storages"][0]["items"].as_u64(), restored["failures_total"].as_u64()),
        (Some(1), Some(1))
    );
    // Nothing would come of it.
    assert_eq!(read(&town.plan(&["--storage=default"], 1))["refused"], 2);
    let found = town.plan(&["--storage=default", "--repository=a.git", "--repository=bb.git", "--force"], 3);
    let next = text(&found["failures"][0]["problem"]["next"]);
    assert!(next.contains("did you mean b.git?"), "{found:#}");
    let told = town.ctl(&["restore", "0001", "--dry-run", "--storage=default"]).run().expect_code(1).stdout;
    assert!(told.contains("2 refused, because something is there"), "{told}");
}

#[test]
fn there_must_be_room_for_all_that_goes_to_one_file_system() {
    let site = Site::new();
    for storage in ["one", "two"] {
        let repo = site.repo(&format!("{storage}/large.git"));
        repo.commit("main", &[("noise", noise(storage.len() as u64, 3 << 20))]);
    }
    fs::create_dir(site.folder("disk").join("x")).expect("create folder");
    let config = |folder: &str| {
        format!(
            "[vault]\nurl = '{}'\n{}{}",
            site.vault_url(),
            site.storage_section("default", &format!("{folder}one")),
            site.storage_section("second", &format!("{folder}two"))
        )
    };
    site.write("packhorse.toml", &config(""));
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    let Some(_disk) = Disk::mount(site.path("disk"), "5m") else { return };
    site.write("small.toml", &config("disk/"));
    let refused = json(&site.ctl("small.toml", ["restore", "0001", "--json"]).run().expect_code(1));
    assert_eq!(refused["failures"].as_array().map(Vec::len), Some(2), "{refused:#}");
    let answer = text(&refused["error"]["answer"]);
    assert!(answer.contains("all that goes to the same file system"), "{answer}");
    assert!(names(&site.path("disk/one")).is_empty() && names(&site.path("disk/two")).is_empty());
    // Each of them fits.
    site.ctl("small.toml", ["restore", "0001", "--storage=second"]).run().expect_success();
    let refused = site.ctl("small.toml", ["restore", "0001", "--storage=default"]).run().expect_code(1);
    assert!(refused.stderr.contains("has room for"), "{refused:#?}");
    // What is there makes place when it is replaced, and both are there for a while.
    site.ctl("small.toml", ["restore", "0001", "--storage=second", "--force"]).run().expect_code(1);
}

/// As a `backupctl` or an agent of another process holds it: an agent has one job for a storage, processes know each other by
/// a lock.
#[test]
fn a_storage_that_another_process_restores_into_is_refused_as_busy() {
    let site = Site::new();
    site.repo("one/a.git").fill("main", 2);
    let section = site.storage_section("default", "one");
    site.write("packhorse.toml", &format!("[vault]\nurl = '{}'\n{section}", site.vault_url()));
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    ctl(&["create", "--backup-id=0001"]).run().expect_success();
    let folder = site.path("one/+packhorse/restore-0007-x");
    fs::create_dir_all(&folder).expect("create folder");
    let lock = fs::File::create(folder.join("lock")).expect("create lock");
    lock.lock().expect("lock");
    let before = names(&site.path("one"));
    let refused = ctl(&["restore", "0001", "--force"]).run().expect_code(14);
    assert!(refused.stderr.contains("busy with another restore of 0007"), "{refused:#?}");
    let is_new = |name: &&PathBuf| !before.contains(name) && !name.ends_with("restore.lock");
    assert_eq!(names(&site.path("one")).iter().filter(is_new).count(), 0);
    // A backup goes on beside it.
    ctl(&["create", "--backup-id=0002"]).run().expect_success();
    drop(lock);
    ctl(&["restore", "0001", "--force"]).run().expect_success();
}

/// A storage `git` with these repositories, of which backup 0001 is in the vault.
fn backed_up(repositories: &[&str]) -> Site {
    let site = Site::new();
    for path in repositories {
        site.repo(path).fill("main", 1);
    }
    let section = site.storage_section("default", "git");
    site.write("packhorse.toml", &format!("[vault]\nurl = '{}'\n{section}", site.vault_url()));
    site.ctl("packhorse.toml", []).args(["create", "--backup-id=0001"]).run().expect_success();
    site
}

#[test]
fn a_file_system_that_is_mounted_in_a_storage_is_found_by_a_dry_run_too() {
    let site = backed_up(&["git/g/a.git", "git/b.git"]);
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    fs::rename(site.path("git"), site.path("was")).expect("move away");
    let Some(_disk) = Disk::mount(site.folder("git/g"), "16m") else { return };
    let planned = json(&ctl(&["restore", "0001", "--dry-run", "--json"]).run().expect_code(3));
    assert_eq!((&planned["storages"][0]["new"], &planned["storages"][0]["refused"]), (&1.into(), &1.into()));
    let restored = json(&ctl(&["restore", "0001", "--json"]).run().expect_code(3));
    for told in [&planned, &restored] {
        assert_eq!(text(&told["failures"][0]["item"]), "g/a.git", "{told:#}");
        assert!(text(&told["failures"][0]["problem"]["answer"]).contains("is mounted here"), "{told:#}");
    }
    assert!(site.path("git/b.git/HEAD").exists());
}

#[test]
fn a_file_system_that_is_mounted_in_a_repository_is_found_by_a_dry_run_and_keeps_its_files() {
    let site = backed_up(&["git/a.git", "git/b.git"]);
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", []).args(args);
    let Some(_disk) = Disk::mount(site.folder("git/a.git/custom_hooks"), "16m") else { return };
    let precious = site.path("git/a.git/custom_hooks/precious");
    fs::write(&precious, "precious").expect("write file");
    let planned = json(&ctl(&["restore", "0001", "--force", "--dry-run", "--json"]).run().expect_code(3));
    let refused = |told: &Value| {
        assert_eq!(text(&told["failures"][0]["item"]), "a.git", "{told:#}");
        let problem = &told["failures"][0]["problem"];
        assert!(text(&problem["answer"]).contains("a file system is mounted in it"), "{told:#}");
        assert!(text(&problem["next"]).starts_with("unmount it"), "{told:#}");
    };
    refused(&planned);
    // As often as somebody tries.
    for _ in 0..2 {
        refused(&json(&ctl(&["restore", "0001", "--force", "--json"]).run().expect_code(3)));
        assert_eq!(fs::read_to_string(&precious).expect("kept"), "precious");
        assert!(!site.path("git/+packhorse").exists());
    }
}
