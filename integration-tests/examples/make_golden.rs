//! Writes a golden archive: `cargo build --workspace --bins && cargo run -p packhorse-integration-tests --example
//! make_golden -- integration-tests/golden/format-N`.
//!
//! Does not own: the test that restores it (`tests/it/system/golden.rs`). Run it once for a new format, on the oldest
//! supported PostgreSQL; it refuses a folder that exists, because an archive is never edited. The journals in the vault
//! name the host: `unshare --uts sh -c 'hostname golden && cargo run …'` gives it a name that means nothing.

#[path = "../tests/it/system/golden/expected.rs"]
mod expected;

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use expected::REPOSITORIES;
use packhorse_testkit::{Backupctl, GitRepo, PostgresServer, hermetic_command, run_checked};
use serde_json::{Value, json};

fn main() {
    let target = PathBuf::from(env::args_os().nth(1).expect("usage: make_golden FOLDER"));
    fs::create_dir(&target).expect("the folder must not exist: a golden archive is never edited");
    let target = fs::canonicalize(&target).expect("the folder was just made");
    let work = tempfile::tempdir().expect("temporary folder");
    let server = PostgresServer::start();
    server.create_database("main");
    let (storage, uploads) = (work.path().join("storage"), work.path().join("uploads"));
    fs::create_dir(&uploads).expect("create uploads");
    let config = format!(
        "[vault]\nurl = '{}'\n[run]\ninstance_version = '18.1.0'\n[[storage]]\nname = 'default'\npath = '{}'\n\
         [[directory]]\nname = 'uploads'\npath = '{}'\n[[database]]\nname = 'main'\nurl = '{}'\n",
        Backupctl::vault_made(format!("file://{}", target.join("vault").display())),
        storage.display(),
        uploads.display(),
        server.url("main"),
    );
    let file = work.path().join("packhorse.toml");
    fs::write(&file, config).expect("write configuration");

    let mut all = Value::Null;
    // A repository of the second backup is damaged.
    for (id, make, code) in [("0001", first as fn(&Path, &Path, &PostgresServer), 0), ("0002", second, 3)] {
        make(&storage, &uploads, &server);
        all[id] = expected::describe(&storage, &uploads, &server.table_checksums("main"));
        Backupctl::new()
            .arg("create")
            .arg("--config")
            .arg(&file)
            .args(["--backup-id", id])
            .run()
            .expect_code(code);
    }
    let text = serde_json::to_string_pretty(&json!(all)).expect("JSON can be written");
    fs::write(target.join("expected.json"), text + "\n").expect("write expected.json");
    // The vault is readable by its owner only; in the project's tree it is for everybody.
    run_checked(hermetic_command("chmod").args(["-R", "a+rX"]).arg(&target));
}

/// A repository that the second backup lacks, and one that has a broken ref then.
const GONE: &str = "group/gone.git";
const DAMAGED: &str = "group/damaged.git";

fn first(storage: &Path, uploads: &Path, server: &PostgresServer) {
    let [sha1, sha256, empty] = REPOSITORIES.map(|path| storage.join(path));
    let sha1 = GitRepo::init_with(sha1, &["--object-format=sha1"]);
    let tip = sha1.commit("main", &[("README", "first\n"), ("folder/file", "file\n")]);
    sha1.tag_annotated("v1", &tip);
    sha1.update_ref("refs/heads/gone-later", &tip);
    sha1.symbolic_ref("refs/heads/alias", "refs/heads/main");
    let hooks = sha1.path().join("custom_hooks");
    fs::create_dir_all(hooks.join("pre-receive.d")).expect("create hooks");
    fs::write(hooks.join("pre-receive.d/check"), "#!/bin/sh\nexit 0\n").expect("write hook");
    fs::set_permissions(hooks.join("pre-receive.d/check"), Permissions::from_mode(0o755)).expect("set mode");
    symlink("pre-receive.d/check", hooks.join("update")).expect("make link");
    let sha256 = GitRepo::init_with(sha256, &["--object-format=sha256"]);
    sha256.commit("trunk", &[("file", "sha256\n")]);
    sha256.set_head("refs/heads/trunk");
    GitRepo::init(empty);
    for path in [GONE, DAMAGED] {
        GitRepo::init(storage.join(path)).commit("main", &[("file", path)]);
    }

    fs::create_dir(uploads.join("sub")).expect("create folder");
    fs::write(uploads.join("sub/picture"), [0, 1, 2, 0xff]).expect("write file");
    symlink("sub/picture", uploads.join("link")).expect("make link");
    server.psql(
        "main",
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'Ada'), (2, NULL);",
    );
}

fn second(storage: &Path, uploads: &Path, server: &PostgresServer) {
    let sha1 = GitRepo::open(storage.join(REPOSITORIES[0]));
    let tip = sha1.commit("main", &[("README", "second\n")]);
    sha1.update_ref(b"refs/heads/caf\xc3\xa9", &tip);
    sha1.delete_ref("refs/heads/gone-later");
    sha1.detach_head(&tip);
    fs::remove_dir_all(storage.join(GONE)).expect("delete a repository");
    fs::write(storage.join(DAMAGED).join("refs/heads/broken"), "junk\n").expect("break a ref");
    fs::write(uploads.join("new"), "new\n").expect("write file");
    server.psql("main", "INSERT INTO users VALUES (3, 'Bea');");
}
