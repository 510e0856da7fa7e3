//! Statements that a snapshot does not show, between a database's snapshot and the locks of its dump.

use super::*;
use crate::database::changes::AT_LOCKS;

const FIXTURE: &str = "CREATE TABLE t (a int, b text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n; \
    CREATE INDEX ti ON t (a); CREATE TABLE u (a int); INSERT INTO u VALUES (7); CREATE SCHEMA s; CREATE TABLE s.t (a int); \
    INSERT INTO s.t VALUES (1), (2); CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE felt (m mood); \
    INSERT INTO felt VALUES ('sad'); CREATE SEQUENCE q";

/// What a session may say, and how many rows `t`, `u` and `s.t` have afterwards.
const UNSEEN: [(&str, &str); 13] = [
    ("ALTER TABLE t ALTER a TYPE bigint", "100 1 2"),
    ("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()", "100 1 2"),
    ("ALTER TABLE t SET UNLOGGED", "100 1 2"),
    (
        "BEGIN; CREATE TEMP TABLE x AS SELECT * FROM t; TRUNCATE t; INSERT INTO t SELECT * FROM x; COMMIT",
        "100 1 2",
    ),
    ("TRUNCATE t", "0 1 2"),
    (
        "BEGIN; CREATE TABLE t2 AS SELECT * FROM t; ALTER TABLE t RENAME TO t_old; ALTER TABLE t2 RENAME TO t; COMMIT",
        "100 1 2",
    ),
    (
        "BEGIN; CREATE TABLE t2 AS SELECT * FROM t; CREATE INDEX t2i ON t2 (a); ALTER TABLE t RENAME TO t_old; \
         ALTER INDEX ti RENAME TO t_oldi; ALTER TABLE t2 RENAME TO t; ALTER INDEX t2i RENAME TO ti; COMMIT",
        "100 1 2",
    ),
    (
        "BEGIN; CREATE TABLE t2 AS SELECT * FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t; COMMIT",
        "100 1 2",
    ),
    (
        "BEGIN; CREATE SCHEMA s2; CREATE TABLE s2.t AS SELECT * FROM s.t; ALTER SCHEMA s RENAME TO s3; \
      ALTER SCHEMA s2 RENAME TO s; COMMIT",
        "100 1 2",
    ),
    ("DROP INDEX ti", "100 1 2"),
    ("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b text DEFAULT 'y'", "100 1 2"),
    ("CLUSTER t USING ti; VACUUM FULL u; REINDEX TABLE t", "100 1 2"),
    ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "100 1 2"),
];

const ROWS: &str =
    "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM u) || ' ' || (SELECT count(*) FROM s.t)";

impl World {
    /// What a script says to a database.
    fn say(&self, database: &str, sql: &str) -> String {
        let (psql, url) = (self.server.binaries().join("psql"), self.server.url(database));
        let each = sql.split("; ").map(|statement| format!(" -c \"{statement}\"")).collect::<String>();
        format!("{} -X -q '{url}' -v ON_ERROR_STOP=1 {each} >&2 </dev/null || exit 9", psql.display())
    }

    fn dumping(&self, name: &str, database: &str, script: &str) -> Database {
        let bin_dir = Some(self.scripted("pg_dump", script));
        Self::of(&DatabaseConfig { bin_dir, ..self.config(name, database) })
    }
}

/// The statements come while the dump of another database has begun, and the snapshots of these are taken.
async fn every_one_costs_another_snapshot_and_no_row(world: World) {
    world.server.create_database("first");
    let name = |number: usize| format!("db{number}");
    let (mut script, mut databases) = (String::new(), Vec::new());
    for (number, (sql, _)) in UNSEEN.into_iter().enumerate() {
        world.server.create_database(&name(number));
        world.server.psql(&name(number), FIXTURE);
        script += &format!("{}\n", world.say(&name(number), sql));
        databases.push(world.database(&name(number), &name(number)));
    }
    databases.insert(0, world.dumping("first", "first", &format!("{script}exec $REAL \"$@\"")));
    let (summaries, failures) = world.back_up(&databases).await;
    assert_eq!(failures, []);
    for (number, (sql, rows)) in UNSEEN.into_iter().enumerate() {
        assert_eq!(world.server.psql(&name(number), ROWS), rows, "{sql}");
        let before = world.state(&name(number));
        world.server.psql("postgres", &format!("DROP DATABASE {}", name(number)));
        world.restore(&databases[number + 1], &summaries[number + 1], false).await.expect(sql);
        assert_eq!(world.state(&name(number)), before, "{sql}");
    }
}

#[tokio::test]
async fn what_a_snapshot_does_not_show_costs_another_one_and_no_row() {
    every_one_costs_another_snapshot_and_no_row(World::new()).await;
}

#[tokio::test]
async fn what_a_snapshot_does_not_show_costs_another_one_on_the_next_version() {
    match PostgresServer::next_version() {
        Some(binaries) => {
            let server = PostgresServer::start_with(Some(&binaries), "");
            every_one_costs_another_snapshot_and_no_row(World::on(server)).await;
        }
        None => packhorse_testkit::skipped("no later version of PostgreSQL below target/tools"),
    }
}

/// The same right before `pg_dump` takes its locks, once and each time.
#[tokio::test]
async fn a_table_that_is_always_written_anew_is_a_failure_by_name() {
    let world = World::new();
    world.server.create_database("db");
    world.server.psql("db", FIXTURE);
    let anew = world.say(
        "db",
        "BEGIN; CREATE TEMP TABLE x AS SELECT * FROM t; TRUNCATE t; INSERT INTO t SELECT * FROM x; COMMIT",
    );
    let mark = world.folder.path().join("mark");
    let once = format!("[ -e {0} ] || {{ {anew}; touch {0}; }}\nexec $REAL \"$@\"", mark.display());
    let summary = world.backed_up(&world.dumping("main", "db", &once)).await;
    assert_eq!(gunzip(&world.object("main")).matches("\tx\n").count(), 100);
    let contents = summary.contents.expect("counted");
    assert!(contents.rows.iter().any(|sample| sample.table == "public.t" && sample.rows == 100));

    let bin_dir = Some(world.scripted("pg_dump", &format!("{anew}\nexec $REAL \"$@\"")));
    let problem = world.failure(&DatabaseConfig { bin_dir, ..world.config("each", "db") }).await;
    let shown = format!("{problem:?}");
    assert_eq!((problem.kind, problem.subject), (ErrorKind::Unavailable, Subject::Database));
    for part in ["public.t was altered or written anew", "nothing of this dump", "truncates"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// At the end all names are as they were, but `pg_dump` read what had them meanwhile.
#[tokio::test]
async fn names_that_are_swapped_and_swapped_back_are_noticed() {
    let world = World::new();
    world.server.create_database("db");
    world.server.psql("db", FIXTURE);
    world.server.psql("db", "CREATE TABLE t2 (a int, b text); CREATE SCHEMA s2; CREATE TABLE s2.t (a int)");
    let swaps = [
        "BEGIN; ALTER TABLE t RENAME TO t3; ALTER TABLE t2 RENAME TO t; ALTER TABLE t3 RENAME TO t2; COMMIT",
        "BEGIN; ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME c TO b; COMMIT",
        "BEGIN; ALTER SCHEMA s RENAME TO s3; ALTER SCHEMA s2 RENAME TO s; ALTER SCHEMA s3 RENAME TO s2; COMMIT",
    ];
    for (number, swap) in swaps.into_iter().enumerate() {
        let mark = world.folder.path().join(format!("mark{number}"));
        let swap = world.say("db", swap);
        let script = format!(
            "[ -e {0} ] && exec $REAL \"$@\"\n{swap}\n$REAL \"$@\"\n{swap}\ntouch {0}",
            mark.display()
        );
        let name = format!("db{number}");
        world.backed_up(&world.dumping(&name, "db", &script)).await;
        let dump = gunzip(&world.object(&name));
        assert_eq!(dump.matches("\tx\n").count(), 100, "{number}");
        assert!(dump.contains("COPY s.t (a) FROM stdin;\n1\n2\n"), "{number}");
    }
}

/// A schema has no lock, so its name may change while its tables are read.
#[tokio::test]
async fn a_schema_that_is_renamed_while_it_is_dumped_costs_another_snapshot() {
    let world = World::new();
    world.server.create_database("db");
    world.server.psql("db", FIXTURE);
    let mark = world.folder.path().join("mark");
    let rename = world.say("db", "ALTER SCHEMA s RENAME TO s3; CREATE SCHEMA s");
    // Two sizes: of the large one, pg_dump is still at work when its first byte was seen.
    for (name, rows) in [("small", 0), ("large", 300_000)] {
        world.server.psql("db", &format!("INSERT INTO t SELECT n, 'x' FROM generate_series(1, {rows}) n"));
        let script =
            format!("[ -e {0} ] && exec $REAL \"$@\"\n$REAL \"$@\"\n{rename}\ntouch {0}", mark.display());
        let _ = fs::remove_file(&mark);
        world.backed_up(&world.dumping(name, "db", &script)).await;
        assert!(gunzip(&world.object(name)).contains("COPY s3.t (a) FROM stdin;\n1\n2\n"));
        world.server.psql("db", "DROP SCHEMA s; ALTER SCHEMA s3 RENAME TO s");
    }
}

/// Whoever waits for a lock of ours would hold up `pg_dump`, for which we wait.
#[tokio::test]
async fn a_snapshot_that_has_counted_holds_no_lock() {
    let world = World::new();
    world.server.create_database("db");
    world.server.psql("db", FIXTURE);
    let cancel = &world.cancel;
    let database = world.database("main", "db");
    let mut snapshot = snapshot::Snapshot::open(&database.connection, cancel).await.expect("opens");
    snapshot.contents(cancel).await.expect("counts");
    let changed = snapshot.changes(AT_LOCKS, cancel).await;
    assert_eq!(changed.expect("compares"), Vec::<String>::new());
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND pid <> pg_backend_pid()";
    assert_eq!(world.server.psql("db", locks), "0");
    // What is not about tables, or new, does not matter.
    for sql in [
        "CREATE TABLE newer (a int)",
        "GRANT ALL ON s.t TO PUBLIC",
        "ANALYZE",
        "VACUUM u",
        "REINDEX INDEX ti",
        "SELECT nextval('q')",
        "INSERT INTO u VALUES (8)",
    ] {
        world.server.psql("db", sql);
    }
    let changed = snapshot.changes(AT_LOCKS, cancel).await.expect("compares");
    assert_eq!(changed, ["s.t was altered or written anew"], "rights are a change of the catalogue, too");
}
