//! The damage matrix: every object of a vault, damaged in every way, and a restore that must see it.
//!
//! Does not own: which check finds what. A restore of a damaged vault ends in one of two ways: with exit code 0 and
//! exactly what was backed up, because it did not need the object, or with another code, the name of the item or of
//! the object, and nothing in any target but what was backed up. Never exit code 0 with anything else.

mod harm;
mod indices;
mod matrix;
mod record;
mod remarks;

use std::{collections::BTreeMap, fs, path::Path};

use packhorse_testkit::{CliOutput, GitRepo, PostgresServer, RepoState, TreeState};

use self::harm::Harm;
use super::site::{Site, objects};

/// The backup that is restored; `0001` is the one that it builds on.
const ID: &str = "0002";
const REPOSITORIES: [&str; 2] = ["a.git", "b.git"];

/// A vault with two backups, and what the second one has to bring back.
struct Original {
    site: Site,
    server: PostgresServer,
    repositories: Vec<RepoState>,
    folder: TreeState,
    tables: BTreeMap<String, String>,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Original {
    fn new() -> Self {
        let (site, server) = (Site::new(), PostgresServer::start());
        let uploads = site.folder("uploads");
        fs::write(uploads.join("file"), "first").expect("write file");
        server.create_database("forge");
        server.psql("forge", "CREATE TABLE users (id int); INSERT INTO users VALUES (1), (2);");
        for path in REPOSITORIES {
            let repo = site.repo(&format!("storage/{path}"));
            repo.fill("main", 3);
            fs::create_dir(repo.path().join("custom_hooks")).expect("create hooks");
            fs::write(repo.path().join("custom_hooks/pre-receive"), format!("#!/bin/sh\n# {path}\n"))
                .expect("write hook");
        }
        let original = Self {
            site,
            server,
            repositories: Vec::new(),
            folder: TreeState::of(&uploads),
            tables: BTreeMap::new(),
            objects: BTreeMap::new(),
        };
        original.create("0001");
        for path in REPOSITORIES {
            GitRepo::open(original.site.path("storage").join(path)).fill("main", 2);
        }
        fs::write(uploads.join("file"), "second").expect("write file");
        original.server.psql("forge", "INSERT INTO users VALUES (3);");
        original.create(ID);
        indices::add(&original.site.path("vault"), ID);
        let read = |path| GitRepo::open(original.site.path("storage").join(path)).state();
        let (repositories, folder) = (REPOSITORIES.map(read).to_vec(), TreeState::of(&uploads));
        let tables = original.server.table_checksums("forge");
        let objects = objects(&original.site.path("vault"));
        Self { repositories, folder, tables, objects, ..original }
    }

    fn create(&self, id: &str) {
        let vault = self.site.path("vault");
        self.site.vault_url();
        let config = self.config("packhorse.toml", &vault, "", "forge");
        self.site.ctl(&config, ["create", "--backup-id", id]).run().expect_success();
    }

    fn config(&self, name: &str, vault: &Path, prefix: &str, database: &str) -> String {
        let text = format!(
            "[vault]\nurl = 'file://{}'\n{}[[directory]]\nname = 'uploads'\npath = '{}'\n\
             [[database]]\nname = 'main'\nurl = '{}'\n",
            vault.display(),
            self.site.storage_section("default", &format!("{prefix}storage")),
            self.site.path(&format!("{prefix}uploads")).display(),
            self.server.url(database),
        );
        self.site.write(name, &text);
        name.to_owned()
    }

    /// Restores from a damaged copy of the vault; says what is wrong with the outcome, if anything.
    fn restore(&self, number: usize, harm: Harm, key: &str, selector: &str) -> Result<bool, String> {
        let prefix = format!("case-{number}/");
        let place = self.site.folder(&prefix);
        let vault = place.join("vault");
        let mut objects = self.objects.clone();
        harm.apply(&mut objects, key);
        harm::write(&vault, &objects);
        let database = format!("case_{number}");
        let config = self.config(&format!("{prefix}packhorse.toml"), &vault, &prefix, &database);
        let victims = harm.victims(&self.objects, key);
        // A database takes long, so it is left out where only repositories can be hit.
        let skip_database =
            victims.iter().all(|key| !key.starts_with("backups/") && !key.starts_with("packhorse/"));
        if !skip_database {
            self.server.create_database(&database);
        }
        let call = self.site.ctl(&config, ["restore", selector, "--json"]);
        let call = if skip_database { call.arg("--skip=db") } else { call };
        let output = call.run();
        let tables = if skip_database { None } else { Some(self.server.table_checksums(&database)) };
        let verdict = self.judge(&output, &victims, &place, tables);
        fs::remove_dir_all(&place).expect("remove the case");
        verdict
    }

    /// Whether the damage was found; an error says what is wrong.
    fn judge(
        &self,
        output: &CliOutput,
        victims: &[String],
        place: &Path,
        tables: Option<BTreeMap<String, String>>,
    ) -> Result<bool, String> {
        let found = output.code != 0;
        let mut missing = Vec::new();
        for (path, state) in REPOSITORIES.iter().zip(&self.repositories) {
            let path_there = place.join("storage").join(path);
            if !path_there.exists() {
                missing.push(*path);
            } else if !state.differences(&GitRepo::open(&path_there).state()).is_empty() {
                return Err(format!("{path} is not what was backed up: {output:#?}"));
            }
        }
        match place.join("uploads") {
            folder if !folder.exists() => missing.push("uploads"),
            folder if self.folder.differences(&TreeState::of(&folder)).is_empty() => {}
            _ => return Err(format!("uploads is not what was backed up: {output:#?}")),
        }
        match tables {
            None => {}
            Some(tables) if tables.is_empty() => missing.push("main"),
            Some(tables) if tables == self.tables => {}
            Some(_) => return Err(format!("the database is not what was backed up: {output:#?}")),
        }
        let said = format!("{}{}", output.stdout, output.stderr);
        // A backup whose record is gone is no backup any more: then it is named itself.
        let named = victims.iter().any(|key| said.contains(key)) || output.code == 10 && said.contains(ID);
        // What was made good without an index that the manifest names is told.
        let hidden = victims.iter().find(|key| key.ends_with(".idx") && !said.contains(key.as_str()));
        let unnamed = missing.iter().any(|item| !said.contains(item)) && !named;
        let left = fs::read_dir(place.join("storage")).expect("the storage is there");
        let strays: Vec<_> = left
            .map(|entry| entry.expect("readable").file_name())
            .filter(|name| !REPOSITORIES.iter().any(|path| name == *path))
            .collect();
        match () {
            () if !found && !missing.is_empty() => {
                Err(format!("exit code 0 without {missing:?}: {output:#?}"))
            }
            () if found && missing.is_empty() => Err(format!("complained, but all is there: {output:#?}")),
            () if hidden.is_some() => Err(format!("nothing is said of {hidden:?}: {output:#?}")),
            () if unnamed => Err(format!("neither {missing:?} nor the object is named: {output:#?}")),
            () if !strays.is_empty() => Err(format!("left {strays:?} in the storage")),
            () => Ok(found),
        }
    }
}
