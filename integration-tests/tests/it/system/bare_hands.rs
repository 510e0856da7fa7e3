//! A vault is readable without Packhorse: `scripts/restore-by-hand.sh` has git and a few small tools do it.
//!
//! Does not own: every kind of repository; `world::replay` does that for all of them. Here it is the script in the
//! project that must work as it stands, and refuse what is damaged.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Output};

use packhorse_testkit::{PostgresServer, TreeState, hermetic_command, run_checked};

use super::site::{Site, assert_restored};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/restore-by-hand.sh");

fn by_hand(site: &Site, repository: &str, target: &Path) -> Output {
    let mut script = hermetic_command(SCRIPT);
    script.arg(site.path("vault")).args(["0002", "default", repository]).arg(target);
    script.output().expect("the script starts")
}

#[test]
fn one_repository_is_restored_by_git_and_small_tools() {
    let site = Site::new();
    site.write(
        "packhorse.toml",
        &format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage")),
    );
    let repo = site.repo("storage/group/a b.git");
    repo.fill("main", 10);
    repo.commit("short-lived", &[("file", "text")]);
    repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
    let hook = repo.path().join("custom_hooks/pre-receive");
    fs::create_dir(repo.path().join("custom_hooks")).expect("create hooks");
    fs::write(&hook, "#!/bin/sh\n").expect("write hook");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set mode");
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    let tip = repo.fill("main", 5);
    repo.tag_annotated("v1", &tip);
    repo.delete_ref("refs/heads/short-lived");
    repo.set_head("refs/heads/unborn");
    site.ctl("packhorse.toml", ["create", "--backup-id=0002"]).run().expect_success();

    let target = site.path("by-hand.git");
    let output = by_hand(&site, "group/a b.git", &target);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_restored(&repo.state(), &target);

    let bundle = site.path("vault/default/group/a b.git/0001/001.bundle");
    let mut bytes = fs::read(&bundle).expect("read bundle");
    *bytes.last_mut().expect("a bundle has bytes") ^= 1;
    fs::write(&bundle, bytes).expect("damage bundle");
    let output = by_hand(&site, "group/a b.git", &site.path("damaged.git"));
    assert!(!output.status.success(), "damage was not seen");
    assert!(String::from_utf8_lossy(&output.stdout).contains("001.bundle: FAILED"), "{output:?}");
    assert!(!site.path("damaged.git").exists(), "something was made of damaged files");
}

#[test]
fn a_database_and_a_directory_are_restored_as_the_script_says() {
    let (site, server) = (Site::new(), PostgresServer::start());
    server.create_database("forge");
    server.psql("forge", "CREATE TABLE users (id int); INSERT INTO users VALUES (1), (2);");
    fs::write(site.folder("uploads").join("file"), "text").expect("write file");
    let config = format!(
        "[vault]\nurl = '{}'\n[[directory]]\nname = 'uploads'\npath = '{}'\n[[database]]\nname = 'main'\nurl = '{}'\n",
        site.vault_url(),
        site.path("uploads").display(),
        server.url("forge")
    );
    site.write("packhorse.toml", &config);
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();

    server.create_database("back");
    let dump = site.path("vault/backups/0001/db/database.sql.gz");
    let plain = run_checked(hermetic_command("gzip").arg("-dc").arg(dump)).stdout;
    let mut psql = hermetic_command(server.binaries().join("psql"));
    psql.args(["--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", &server.url("back")]);
    packhorse_testkit::run_with_input(&mut psql, &plain);
    assert_eq!(server.table_checksums("back"), server.table_checksums("forge"));

    let archive = site.path("vault/backups/0001/uploads.tar.gz");
    run_checked(hermetic_command("tar").arg("-xzpf").arg(archive).arg("-C").arg(site.folder("back")));
    TreeState::assert_same(&TreeState::of(site.path("uploads")), &TreeState::of(site.path("back")));
}
