//! Nothing leaves a backup quietly: repositories, storages, databases and directories that earlier backups have, and
//! which backup `latest` is.
//!
//! Does not own: folders that cannot be read (`repositories::corrupt::as_nobody`).

use std::fs;

use packhorse_model::{RestoreSummary, RunState, RunSummary};
use packhorse_testkit::{Backupctl, CliOutput, GitRepo};

use super::{
    exit_codes::codes::assert_fails,
    site::{Site, assert_restored, json},
};

/// A site with these storages, and whatever else is written into its file.
fn site(storages: &[&str], more: &str) -> Site {
    let site = Site::new();
    configure(&site, storages, more);
    site
}

fn configure(site: &Site, storages: &[&str], more: &str) {
    let sections: Vec<String> = storages.iter().map(|name| site.storage_section(name, name)).collect();
    site.write(
        "packhorse.toml",
        &format!("[vault]\nurl = '{}'\n{}{more}", site.vault_url(), sections.concat()),
    );
}

fn ctl(site: &Site, args: &[&str]) -> Backupctl {
    site.ctl("packhorse.toml", []).args(args)
}

#[track_caller]
fn run(site: &Site, id: &str, args: &[&str], code: i32) -> RunSummary {
    let output = ctl(site, &["create", "--json", "--backup-id", id]).args(args).run().expect_code(code);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:#?}"))
}

/// What failed, as `storage item`.
fn failed(summary: &RunSummary) -> Vec<String> {
    let name = |failure: &packhorse_model::ItemFailure| match &failure.storage {
        Some(storage) => format!("{storage} {}", failure.item),
        None => failure.item.clone(),
    };
    summary.failures.iter().map(name).collect()
}

fn repositories(site: &Site, storage: &str, count: usize) {
    for number in 0..count {
        site.repo(&format!("{storage}/{number:02}.git")).commit("main", &[("a", &number.to_string())]);
    }
}

fn delete(site: &Site, storage: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        fs::remove_dir_all(site.path(&format!("{storage}/{number:02}.git"))).expect("delete a repository");
    }
}

#[test]
fn a_deleted_repository_is_named_once() {
    let site = site(&["default"], "");
    repositories(&site, "default", 3);
    run(&site, "0001", &[], 0);
    delete(&site, "default", 1..2);
    let second = run(&site, "0002", &[], 0);
    assert_eq!((second.repositories.gone, second.repositories.unchanged), (1, 2));
    assert_eq!(second.storages[0].gone, ["01.git"]);
    let shown = json(&ctl(&site, &["show", "0002", "--json", "--storage=default"]).run().expect_success());
    let line = &shown["storages"][0]["repositories"][1];
    assert_eq!((&line["path"], &line["outcome"]), (&"01.git".into(), &"gone".into()));
    assert!(line["manifest"].is_string(), "those who want it back find it: {line}");
    let third = run(&site, "0003", &[], 0);
    assert_eq!((third.repositories.gone, third.repositories.unchanged), (0, 2));
    // It was not there, so it is not brought back; and who asks for it is told.
    let place = format!("--storage=default={}", site.folder("back").display());
    ctl(&site, &["restore", "0002", &place]).run().expect_success();
    assert!(!site.path("back/01.git").exists() && site.path("back/00.git/HEAD").exists());
    ctl(&site, &["restore", "0002", &place, "--repository=01.git"]).run().expect_code(1);
    ctl(&site, &["restore", "0001", &place, "--repository=01.git"]).run().expect_success();
}

#[test]
fn a_storage_that_is_not_mounted_is_incomplete_each_night_and_goes_on_when_it_is_back() {
    let site = site(&["default", "second"], "");
    repositories(&site, "default", 1);
    repositories(&site, "second", 3);
    let state = GitRepo::open(site.path("second/02.git")).state();
    run(&site, "0001", &[], 0);
    fs::rename(site.path("second"), site.path("away")).expect("move away");
    site.folder("second");
    for id in ["0002", "0003", "0004"] {
        let summary = run(&site, id, &[], 3);
        assert_eq!(failed(&summary), ["second (whole storage)"], "{id}");
        assert_eq!((summary.repositories.gone, summary.storages[1].gone_unconfirmed), (3, 3));
        assert!(summary.failures[0].problem.next.as_ref().is_some_and(|next| next.contains("mounted")));
    }
    // `latest` is a backup that has them; the incomplete one brings them back, too, as they were.
    fs::remove_dir(site.path("second")).expect("remove the mount point");
    fs::rename(site.path("away"), site.path("second")).expect("move back");
    for (id, code) in [("latest", 0), ("0004", 3)] {
        let target = site.folder(&format!("back-{id}"));
        let pairs = [format!("--storage=spare={}", target.display()), "--to-storage=second=spare".into()];
        let output = ctl(&site, &["restore", id, "--json"]).args(&pairs).run().expect_code(code);
        let summary: RestoreSummary = serde_json::from_str(&output.stdout).expect("a summary");
        assert_eq!(summary.backup_state == RunState::Incomplete, code == 3, "{id}");
        assert_restored(&state, target.join("02.git"));
    }
    let back = run(&site, "0005", &[], 0);
    assert_eq!((back.repositories.unchanged, back.repositories.gone), (4, 0), "nothing is stored again");
}

#[test]
fn more_than_a_quarter_is_incomplete_until_somebody_confirms_it() {
    let site = site(&["default"], "[run]\nmax_gone = 0.5\n");
    repositories(&site, "default", 24);
    run(&site, "0001", &[], 0);
    delete(&site, "default", 0..12);
    run(&site, "0002", &[], 0);
    delete(&site, "default", 12..23);
    for id in ["0003", "0004"] {
        assert_eq!(failed(&run(&site, id, &[], 3)), ["default (whole storage)"]);
    }
    // Others are added: what is gone is a small share now, and still not confirmed.
    for number in 100..160 {
        site.repo(&format!("default/{number}.git")).commit("main", &[("a", "1")]);
    }
    run(&site, "0004b", &[], 3);
    run_fails(&site, &["--accept-gone", "other"]);
    let confirmed = run(&site, "0006", &["--accept-gone", "default"], 0);
    assert_eq!((confirmed.repositories.gone, confirmed.storages[0].gone_unconfirmed), (11, 0));
    assert_eq!(run(&site, "0007", &[], 0).repositories.gone, 0);
}

#[test]
fn what_leaves_the_configuration_is_missed_until_somebody_confirms_it() {
    let uploads = |site: &Site| {
        format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.folder("uploads").display())
    };
    let site = Site::new();
    configure(&site, &["default", "second"], &uploads(&site));
    repositories(&site, "default", 1);
    repositories(&site, "second", 1);
    run(&site, "0001", &[], 0);
    configure(&site, &["default"], "");
    for id in ["0002", "0003"] {
        let summary = run(&site, id, &[], 3);
        assert_eq!(failed(&summary), ["second (whole storage)", "uploads"], "{id}");
        assert!(summary.gone.iter().all(|part| !part.confirmed && part.last_backup.as_str() == "0001"));
    }
    // One is confirmed by a flag, the other by the configuration.
    assert_eq!(failed(&run(&site, "0004", &["--accept-gone=second"], 3)), ["uploads"]);
    assert_eq!(failed(&run(&site, "0005", &[], 3)), ["uploads"]);
    configure(&site, &["default"], "[run]\naccept_gone = ['uploads']\n");
    let summary = run(&site, "0006", &[], 0);
    assert!(summary.gone.iter().all(|part| part.confirmed), "{:?}", summary.gone);
    // What comes back is no stranger.
    configure(&site, &["default", "second"], &uploads(&site));
    assert_eq!(run(&site, "0007", &[], 0).repositories.unchanged, 2);
}

#[test]
fn what_failed_last_night_is_missed_when_it_leaves_the_configuration() {
    let uploads = |site: &Site| {
        format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.path("uploads").display())
    };
    let site = Site::new();
    site.folder("uploads");
    configure(&site, &["default"], &uploads(&site));
    repositories(&site, "default", 1);
    site.write("uploads/file", "content");
    run(&site, "0001", &[], 0);
    fs::rename(site.path("uploads"), site.path("away")).expect("move");
    run(&site, "0002", &[], 3);
    configure(&site, &["default"], "");
    for id in ["0003", "0004"] {
        let summary = run(&site, id, &[], 3);
        assert_eq!(failed(&summary), ["uploads"]);
        let told = summary.failures[0].problem.to_string();
        assert!(told.contains("backup 0001 has it"), "the run before failed on it: {told}");
    }
    run(&site, "0005", &["--accept-gone=uploads"], 0);
    // What was never in any backup is not missed.
    let dead = "[[database]]\nname = 'main'\nurl = 'postgresql://127.0.0.1:1/nowhere'\n";
    configure(&site, &["default"], dead);
    assert_eq!(failed(&run(&site, "0006", &[], 3)), ["main"]);
    configure(&site, &["default"], "");
    run(&site, "0007", &[], 0);
}

#[test]
fn a_night_that_fails_does_not_make_what_is_empty_the_next_one_complete() {
    let site = Site::new();
    let uploads = format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.folder("uploads").display());
    configure(&site, &["default"], &uploads);
    repositories(&site, "default", 12);
    site.write("uploads/file", "content");
    run(&site, "0001", &[], 0);
    // The directory is away for a night, and comes back without its files.
    fs::rename(site.path("uploads"), site.path("away")).expect("move");
    run(&site, "0002", &[], 3);
    site.folder("uploads");
    assert_eq!(failed(&run(&site, "0003", &[], 3)), ["uploads"]);
    // It is left out of the configuration for a night.
    configure(&site, &["default"], "");
    assert_eq!(failed(&run(&site, "0004", &[], 3)), ["uploads"]);
    configure(&site, &["default"], &uploads);
    assert_eq!(failed(&run(&site, "0005", &[], 3)), ["uploads"]);
    run(&site, "0006", &["--accept-gone=uploads"], 0);
    // All repositories are made anew, and then none can be read for a night.
    delete(&site, "default", 0..12);
    for number in 0..12 {
        site.repo(&format!("default/{number:02}.git"));
    }
    assert_eq!(failed(&run(&site, "0007", &[], 3)), ["default (whole storage)"]);
    let head = |number: usize| site.path(&format!("default/{number:02}.git/HEAD"));
    (0..12).for_each(|number| fs::rename(head(number), site.path(&format!("head{number}"))).expect("move"));
    assert_eq!(run(&site, "0008", &[], 3).repositories.failed, 12);
    (0..12).for_each(|number| fs::rename(site.path(&format!("head{number}")), head(number)).expect("move"));
    assert_eq!(failed(&run(&site, "0009", &[], 3)), ["default (whole storage)"]);
    run(&site, "0010", &["--accept-gone"], 0);
    run(&site, "0011", &[], 0);
}

#[test]
fn a_storage_that_is_named_means_its_repositories_only_and_is_not_everything() {
    let site = Site::new();
    let uploads = format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.folder("uploads").display());
    configure(&site, &["default", "second"], &uploads);
    repositories(&site, "default", 1);
    repositories(&site, "second", 1);
    run(&site, "0001", &[], 0);
    let named = run(&site, "0002", &["--storage=default"], 0);
    assert!(named.partial && named.directories.is_empty() && named.storages.len() == 1, "{named:?}");
    let both = run(&site, "0003", &["--storage=default", "--storage=second"], 0);
    assert!(both.partial && both.directories.is_empty(), "{both:?}");
    let with_uploads = run(&site, "0004", &["--storage=default", "--only=repositories", "--only=uploads"], 0);
    assert_eq!(with_uploads.directories.len(), 1);
    // `latest` is the newest of everything.
    let latest = |args: &[&str]| {
        let shown = json(&ctl(&site, &["show", "--json"]).args(args).run().expect_success());
        shown["information"]["backup_id"].as_str().map(str::to_owned)
    };
    assert_eq!(latest(&["latest"]).as_deref(), Some("0001"));
    assert_eq!(latest(&["latest", "--partial"]).as_deref(), Some("0004"));
    assert_fails(|| ctl(&site, &["show", "latest~1"]), 10, "not_found", "backup", "there is only one");
    // A restore of a partial one says what is not in it.
    fs::remove_dir_all(site.path("default/00.git")).expect("remove");
    let output = ctl(&site, &["restore", "0002"]).run().expect_success();
    assert!(output.stdout.contains("partial") && output.stdout.contains("directory uploads"), "{output:#?}");
}

#[test]
fn an_empty_storage_is_said_and_a_wrong_folder_refused() {
    let site = site(&["default"], "");
    let output = ctl(&site, &["create"]).run().expect_success();
    let note = output.stdout.lines().position(|line| line.contains("it holds no repositories; if it should"));
    let after = note.and_then(|at| output.stdout.lines().nth(at + 1));
    assert!(note.is_some() && !after.is_some_and(|line| line.contains("next:")), "one line: {output:#?}");
    let repo = site.repo("group/a.git");
    repo.commit("main", &[("a", "1")]);
    let create = |path: &str| ctl(&site, &["create", &format!("--storage=x={}", site.path(path).display())]);
    assert_fails(|| create("group/a.git"), 2, "invalid", "configuration", "it is a repository");
    let refused = create("group/a.git/objects").run().expect_code(2);
    assert!(refused.stderr.contains(&format!("{}\n", site.path("group").display())), "{refused:#?}");
    site.folder("links");
    std::os::unix::fs::symlink("../group/a.git", site.path("links/a.git")).expect("link");
    let refused = create("links").run().expect_code(2);
    assert!(refused.stderr.contains(&site.path("group/a.git").display().to_string()), "{refused:#?}");
}

#[test]
fn a_repository_that_became_a_link_or_lost_its_head_is_named_and_kept() {
    let site = site(&["default"], "");
    repositories(&site, "default", 3);
    fs::rename(site.path("default/01.git"), site.path("default/plain")).expect("rename");
    let state = GitRepo::open(site.path("default/00.git")).state();
    run(&site, "0001", &[], 0);
    fs::rename(site.path("default/00.git"), site.path("elsewhere.git")).expect("move");
    std::os::unix::fs::symlink("../elsewhere.git", site.path("default/00.git")).expect("link");
    fs::remove_file(site.path("default/plain/HEAD")).expect("remove HEAD");
    fs::remove_dir_all(site.path("default/plain/objects")).expect("remove objects");
    for id in ["0002", "0003"] {
        let summary = run(&site, id, &[], 3);
        assert_eq!(failed(&summary), ["default 00.git", "default plain"], "{id}");
        assert_eq!(summary.storages[0].passed_over.names, ["00.git"]);
    }
    let place = format!("--storage=default={}", site.folder("back").display());
    ctl(&site, &["restore", "0003", &place]).run().expect_code(3);
    assert_restored(&state, site.path("back/00.git"));
}

#[test]
fn quick_runs_take_ids_of_their_own() {
    let site = site(&["default"], "");
    repositories(&site, "default", 1);
    let created = |_| -> CliOutput { ctl(&site, &["create", "--quiet", "--json"]).run().expect_success() };
    let ids: std::collections::BTreeSet<String> =
        (0..40).map(created).map(|output| json(&output)["backup_id"].to_string()).collect();
    assert_eq!(ids.len(), 40);
}

#[test]
fn a_directory_or_a_storage_that_is_suddenly_empty_is_missed_each_night() {
    let site = Site::new();
    let uploads = format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.folder("uploads").display());
    configure(&site, &["default"], &uploads);
    repositories(&site, "default", 3);
    site.write("uploads/file", "content");
    run(&site, "0001", &[], 0);
    // Mount points without their file systems; a server has made its repositories anew.
    fs::remove_file(site.path("uploads/file")).expect("remove");
    delete(&site, "default", 0..3);
    for number in 0..3 {
        site.repo(&format!("default/{number:02}.git"));
    }
    for id in ["0002", "0003"] {
        let summary = run(&site, id, &[], 3);
        assert_eq!(failed(&summary), ["default (whole storage)", "uploads"], "{id}: {:?}", summary.failures);
        assert_eq!(summary.storages[0].emptied_unconfirmed, 3);
    }
    run(&site, "0004", &["--accept-gone=uploads"], 3);
    run(&site, "0005", &["--accept-gone=default"], 0);
    run(&site, "0006", &[], 0);
    let unknown = run_fails(&site, &["--accept-gone=upload"]);
    assert!(unknown.stderr.contains("did you mean uploads"), "{unknown:#?}");
}

#[test]
fn a_directory_of_which_only_folders_are_left_or_everything_is_excluded_is_missed_each_night() {
    let site = Site::new();
    let section = |exclude: &str| {
        let path = site.folder("uploads");
        format!("[[directory]]\nname = 'uploads'\npath = '{}'\nexclude = [{exclude}]\n", path.display())
    };
    configure(&site, &["default"], &section(""));
    repositories(&site, "default", 1);
    site.folder("uploads/a/b");
    site.folder("uploads/c");
    for file in ["a/b/one", "c/two", "three"] {
        site.write(&format!("uploads/{file}"), "content");
    }
    run(&site, "0001", &[], 0);
    configure(&site, &["default"], &section("'*'"));
    for id in ["0002", "0003"] {
        assert_eq!(failed(&run(&site, id, &[], 3)), ["uploads"], "{id}");
    }
    configure(&site, &["default"], &section(""));
    run(&site, "0004", &[], 0);
    for file in ["a/b/one", "c/two", "three"] {
        fs::remove_file(site.path(&format!("uploads/{file}"))).expect("remove");
    }
    for id in ["0005", "0006"] {
        assert_eq!(failed(&run(&site, id, &[], 3)), ["uploads"], "{id}");
    }
    run(&site, "0007", &["--accept-gone=uploads"], 0);
    // Folders alone are no loss any more.
    run(&site, "0008", &[], 0);
}

#[track_caller]
fn run_fails(site: &Site, args: &[&str]) -> CliOutput {
    ctl(site, &["create"]).args(args).run().expect_code(2)
}

/// Fewer than make the run incomplete: they are named all the same, as those that are gone are.
#[test]
fn repositories_that_lose_all_their_refs_are_named_once() {
    let site = site(&["default"], "");
    repositories(&site, "default", 5);
    site.repo("default/always.git");
    let first = run(&site, "0001", &[], 0);
    assert_eq!((first.repositories.empty, first.storages[0].emptied_total), (1, 0));
    for number in [3, 1] {
        fs::remove_file(site.path(&format!("default/{number:02}.git/refs/heads/main")))
            .expect("remove the ref");
    }
    let said = ctl(&site, &["create", "--backup-id=0002"]).run().expect_success();
    assert!(said.stdout.contains("  emptied       default: 01.git, 03.git"), "{said:#?}");
    let shown = ctl(&site, &["show", "0002"]).run().expect_success();
    assert!(shown.stdout.contains("  emptied       default: 01.git, 03.git"), "{shown:#?}");
    let report = json(&ctl(&site, &["show", "0002", "--json"]).run().expect_success());
    let storage = &report["report"]["storages"][0];
    assert_eq!(
        (&storage["emptied_total"], &storage["emptied"]),
        (&2.into(), &["01.git", "03.git"].as_slice().into())
    );
    let third = run(&site, "0003", &[], 0);
    assert_eq!((third.repositories.empty, third.storages[0].emptied_total), (3, 0));
}

#[test]
fn all_that_was_there_is_missed_also_when_something_else_is() {
    let site = site(&["default"], "");
    repositories(&site, "default", 3);
    run(&site, "0001", &[], 0);
    delete(&site, "default", 0..3);
    site.repo("default/other.git").commit("main", &[("a", "1")]);
    let summary = run(&site, "0002", &[], 3);
    assert_eq!(failed(&summary), ["default (whole storage)"]);
    assert_eq!((summary.repositories.gone, summary.repositories.backed_up), (3, 1));
    // Where one that is gone is looked for, it is told which backup brings it back.
    let found = json(&ctl(&site, &["find", "00.git", "--json"]).run().expect_success());
    assert!(found.to_string().contains("\"restorable\":true"), "{found:#}");
    run(&site, "0003", &["--accept-gone"], 0);
    let refused = ctl(&site, &["restore", "0003", "--repository=00.git", "--force"]).run().expect_code(1);
    assert!(refused.stderr.contains("backupctl find 00.git"), "{refused:#?}");
}

#[test]
fn what_is_no_repository_is_never_replaced() {
    let site = site(&["default"], "");
    site.repo("default/team").commit("main", &[("a", "1")]);
    site.repo("default/x.git").commit("main", &[("a", "1")]);
    run(&site, "0001", &[], 0);
    // An ordinary folder of repositories is at the place of one, and a repository lies in another.
    fs::remove_dir_all(site.path("default/team")).expect("delete");
    let app = site.repo("default/team/app.git");
    app.commit("main", &[("a", "1")]);
    site.repo("default/x.git/inner.git").commit("main", &[("a", "1")]);
    let output = ctl(&site, &["restore", "0001", "--force"]).run().expect_code(1);
    assert!(output.stderr.contains("no repository") || output.stderr.contains("lies in it"), "{output:#?}");
    for kept in ["default/team/app.git/HEAD", "default/x.git/inner.git/HEAD"] {
        assert!(site.path(kept).exists(), "{kept}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let site = Site::new();
    let uploads = format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.folder("uploads").display());
    configure(&site, &["default"], &uploads);
    repositories(&site, "default", 1);
    run(&site, "0001", &[], 0);
    for args in [["--only=uploads", "--storage=default"], ["--only=uploads", "--skip=uploads"]] {
        for command in [&["create"][..], &["restore", "0001"]] {
            ctl(&site, command).args(args).run().expect_code(2);
        }
    }
}

#[test]
fn two_databases_are_not_restored_into_one() {
    let server = packhorse_testkit::PostgresServer::start();
    for (name, table) in [("one", "a"), ("two", "b")] {
        server.create_database(name);
        server.psql(name, &format!("CREATE TABLE {table} (id int); INSERT INTO {table} VALUES (1)"));
    }
    let databases = |main: &str, ci: &str| {
        let section =
            |name: &str, to: &str| format!("[[database]]\nname = '{name}'\nurl = '{}'\n", server.url(to));
        section("main", main) + &section("ci", ci)
    };
    let site = site(&["default"], &databases("one", "two"));
    run(&site, "0001", &[], 0);
    configure(&site, &["default"], &databases("one", "one"));
    let refused = ctl(&site, &["restore", "0001", "--only=db", "--force"]).run().expect_code(2);
    assert!(refused.stderr.contains("main and ci") || refused.stderr.contains("ci and main"), "{refused:#?}");
    // One that is emptied is missed, too.
    configure(&site, &["default"], &databases("one", "two"));
    server.psql("two", "DROP TABLE b");
    assert_eq!(failed(&run(&site, "0002", &[], 3)), ["ci"]);
}

/// What a run stored that committed nothing is built on, and is not what the next one is compared with.
#[test]
fn a_run_that_committed_nothing_hides_no_loss() {
    let site = site(&["default"], "");
    repositories(&site, "default", 3);
    run(&site, "0001", &[], 0);
    delete(&site, "default", 0..3);
    for number in 0..3 {
        site.repo(&format!("default/{number:02}.git"));
    }
    assert_eq!(failed(&run(&site, "0002", &[], 3)), ["default (whole storage)"]);
    // As if it had been killed before its end: its manifests and its journal's segment are there, which has the form of a
    // catalogue; its report and its record are not.
    let segments = site.folder("vault/packhorse/runs/0002/segments/default");
    let catalogue = site.path("vault/backups/0002/repositories/default.jsonl.zst");
    fs::copy(catalogue, segments.join("0-000000.jsonl.zst")).expect("copy");
    for name in ["report.json", "backup_information.json"] {
        fs::remove_file(site.path("vault/backups/0002").join(name)).expect("remove");
    }
    let summary = run(&site, "0003", &[], 3);
    assert_eq!(
        (failed(&summary), summary.storages[0].emptied_unconfirmed),
        (vec!["default (whole storage)".into()], 3)
    );
}

#[test]
fn what_a_run_leaves_out_on_purpose_is_confirmed_to_be_gone_only_by_its_name() {
    let site = Site::new();
    let uploads = format!("[[directory]]\nname = 'uploads'\npath = '{}'\n", site.folder("uploads").display());
    configure(&site, &["default", "second"], &uploads);
    repositories(&site, "default", 2);
    repositories(&site, "second", 2);
    site.write("uploads/file", "content");
    run(&site, "0001", &[], 0);
    // Both storages and the directory are there, and the runs do not look at all of them.
    for limit in [&["--storage", "default"][..], &["--only", "uploads"], &["--only", "repositories"]] {
        let id = format!("limited-{}", limit[1]);
        let summary = run(&site, &id, &[limit, &["--accept-gone"]].concat(), 0);
        assert!(summary.gone.is_empty() && summary.partial, "{limit:?}: {:?}", summary.gone);
    }
    // What has left the configuration may be confirmed by name, for that backup alone: the next one of everything asks again.
    configure(&site, &["default"], &uploads);
    let named = run(&site, "0002", &["--only", "repositories", "--accept-gone=second"], 0);
    assert_eq!(named.gone.len(), 1, "{:?}", named.gone);
    run(&site, "0003", &[], 3);
    run(&site, "0004", &["--accept-gone"], 0);
}
