//! A database server that is killed, with all of its processes, in the middle of a dump and in the middle of a restore.
//!
//! Does not own: programs that fail by themselves (the coordinator's tests) or hosts that vanish (`hosts::losses`). The dump
//! is held by the store, which takes no part of it, and the restore by rows whose check waits. Nothing has
//! to be repaired: the server recovers, and the next run or restore succeeds.

use std::collections::BTreeMap;

use packhorse_testkit::{Daemon, Operation, PostgresServer, When, wait_until};
use serde_json::Value;

use super::crew::{Crew, SOON};
use crate::system::site::{json, listed, text};

/// The one database whose dump is larger than all buffers on its way, and the one whose dump comes after it.
const DATABASES: [(&str, &str); 2] = [("main", "forge"), ("ci", "forge_ci")];
/// Rows of `middle` wait as long as there is a role called `gate`, which all databases see.
const TABLES: &str = "\
    CREATE FUNCTION wait() RETURNS bool LANGUAGE plpgsql AS $$ \
        BEGIN WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = 'gate') LOOP PERFORM pg_sleep(0.05); END LOOP; \
        RETURN true; END $$; \
    CREATE TABLE first (n int); INSERT INTO first SELECT generate_series(1, 1000); \
    CREATE TABLE last (noise text); \
    INSERT INTO last SELECT string_agg(encode(sha256((a || ' ' || b)::bytea), 'base64'), '') \
        FROM generate_series(1, ROWS) AS a, generate_series(1, 1000) AS b GROUP BY a; \
    CREATE TABLE middle (n int CHECK (public.wait())); INSERT INTO middle VALUES (1);";
/// Rows of `last`, each of 33 kB once compressed: more than all buffers take, and what waits in them whole.
const FLOOD: u32 = 1500;
const BURST: u32 = 700;
/// What the backup does not know of.
const CHANGE: &str = "UPDATE first SET n = -n; CREATE TABLE newer (n int); INSERT INTO newer VALUES (1)";

type Tables = Vec<BTreeMap<String, String>>;

struct Forge {
    crew: Crew,
    server: PostgresServer,
}

impl Forge {
    /// Two databases that a crew backs up, and a first backup.
    fn start(rows: u32) -> Self {
        let server = PostgresServer::start();
        let mut sections = String::new();
        for (name, database) in DATABASES {
            server.create_database(database);
            let (url, programs) = (server.url(database), server.binaries().display());
            sections += &format!("[[database]]\nname = '{name}'\nurl = '{url}'\nbin_dir = '{programs}'\n");
        }
        server.psql("forge", &TABLES.replace("ROWS", &rows.to_string()));
        server.psql("forge_ci", "CREATE TABLE jobs (n int); INSERT INTO jobs VALUES (1)");
        let crew = Crew::start("retry_budget = '60s'\nupload_memory = '8 MiB'\n", &sections);
        crew.create("0001").run().expect_success();
        Self { crew, server }
    }

    fn tables(&self) -> Tables {
        DATABASES.iter().map(|(_, database)| self.server.table_checksums(database)).collect()
    }

    fn restore(&self, id: &str) -> packhorse_testkit::Backupctl {
        self.crew.ctl(["restore", "--json", id, "--only=db", "--force"])
    }

    #[track_caller]
    fn assert_restores(&self, id: &str, expected: &Tables) {
        self.restore(id).run().expect_success();
        assert_eq!(&self.tables(), expected, "{id}");
    }

    /// Waits until a session of the server is like this.
    #[track_caller]
    fn wait_for_session(&self, what: &str, is: &str) {
        self.wait_for_sessions(what, is, |count| count != "0");
    }

    #[track_caller]
    fn wait_for_sessions(&self, what: &str, are: &str, enough: impl Fn(&str) -> bool) {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {are}");
        wait_until(what, SOON, || {
            if enough(&self.server.psql("postgres", &sql)) {
                return Ok(());
            }
            Err(self.server.psql("postgres", "SELECT state, wait_event, query FROM pg_stat_activity"))
        });
    }
}

/// The one object that a call printed before it ended with this code.
#[track_caller]
fn ended(mut call: Daemon, code: i32) -> Value {
    assert_eq!(call.wait(SOON * 2), code, "{:#?}\n{:#?}", call.stdout_lines(), call.lines());
    serde_json::from_str(&call.stdout_lines().join("\n")).expect("a summary as JSON")
}

#[test]
fn a_dump_ends_while_the_store_takes_nothing_of_it() {
    let forge = Forge::start(BURST);
    let (crew, before) = (&forge.crew, forge.tables());
    crew.place.server.stop_at_where(1, When::Before, |request| {
        request.operation == Operation::PutPart && request.key.contains("/0002/db/database.sql.gz")
    });
    let run = crew.create("0002").spawn();
    crew.place.server.wait_until_held(SOON);
    // The snapshots are held until the last dump is in the vault; whoever dumped has read everything and is gone.
    forge.wait_for_sessions("the end of pg_dump", "query LIKE 'COPY%'", |count| count == "0");
    assert!(crew.place.server.held().is_some());
    assert!(!crew.place.server.keys().iter().any(|key| key.contains("/0002/db/")));
    crew.place.server.release();
    let summary = ended(run, 0);
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    forge.server.psql("forge", CHANGE);
    forge.assert_restores("0002", &before);
    forge.crew.stop();
}

#[test]
fn a_postgres_server_that_is_killed_in_the_middle_of_a_dump_is_missing_by_name() {
    let forge = Forge::start(FLOOD);
    let (crew, before) = (&forge.crew, forge.tables());
    crew.place.change(None);
    forge.server.psql("forge", CHANGE);
    let (states, after) = (crew.place.states(), forge.tables());
    crew.place.server.stop_at_where(1, When::Before, |request| {
        request.operation == Operation::PutPart && request.key.contains("/0002/db/database.sql.gz")
    });
    let run = crew.create("0002").spawn();
    crew.place.server.wait_until_held(SOON);
    forge.wait_for_session("a dump that nobody takes", "query LIKE 'COPY%' AND wait_event = 'ClientWrite'");
    forge.server.kill();
    crew.place.server.release();

    let summary = ended(run, 3);
    assert_eq!(text(&summary["state"]), "incomplete", "{summary:#}");
    let failures = summary["failures"].as_array().expect("failures");
    let missing: Vec<_> = failures.iter().map(|failure| text(&failure["item"])).collect();
    assert_eq!(missing, DATABASES.map(|(name, _)| name), "{summary:#}");
    for failure in failures {
        let problem = &failure["problem"];
        assert_eq!(text(&problem["subject"]), "database", "{summary:#}");
        assert!(text(&problem["next"]).contains("database server"), "{summary:#}");
    }
    assert_eq!(text(&failures[0]["problem"]["state"]), "nothing of this dump is in the vault");
    assert!(!crew.place.server.keys().iter().any(|key| key.contains("/0002/db/")));
    assert_eq!(crew.place.server.open_uploads(), [""; 0]);
    assert_eq!(listed(crew.ctl([])), ["0002", "0001"]);
    crew.place.assert_restores("0002", &states);

    forge.server.revive();
    assert_eq!(forge.tables(), after);
    let summary = json(&crew.create("0003").run().expect_success());
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    forge.assert_restores("0001", &before);
    forge.assert_restores("0003", &after);
    forge.crew.stop();
}

#[test]
fn a_postgres_server_that_is_killed_in_the_middle_of_a_restore_keeps_what_it_had() {
    let forge = Forge::start(FLOOD);
    let before = forge.tables();
    forge.server.psql("forge", CHANGE);
    let after = forge.tables();
    forge.server.psql("postgres", "CREATE ROLE gate");
    let restore = forge.restore("0001").spawn();
    forge.wait_for_session("a restore in its middle", "query LIKE 'COPY%' AND wait_event = 'PgSleep'");
    forge.server.kill();

    let error = &ended(restore, 1)["error"];
    assert_eq!(text(&error["subject"]), "database");
    let object = text(&error["object"]);
    assert!(object.starts_with("database main at ") && object.ends_with("/forge"), "{error:#}");
    assert!(text(&error["answer"]).contains("server closed the connection unexpectedly"), "{error:#}");
    assert!(text(&error["state"]).contains("the target is as it was"), "{error:#}");
    assert!(text(&error["next"]).contains("database server"), "{error:#}");
    forge.server.revive();
    assert_eq!(forge.tables(), after, "a restore that failed changed something");
    forge.server.psql("postgres", "DROP ROLE gate");
    forge.assert_restores("0001", &before);
    forge.crew.stop();
}
