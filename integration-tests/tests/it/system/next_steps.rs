//! What somebody who knows only the documents does wrong, and the next step that is told: one that can be typed as it is.
//!
//! Does not own: how errors are put together, or the codes (`exit_codes`).

use std::fs;

use packhorse_testkit::{Backupctl, CliOutput, GitRepo, PostgresServer};

use super::{
    exit_codes::codes::assert_fails,
    site::{Site, assert_restored, json, text},
};

/// Two storages and a directory, all in backup 0001.
fn town() -> Site {
    let site = Site::new();
    site.repo("one/a.git").fill("main", 2);
    site.repo("two/b.git").fill("main", 2);
    fs::write(site.folder("uploads").join("file"), "content").expect("write file");
    site.write("packhorse.toml", &config(&site, &["default", "spare"]));
    ctl(&site, &["create", "--backup-id=0001"]).run().expect_success();
    site
}

/// A configuration with some of these storages.
fn config(site: &Site, storages: &[&str]) -> String {
    let folder = |name: &str| if name == "spare" { "two" } else { "one" };
    let storages: String = storages.iter().map(|name| site.storage_section(name, folder(name))).collect();
    let uploads = site.path("uploads").display().to_string();
    format!(
        "[vault]\nurl = '{}'\n{storages}[[directory]]\nname = 'uploads'\npath = '{uploads}'\n",
        site.vault_url()
    )
}

fn ctl(site: &Site, args: &[&str]) -> Backupctl {
    site.ctl("packhorse.toml", []).args(args)
}

/// The host is lost, and a new one has a place for one of the storages.
fn new_host() -> Site {
    let site = town();
    for folder in ["one", "two", "uploads"] {
        fs::rename(site.path(folder), site.path(&format!("was-{folder}"))).expect("lose it");
    }
    site.write("packhorse.toml", &config(&site, &["default"]));
    site
}

#[track_caller]
fn told(output: &CliOutput, words: &[&str]) {
    let said = format!("{}{}", output.stdout, output.stderr);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    words.iter().for_each(|word| assert!(said.contains(word), "no {word:?} in {said}"));
}

#[test]
fn a_storage_without_a_place_is_left_out_and_the_refusal_says_so() {
    let site = new_host();
    let refused = ctl(&site, &["restore", "latest"]).run().expect_code(10);
    told(
        &refused,
        &["no storage of this name is configured; known: default", "leave it out with --skip spare"],
    );
    assert!(!refused.stderr.contains("agent"), "{refused:#?}");
    let planned = ctl(&site, &["restore", "latest", "--skip=spare", "--dry-run"]).run().expect_success();
    let folder = site.path("one").display().to_string();
    told(&planned, &["without spare", &format!("storage default at {folder}")]);
    let planned = ctl(&site, &["restore", "latest", "--skip=spare", "--dry-run", "--json"]).run();
    let planned = json(&planned.expect_success());
    assert_eq!((&planned["skip"][0], text(&planned["storages"][0]["path"])), (&"spare".into(), folder));
    assert_eq!(planned["storages"].as_array().map(Vec::len), Some(1), "{planned:#}");

    let restored = json(&ctl(&site, &["restore", "latest", "--skip=spare", "--json"]).run().expect_success());
    assert_eq!(restored["skip"], serde_json::json!(["spare"]), "{restored:#}");
    assert_eq!(fs::read_to_string(site.path("uploads/file")).expect("read"), "content");
    assert_restored(&GitRepo::open(site.path("was-one/a.git")).state(), site.path("one/a.git"));
    assert!(!site.path("two").exists());
    let records = fs::read_dir(site.path("vault/packhorse/restores")).expect("records");
    let mut ids: Vec<String> =
        records.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    ids.retain(|id| id.ends_with(".json"));
    let shown: Vec<String> = ids
        .iter()
        .map(|id| ctl(&site, &["show", id.trim_end_matches(".json")]).run().expect_success().stdout)
        .collect();
    assert!(shown.iter().any(|shown| shown.contains("without spare")), "{shown:?}");
}

#[test]
fn what_is_left_out_is_one_thing_and_mistakes_name_what_there_is() {
    let site = new_host();
    let unknown = || ctl(&site, &["restore", "latest", "--skip=spaer"]);
    assert_fails(unknown, 2, "invalid", "configuration", "did you mean spare?");
    told(&unknown().run(), &["--skip takes a storage, too: default, spare"]);
    let only = || ctl(&site, &["restore", "latest", "--only=spare"]);
    assert_fails(only, 2, "invalid", "configuration", "a storage is selected with --storage spare");
    let both = || ctl(&site, &["restore", "latest", "--skip=spare", "--storage=spare"]);
    assert_fails(both, 2, "invalid", "configuration", "is both selected and left out");
    // A directory has the name of a storage: that is what is left out.
    let site = Site::new();
    site.repo("one/a.git").fill("main", 1);
    let twin = config(&site, &["default"]).replace("'uploads'\n", "'default'\n");
    fs::write(site.folder("uploads").join("file"), "content").expect("write file");
    site.write("packhorse.toml", &twin);
    ctl(&site, &["create", "--backup-id=0001"]).run().expect_success();
    let planned =
        ctl(&site, &["restore", "0001", "--skip=default", "--dry-run", "--force"]).run().expect_success();
    told(&planned, &["leaves out the component of that name, and not storage default", "storage default at"]);
    assert!(!planned.stdout.contains("directory"), "{planned:#?}");
    site.write("bare.toml", &format!("[vault]\nurl = '{}'\n", site.vault_url()));
    let bare = site.ctl("bare.toml", ["restore", "0001", "--skip=default"]).run().expect_code(10);
    told(&bare, &["or name the other storages with --storage"]);
}

#[test]
fn a_restore_beside_the_live_one_is_asked_for_by_two_flags() {
    let site = town();
    let look = site.folder("look").display().to_string();
    let place = format!("--storage=look={look}");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", ["restore", "0001"]).args(args);
    let alone = ctl(&[&place]).run().expect_code(10);
    told(&alone, &["to restore one of them into storage look, add --to-storage NAME=look"]);
    let folder = ctl(&[&format!("--to-storage=default={look}")]).run().expect_code(2);
    told(&folder, &[&format!("--storage spare={look} --to-storage default=spare")]);
    let nowhere = ctl(&["--to-storage=default=look"]).run().expect_code(10);
    told(&nowhere, &["say where it lies: --storage look=PATH"]);
    assert!(!nowhere.stderr.contains("agent"), "{nowhere:#?}");
    let missing =
        ctl(&["--storage=look=/nonexistent/look", "--to-storage=default=look"]).run().expect_code(2);
    told(&missing, &["there is no such folder", "correct the path on the command line: --storage look=PATH"]);
    ctl(&[&place, "--to-storage=default=look"]).run().expect_success();
    assert_restored(&GitRepo::open(site.path("one/a.git")).state(), site.path("look/a.git"));
    fs::remove_dir_all(site.path("one")).expect("remove a storage");
    told(&ctl(&["--storage=default"]).run().expect_code(2), &["correct its path in the configuration"]);
}

#[test]
fn going_on_over_another_state_says_what_replaces_it() {
    let site = town();
    GitRepo::open(site.path("one/a.git")).fill("other", 1);
    fs::remove_dir_all(site.path("two/b.git")).expect("remove a repository");
    fs::create_dir(site.path("two/b.git")).expect("make something else");
    let going_on = ["restore", "0001", "--skip-existing", "--only=repositories", "--json"];
    for more in [&[][..], &["--dry-run"]] {
        let output = ctl(&site, &going_on).args(more).run().expect_code(1);
        told(&output, &["another state of it is there than the backup has", "replace it with --force"]);
        told(&output, &["something is there that is no repository"]);
        assert!(!output.stdout.contains("--skip-existing goes on"), "{output:#?}");
    }
}

#[test]
fn a_dry_run_of_what_it_does_not_look_at_says_that() {
    let site = town();
    let call = || ctl(&site, &["create", "--only=uploads", "--dry-run"]);
    assert_fails(call, 2, "invalid", "configuration", "a dry run looks at repositories only");
    told(&call().run(), &["a run would back up uploads", "run without --dry-run"]);
}

#[test]
fn what_is_in_the_way_is_named_with_its_place() {
    let (site, server) = (Site::new(), PostgresServer::start());
    server.create_database("forge");
    server.psql("forge", "CREATE TABLE t (n int)");
    let secret = "geheim";
    let url = format!("postgresql://postgres:{secret}@127.0.0.1:{}/forge", server.port());
    let with = |url: &str, folder: &str| {
        let directory =
            format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.path(folder).display());
        let database = format!("[[database]]\nname = 'main'\nurl = '{url}'\n");
        site.write(
            "packhorse.toml",
            &format!("[vault]\nurl = '{}'\n{database}{directory}", site.vault_url()),
        );
    };
    fs::write(site.folder("uploads").join("file"), "content").expect("write file");
    with(&url, "uploads");
    ctl(&site, &["create", "--backup-id=0001"]).run().expect_success();
    let folder = site.path("uploads").display().to_string();
    let database = format!("database main at 127.0.0.1:{}/forge", server.port());
    for more in [&["--dry-run"][..], &[]] {
        let refused = ctl(&site, &["restore", "0001"]).args(more).run().expect_code(1);
        told(&refused, &[&database, &folder, "not empty"]);
        assert!(!format!("{refused:?}").contains(secret), "{refused:#?}");
    }
    // A login that is mistyped is not a role that the dump names.
    let by_socket = server.socket_url("forge");
    with(&by_socket.replace("user=postgres", "user=nobody"), "uploads");
    let refused = ctl(&site, &["restore", "0001", "--only=db"]).run().expect_code(1);
    let socket = format!("database main at {}:{}/forge", server.socket_dir().display(), server.port());
    told(&refused, &[&socket, "correct the user of the database's url"]);
    with(&url, "nowhere");
    let failed = ctl(&site, &["create"]).run().expect_code(3);
    let nowhere = site.path("nowhere").display().to_string();
    told(&failed, &[&nowhere, "No such file or directory (os error 2)"]);
}

#[test]
fn an_id_that_is_too_short_names_the_newest_restores() {
    let site = town();
    for folder in ["back", "more"] {
        let place = format!("--storage=back={}", site.folder(folder).display());
        ctl(&site, &["restore", "0001", &place, "--to-storage=default=back"]).run().expect_success();
    }
    let records = fs::read_dir(site.path("vault/packhorse/restores")).expect("records");
    let names = records.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let ids: Vec<String> = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    let short = ctl(&site, &["show", "restore-"]).run().expect_code(2);
    told(&short, &["2 restores begin so, the newest first: ", "name more of the ID"]);
    ids.iter().for_each(|id| told(&short, &[id]));
}

#[test]
fn the_name_of_a_run_leads_to_its_backup() {
    let site = town();
    let journal = fs::read(site.path("vault/packhorse/runs/0001/run.json")).expect("a journal");
    let journal: serde_json::Value = serde_json::from_slice(&journal).expect("JSON");
    let name = text(&journal["attempt"]);
    let shown = ctl(&site, &["show", &name]).run().expect_code(10);
    told(&shown, &["it is the name of a run, whose backup is 0001", "run `backupctl show 0001`"]);
    ctl(&site, &["show", "0a8f5d7c-3b51-4c43-9d5e-4f1f34c2a111"]).run().expect_code(10);
}

#[test]
fn the_last_good_state_of_a_damaged_repository_is_within_reach_of_what_is_told() {
    let site = Site::new();
    let repo = site.repo("one/lib/core.git");
    repo.commit("main", &[("a", "1")]);
    let tip = repo.tip("refs/heads/main").expect("a commit");
    repo.update_ref("refs/heads/side", &tip);
    site.write(
        "packhorse.toml",
        &format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "one")),
    );
    ctl(&site, &["create", "--backup-id=good"]).run().expect_success();
    let good = repo.state();
    fs::write(repo.path().join("refs/heads/side"), "").expect("damage a ref");
    let created = ctl(&site, &["create", "--backup-id=bad"]).run().expect_code(3);
    let fsck = format!("`git --git-dir={} fsck --full` shows what is damaged", repo.path().display());
    let restore = "`backupctl restore ID --repository lib/core.git --as-of-last-good --force`";
    told(&created, &[&fsck, restore, "`backupctl find lib/core.git`"]);
    let failure =
        json(&ctl(&site, &["show", "bad", "--json"]).run().expect_success())["report"]["failures"][0].clone();
    let state = text(&failure["problem"]["state"]);
    assert!(state.ends_with("the last run in which nothing was left out is good"), "{state}");

    let show = ["show", "bad", "--storage=default"];
    told(&ctl(&site, &show).run().expect_success(), &["(last good: backup good)"]);
    let line = |id: &str| {
        let shown = json(&ctl(&site, &["show", id, "--storage=default", "--json"]).run().expect_success());
        shown["storages"][0]["repositories"][0]["damage"]["last_good"].clone()
    };
    assert_eq!(text(&line("bad")["backup_id"]), "good");
    // A run that committed nothing is no backup that could be named.
    fs::rename(site.path("vault/backups/good"), site.path("away")).expect("take the backup away");
    assert!(line("bad")["backup_id"].is_null(), "{:#}", line("bad"));
    told(&ctl(&site, &show).run().expect_success(), &["restore --as-of-last-good brings it back"]);
    fs::rename(site.path("away"), site.path("vault/backups/good")).expect("put it back");
    let call = ["restore", "bad", "--repository=lib/core.git", "--as-of-last-good", "--force"];
    ctl(&site, &call).run().expect_success();
    assert_restored(&good, repo.path());
}

#[test]
fn a_vault_id_that_forbids_a_new_vault_is_the_reason_that_is_told() {
    let site = Site::new();
    site.write(
        "packhorse.toml",
        &format!("[vault]\nurl = 'file://{}'\nvault_id = 'v7'\n", site.path("vault").display()),
    );
    for exists in [false, true] {
        if exists {
            site.folder("vault");
        }
        for args in [&["create"][..], &["create", "--init"], &["vault", "init"], &["list"]] {
            let call = || ctl(&site, args);
            assert_fails(call, 13, "not_found", "vault", "the configuration has vault_id v7");
            let output = call().run();
            told(&output, &["remove vault_id from the configuration, run `backupctl vault init`"]);
            assert!(!output.stderr.contains("coordinator's host"), "{output:#?}");
            assert_eq!(site.path("vault").exists(), exists, "{args:?}");
        }
    }
}
