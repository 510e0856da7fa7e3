//! A restore into other databases than the configuration names, and of single ones.
//!
//! Does not own: how a database is replaced (the coordinator's own tests), or which variables complete a URL
//! (`coordinator::database::connection`).

use std::fs;

use packhorse_testkit::{Backupctl, Binary, CliOutput, Daemon, PostgresServer};

use super::{
    daemons::SOON,
    exit_codes::codes::assert_fails,
    site::{Site, json, objects, text},
};

const SECRET: &str = "ge:heim";
/// The same in a URL.
const ENCODED: &str = "ge%3Aheim";

/// Databases `main` and `ci`, and a directory, in backup 0001.
struct Bench {
    site: Site,
    server: PostgresServer,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { site: Site::new(), server: PostgresServer::start() };
        for (database, number) in [("forge", 1), ("forge_ci", 2)] {
            bench.server.create_database(database);
            bench.server.psql(database, &format!("CREATE TABLE t (n int); INSERT INTO t VALUES ({number})"));
        }
        fs::write(bench.site.folder("uploads").join("file"), "content").expect("write file");
        bench.site.write("packhorse.toml", &bench.config());
        bench.ctl(&["create", "--backup-id=0001"]).run().expect_success();
        bench
    }

    fn config(&self) -> String {
        let database = |name, database| {
            format!("[[database]]\nname = '{name}'\nurl = '{}'\n", self.server.url(database))
        };
        format!(
            "[vault]\nurl = '{}'\n{}{}[[directory]]\nname = 'uploads'\npath = '{}'\n",
            self.site.vault_url(),
            database("main", "forge"),
            database("ci", "forge_ci"),
            self.site.path("uploads").display(),
        )
    }

    fn ctl(&self, args: &[&str]) -> Backupctl {
        self.site.ctl("packhorse.toml", []).args(args)
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.server.port())
    }

    /// A role that has to give a password, and may do everything.
    fn create_role(&self) {
        self.server.create_role("guest", SECRET);
        self.server.psql("postgres", "ALTER ROLE guest SUPERUSER");
    }

    fn has(&self, database: &str) -> bool {
        let sql = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
        self.server.psql("postgres", &sql).trim() == "1"
    }
}

#[track_caller]
fn assert_silent(output: &CliOutput) {
    let told = format!("{}{}", output.stdout, output.stderr);
    assert!(!told.contains(SECRET) && !told.contains(ENCODED), "{told}");
}

#[test]
fn a_database_goes_where_its_url_says_and_nothing_else_is_touched() {
    let bench = Bench::new();
    fs::write(bench.site.path("uploads/file"), "live").expect("write file");
    bench.server.psql("forge", "UPDATE t SET n = 9");
    let to = format!("--to-database=main={}", bench.url("postgres", "test"));
    // The variables of GitLab are about the configured databases.
    let call = |args: &[&str]| {
        let call = bench.ctl(&["restore", "0001", &to, "--json"]).args(args);
        call.env("GITLAB_BACKUP_PGPORT", "1").env("GITLAB_BACKUP_MAIN_PGHOST", "nowhere.invalid")
    };
    let planned = json(&call(&["--dry-run"]).run().expect_success());
    assert_eq!(text(&planned["databases"][0]["target"]), bench.url("postgres", "test"), "{planned:#}");
    assert_eq!(planned["databases"][0]["exists"], false, "{planned:#}");
    assert_eq!(planned["databases"][0]["replaces"], false, "{planned:#}");
    assert!(!bench.has("test"), "a dry run made it");
    let restored = json(&call(&[]).run().expect_success());
    assert_eq!(restored["databases"].as_array().map(Vec::len), Some(1), "{restored:#}");
    assert_eq!(restored["directories"].as_array().map(Vec::len), Some(0), "{restored:#}");
    assert_eq!(bench.server.psql("test", "SELECT n FROM t").trim(), "1");
    assert_eq!(bench.server.psql("forge", "SELECT n FROM t").trim(), "9");
    assert_eq!(fs::read_to_string(bench.site.path("uploads/file")).expect("read"), "live");
    // What is there takes --force, also when it is a live database under another name.
    assert_fails(|| bench.ctl(&["restore", "0001", &to]), 1, "already_exists", "database", "not empty");
    let live = format!("--to-database=main={}", bench.url("postgres", "forge_ci"));
    assert_fails(|| bench.ctl(&["restore", "0001", &live]), 1, "already_exists", "database", "not empty");
    call(&["--force"]).run().expect_success();
    // Two databases into one, however its server is called.
    let other = to.replace("main=", "ci=").replace("127.0.0.1", "localhost");
    for args in [&["--only=db"][..], &[]] {
        let twice = || bench.ctl(&["restore", "0001", "--force", &to, &other]).args(args);
        assert_fails(twice, 2, "invalid", "configuration", "twice");
    }
    let unknown = || bench.ctl(&["restore", "0001", "--to-database=mains=postgresql:///x"]);
    assert_fails(unknown, 10, "not_found", "backup", "did you mean main?");
}

#[test]
fn the_result_and_the_record_of_a_restore_tell_where_each_part_went() {
    let bench = Bench::new();
    bench.create_role();
    bench.site.repo("git/team/app.git").fill("main", 1);
    let storage = bench.site.storage_section("default", "git");
    bench.site.write("packhorse.toml", &format!("{}{storage}", bench.config()));
    bench.ctl(&["create", "--backup-id=0002"]).run().expect_success();
    let folder = bench.site.path("elsewhere").display().to_string();
    let spare = bench.site.folder("spare").display().to_string();
    let url = bench.url(&format!("guest:{ENCODED}"), "test");
    let (to_database, to_directory) =
        (format!("--to-database=main={url}"), format!("--to-directory=uploads={folder}"));
    let (to_storage, place) = ("--to-storage=default=spare", format!("--storage=spare={spare}"));
    let call = |args: &[&str]| {
        let flags = [&to_database[..], &to_directory, to_storage, &place, "--repository=team/*", "--skip=ci"];
        let known = ids(&bench.site);
        let output = bench.ctl(&["restore", "0002"]).args(flags).args(args).run();
        assert_silent(&output);
        let new = ids(&bench.site).into_iter().find(|id| !known.contains(id)).expect("a record");
        let record = json(&bench.ctl(&["show", &new, "--json"]).run().expect_success())["restore"].clone();
        (output, record, bench.ctl(&["show", &new]).run().expect_success())
    };
    let database = format!("127.0.0.1:{}/test", bench.server.port());
    let targets = serde_json::json!([
        { "component": "repositories", "name": "default", "target": "spare", "path": spare },
        { "component": "db", "name": "main", "target": database },
        { "component": "uploads", "name": "uploads", "target": folder },
    ]);
    let text_has = |output: &CliOutput, lines: &[&str]| {
        let told = format!("{}{}", output.stdout, output.stderr);
        lines.iter().for_each(|line| assert!(told.contains(line), "{line}: {told}"));
        assert!(!told.contains("guest"), "{told}");
    };
    let lines = [
        "selected      repositories team/*, without ci",
        &format!("target        storage default to spare at {spare}"),
        &format!("target        database main to {database}"),
        &format!("target        directory uploads to {folder}"),
    ];
    let (output, record, shown) = call(&["--force"]);
    output.clone().expect_success();
    for told in [&output, &shown] {
        text_has(told, &lines);
        text_has(told, &["force         what exists is replaced"]);
    }
    assert_eq!((&record["targets"], &record["force"]), (&targets, &true.into()), "{record:#}");
    assert_eq!(record["repositories"], serde_json::json!(["team/*"]), "{record:#}");
    assert_eq!(record["skip"], serde_json::json!(["ci"]), "{record:#}");
    // One that is refused tells it, too.
    let (output, record, shown) = call(&[]);
    output.expect_code(1);
    assert_eq!((&record["targets"], &record["force"]), (&targets, &false.into()), "{record:#}");
    text_has(&shown, &lines);
    // What the program prints has the same keys as the record.
    let printed =
        json(&bench.ctl(&["restore", "0002", "--only=uploads", "--force", "--json"]).run().expect_success());
    let own = bench.site.path("uploads").display().to_string();
    let expected = serde_json::json!([{ "component": "uploads", "name": "uploads", "target": own }]);
    assert_eq!((&printed["targets"], &printed["only"]), (&expected, &serde_json::json!(["uploads"])));
}

/// The restores that left a record.
fn ids(site: &Site) -> Vec<String> {
    let records = fs::read_dir(site.path("vault/packhorse/restores")).into_iter().flatten();
    let names = records.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect()
}

#[test]
fn the_password_of_a_url_is_repeated_nowhere() {
    let bench = Bench::new();
    bench.create_role();
    let with = |password: &str| format!("main={}", bench.url(&format!("guest:{password}"), "test"));
    let restore = |pair: &str, more: &[&str]| {
        let call = bench.ctl(&["restore", "0001", "-vvv", "--json", "--to-database", pair]).args(more).run();
        assert_silent(&call);
        call
    };
    restore(&with("ge%3Aheimnis"), &[]).expect_code(1);
    restore(&with(ENCODED), &["--dry-run"]).expect_success();
    restore(&with(ENCODED), &[]).expect_success();
    restore(&with(ENCODED), &[]).expect_code(1);
    for nonsense in [
        format!("postgresql://guest:{ENCODED}@h/d"),
        format!("postgresql://guest:{ENCODED}@h/d?sslmode=off"),
        format!("main=mysql://guest:{ENCODED}@h/d"),
        format!("main=postgresql://guest:{ENCODED}@h/d?nope=1"),
        format!("main=postgresql://guest:{ENCODED}@h"),
    ] {
        restore(&nonsense, &[]).expect_code(2);
    }
    // Without it in the URL, libpq's own ways.
    let bare = format!("--to-database=main={}", bench.url("guest", "test2"));
    bench.ctl(&["restore", "0001", &bare]).run().expect_code(1);
    bench.ctl(&["restore", "0001", &bare]).env("PGPASSWORD", SECRET).run().expect_success();
    let passfile = bench.site.write("pgpass", &format!("*:*:*:guest:{}\n", SECRET.replace(':', "\\:")));
    fs::set_permissions(&passfile, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set mode");
    bench.ctl(&["restore", "0001", &bare, "--force"]).env("PGPASSFILE", passfile).run().expect_success();
    for (key, bytes) in objects(&bench.site.path("vault")) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains(SECRET) && !text.contains(ENCODED), "{key} has the password");
    }
}

#[test]
fn a_coordinator_takes_a_url_and_neither_logs_it_nor_reads_files_for_it() {
    let bench = Bench::new();
    bench.create_role();
    let socket = format!("unix://{}", bench.site.path("coordinator.sock").display());
    bench.site.write("daemon.toml", &format!("{}[coordinator]\nlisten = '{socket}'\n", bench.config()));
    let mut command = Binary::Coordinator.command();
    command.arg("--verbose").arg("--config").arg(bench.site.path("daemon.toml"));
    command.env("PGPASSWORD", SECRET);
    let coordinator = Daemon::spawn_command(command);
    coordinator.wait_for_line("coordinator ready", SOON);
    let ctl = |url: &str| {
        let pair = format!("--to-database=main={url}");
        Backupctl::new().args(["--no-progress", "--coordinator", &socket, "restore", "0001", &pair])
    };
    let refused = ctl(&format!("{}?sslkey=/root/key", bench.url("guest", "test"))).run().expect_code(2);
    assert!(refused.stderr.contains("embedded mode"), "{refused:#?}");
    // The coordinator's own password is not sent wherever an operator says.
    ctl(&bench.url("guest", "test")).run().expect_code(1);
    let done = ctl(&bench.url(&format!("guest:{ENCODED}"), "test")).run().expect_success();
    assert_silent(&done);
    assert_eq!(bench.server.psql("test", "SELECT n FROM t").trim(), "1");
    let lines = coordinator.lines().join("\n");
    assert!(lines.contains("to databases main=postgresql://guest@127.0.0.1"), "{lines}");
    assert!(!lines.contains(SECRET) && !lines.contains(ENCODED), "{lines}");
}

#[test]
fn one_database_is_backed_up_and_restored_by_its_name() {
    let bench = Bench::new();
    for database in ["forge", "forge_ci"] {
        bench.server.psql(database, "UPDATE t SET n = 9");
    }
    let numbers =
        || ["forge", "forge_ci"].map(|name| bench.server.psql(name, "SELECT n FROM t").trim().to_owned());
    bench.ctl(&["restore", "0001", "--only=main", "--force"]).run().expect_success();
    assert_eq!(numbers(), ["1", "9"]);
    bench.ctl(&["restore", "0001", "--only=db", "--skip=main", "--force"]).run().expect_success();
    assert_eq!(numbers(), ["1", "2"]);
    assert_fails(
        || bench.ctl(&["restore", "0001", "--only=mains"]),
        2,
        "invalid",
        "configuration",
        "did you mean main?",
    );
    let created = json(&bench.ctl(&["create", "--only=ci", "--json"]).run().expect_success());
    assert_eq!(created["partial"], true, "{created:#}");
    let databases = created["databases"].as_array().expect("databases");
    assert_eq!((databases.len(), text(&databases[0]["name"])), (1, "ci".into()), "{created:#}");
}
