//! The main job: a site with storages, databases and directories, night after night into a real object store, and back.
//!
//! Does not own: failures. Everything is named by one configuration file; the restore is done with another one that
//! names other places.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use packhorse_testkit::{Backupctl, CephGateway, GitRepo, PostgresServer, RepoState, TreeState};

use super::site::{Site, assert_restored, json, listed, noise, text};

const REPOSITORIES: [&str; 4] =
    ["one/@hashed/aa/bb.git", "one/group/app.git", "two/wiki.git", "two/large.git"];
const FOLDERS: [&str; 2] = ["uploads", "lfs"];

/// Everything that a backup has to bring back.
struct State {
    repositories: Vec<RepoState>,
    folders: Vec<TreeState>,
    databases: Vec<std::collections::BTreeMap<String, String>>,
}

struct Whole {
    site: Site,
    server: PostgresServer,
}

impl Whole {
    fn new() -> Self {
        let whole = Self { site: Site::new(), server: PostgresServer::start() };
        for (number, path) in REPOSITORIES.iter().enumerate() {
            whole.site.repo(path).fill("main", 20 + number);
        }
        // Sent in parts, and fetched by ranges.
        let large = GitRepo::open(whole.site.path(REPOSITORIES[3]));
        large.commit("main", &[("noise", noise(4, 20 << 20))]);
        large.repack();
        for folder in FOLDERS {
            let folder = whole.site.folder(folder);
            fs::create_dir(folder.join("sub")).expect("create folder");
            fs::write(folder.join("sub/file"), format!("in {}", folder.display())).expect("write file");
            fs::write(folder.join("tool"), "#!/bin/sh\n").expect("write file");
            fs::set_permissions(folder.join("tool"), fs::Permissions::from_mode(0o4755)).expect("set mode");
            symlink("sub/file", folder.join("link")).expect("make link");
        }
        for database in ["forge", "forge_ci"] {
            whole.server.create_database(database);
            whole.server.psql(
                database,
                "CREATE TABLE users (id serial PRIMARY KEY, name text, face bytea); \
                 INSERT INTO users (name, face) SELECT 'user ' || n, decode(md5(n::text), 'hex') \
                 FROM generate_series(1, 500) AS n;",
            );
        }
        whole
    }

    /// Writes a configuration whose storages and directories lie below `prefix` and whose databases end in `suffix`.
    fn configure(&self, file: &str, vault: &str, prefix: &str, suffix: &str) {
        let mut config = format!("[vault]\n{vault}[run]\ninstance_version = '18.1.0'\n");
        for (name, folder) in [("default", "one"), ("second", "two")] {
            config += &self.site.storage_section(name, &format!("{prefix}{folder}"));
        }
        for (name, database) in [("main", "forge"), ("ci", "forge_ci")] {
            let url = self.server.url(&format!("{database}{suffix}"));
            config += &format!("[[database]]\nname = '{name}'\nurl = '{url}'\n");
        }
        for folder in FOLDERS {
            let path = self.site.path(&format!("{prefix}{folder}"));
            config += &format!("[[directory]]\nname = '{folder}'\npath = '{}'\n", path.display());
        }
        self.site.write(file, &config);
    }

    fn ctl<const N: usize>(&self, config: &str, args: [&str; N]) -> Backupctl {
        let gateway = CephGateway::shared();
        let keys =
            [("AWS_ACCESS_KEY_ID", gateway.access_key()), ("AWS_SECRET_ACCESS_KEY", gateway.secret_key())];
        self.site.ctl(config, args).envs(keys)
    }

    fn state(&self) -> State {
        State {
            repositories: REPOSITORIES.map(|path| GitRepo::open(self.site.path(path)).state()).to_vec(),
            folders: FOLDERS.map(|folder| TreeState::of(self.site.path(folder))).to_vec(),
            databases: ["forge", "forge_ci"].map(|name| self.server.table_checksums(name)).to_vec(),
        }
    }

    fn change(&self) {
        let app = GitRepo::open(self.site.path(REPOSITORIES[1]));
        let tip = app.fill("main", 5);
        app.tag_annotated("v1", &tip);
        GitRepo::open(self.site.path(REPOSITORIES[2])).set_head("refs/heads/elsewhere");
        fs::write(self.site.path("uploads/new"), "new").expect("write file");
        fs::remove_file(self.site.path("uploads/link")).expect("remove link");
        self.server.psql("forge_ci", "DELETE FROM users WHERE id < 100; CREATE TABLE builds (id int);");
    }

    /// Restores a backup into fresh places and compares all of it.
    fn assert_restores(&self, id: &str, vault: &str, expected: &State) {
        let (prefix, suffix, file) = (format!("back-{id}/"), format!("_{id}"), format!("back-{id}.toml"));
        self.site.folder(&prefix);
        self.configure(&file, vault, &prefix, &suffix);
        for database in ["forge", "forge_ci"] {
            self.server.create_database(&format!("{database}{suffix}"));
        }
        self.ctl(&file, ["restore", id]).run().expect_success();
        for (path, state) in REPOSITORIES.iter().zip(&expected.repositories) {
            assert_restored(state, self.site.path(&format!("{prefix}{path}")));
        }
        for (folder, state) in FOLDERS.iter().zip(&expected.folders) {
            TreeState::assert_same(state, &TreeState::of(self.site.path(&format!("{prefix}{folder}"))));
        }
        for (database, sums) in ["forge", "forge_ci"].iter().zip(&expected.databases) {
            assert_eq!(*sums, self.server.table_checksums(&format!("{database}{suffix}")), "{database}");
        }
    }
}

#[test]
fn a_site_with_databases_goes_to_ceph_and_comes_back_at_every_point() {
    let (gateway, whole) = (CephGateway::shared(), Whole::new());
    gateway.create_bucket("whole");
    let vault = format!(
        "url = 's3://whole/night/ly'\nendpoint = '{}'\nregion = '{}'\npath_style = true\n",
        gateway.endpoint(),
        gateway.region()
    );
    whole.configure("packhorse.toml", &vault, "", "");
    let before = whole.state();
    let first = json(
        &whole
            .ctl("packhorse.toml", ["create", "--init", "--json", "--backup-id", "0001"])
            .run()
            .expect_success(),
    );
    assert_eq!(
        (first["state"].as_str(), first["repositories"]["backed_up"].as_u64()),
        (Some("complete"), Some(4))
    );
    assert_eq!(first["databases"].as_array().map(Vec::len), Some(2));

    whole.change();
    let after = whole.state();
    let output = whole.ctl("packhorse.toml", ["create", "--incremental"]).run().expect_success();
    assert!(output.stdout.contains("built on      0001"), "{}", output.stdout);
    assert!(
        output.stdout.contains("4 in 2 storages: 2 backed up, 2 unchanged, 0 failed"),
        "{}",
        output.stdout
    );

    let ids = listed(whole.ctl("packhorse.toml", []));
    assert_eq!((ids.len(), ids[1].as_str()), (2, "0001"));
    assert!(ids[0].ends_with("_18.1.0"), "{ids:?}");
    let shown = json(
        &whole
            .ctl("packhorse.toml", ["show", "latest", "--json", "--storage", "default"])
            .run()
            .expect_success(),
    );
    assert_eq!(text(&shown["information"]["base_backup_id"]), "0001");
    let paths: Vec<String> = shown["storages"][0]["repositories"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| text(&line["path"]))
        .collect();
    assert_eq!(paths, ["@hashed/aa/bb.git", "group/app.git"]);

    whole.assert_restores(&ids[0], &vault, &after);
    whole.assert_restores("0001", &vault, &before);
    let keys = gateway.keys("whole");
    assert!(keys.iter().all(|key| key.starts_with("night/ly/")), "{keys:?}");
    assert!(keys.contains(&"night/ly/backups/0001/db/ci_database.sql.gz".to_owned()), "{keys:?}");
    assert!(gateway.list_uploads("whole").is_empty());
}
