//! Dumps and restores against a real server.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use packhorse_model::{ErrorKind, Subject};
use packhorse_testkit::{PostgresServer, run_checked};
use packhorse_vault::{ObjectKey, RunAttempt};

use super::*;

mod beside;
mod in_place;
mod kinds;
mod paths;
mod services;
mod unseen;

/// Tables of many kinds; `NAME` tells databases apart.
const FIXTURE: &str = r#"
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA partitions;
CREATE TYPE public.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN public.year AS integer CHECK (VALUE > 1900);
CREATE TABLE public.people (id serial PRIMARY KEY, name text NOT NULL, mood public.mood, born public.year, raw bytea);
INSERT INTO public.people (name, mood, born, raw)
    SELECT E'NAME\t\\' || n || E'\nÄ\\.', 'glad', 1901 + n % 100, decode(md5(n::text), 'hex') FROM generate_series(1, 2000) n;
CREATE INDEX people_trgm ON public.people USING gin (name public.gin_trgm_ops);
CREATE TABLE public."Odd ""Table"" $" (id bigint REFERENCES public.people, data jsonb);
INSERT INTO public."Odd ""Table"" $" SELECT id, jsonb_build_object('k', name) FROM public.people WHERE id % 7 = 0;
CREATE TABLE public.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE partitions.events_1 PARTITION OF public.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE partitions.events_2 PARTITION OF public.events DEFAULT;
CREATE TABLE public.lines (line text);
INSERT INTO public.lines VALUES ('BEGIN;'), ('COMMIT;'), ('\.'), ('-- Data for Name: BLOBS; Type: BLOBS; Schema: -'), ('COMMIT;');
CREATE PROCEDURE public.commits() LANGUAGE plpgsql AS $$
BEGIN
COMMIT;
END$$;
INSERT INTO public.events VALUES ('2020-05-05', 'a'), ('2030-01-01', 'b');
CREATE VIEW public.names AS SELECT name FROM public.people;
CREATE MATERIALIZED VIEW public.counts AS SELECT count(*) FROM public.people;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.name = NEW.name || '!'; RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON public.people FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE FUNCTION public.same(public.mood, public.mood) RETURNS boolean LANGUAGE sql AS 'SELECT $1 = $2';
CREATE OPERATOR public.=== (LEFTARG = public.mood, RIGHTARG = public.mood, FUNCTION = public.same);
CREATE SEQUENCE public.lonely START 42;
SELECT nextval('public.lonely');
SELECT lo_from_bytea(4242, 'large NAME');
"#;

/// Something unlike the fixture, to be replaced.
const OTHER: &str = r#"
CREATE TABLE public.people (other int); INSERT INTO public.people VALUES (7);
CREATE TABLE public.only_here (x int);
CREATE SCHEMA "Old Schema"; CREATE TABLE "Old Schema".t (x int);
CREATE FUNCTION public.only_here(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TYPE public.only_type AS (a int);
CREATE DOMAIN public.only_domain AS int;
CREATE VIEW public.only_view AS SELECT * FROM public.only_here;
SELECT lo_from_bytea(777, 'old');
"#;

struct World {
    server: PostgresServer,
    folder: tempfile::TempDir,
    vault: Vault,
    run: RunAttempt,
    cancel: CancellationToken,
}

impl World {
    fn new() -> Self {
        Self::on(PostgresServer::start())
    }

    fn on(server: PostgresServer) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let place = folder.path().join("vault");
        std::fs::create_dir(&place).expect("create the vault's folder");
        let url = format!("file://{}", place.display());
        let vault = packhorse_vault::open(&packhorse_model::VaultSettings::new(url)).expect("vault opens");
        let run = RunAttempt::first("b1".parse().expect("literal ID"));
        Self { server, folder, vault, run, cancel: CancellationToken::new() }
    }

    fn fixture(&self, database: &str) {
        self.server.create_database(database);
        self.server.psql(database, &FIXTURE.replace("NAME", "x"));
    }

    fn config(&self, name: &str, database: &str) -> DatabaseConfig {
        let database: String = database.bytes().map(|byte| format!("%{byte:02x}")).collect();
        DatabaseConfig {
            name: name.into(),
            url: self.server.url(&database),
            password_file: None,
            bin_dir: Some(self.server.binaries().into()),
            env: BTreeMap::new(),
        }
    }

    fn database(&self, name: &str, database: &str) -> Database {
        Self::of(&self.config(name, database))
    }

    fn of(config: &DatabaseConfig) -> Database {
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        Database::from_config(config, &env).expect("valid")
    }

    /// A folder of programs in which `program` is this script; `$REAL` is the real one.
    fn scripted(&self, program: &str, script: &str) -> PathBuf {
        let bin = self.folder.path().join(format!("bin-{program}"));
        fs::create_dir_all(&bin).expect("create folder");
        for other in ["psql", "pg_dump"] {
            let _ = std::os::unix::fs::symlink(self.server.binaries().join(other), bin.join(other));
        }
        let real = self.server.binaries().join(program);
        let path = bin.join(program);
        fs::remove_file(&path).expect("remove link");
        fs::write(&path, format!("#!/bin/bash\nREAL={}\n{script}\n", real.display())).expect("write script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make executable");
        bin
    }

    async fn back_up(&self, databases: &[Database]) -> (Vec<DatabaseSummary>, Vec<ItemFailure>) {
        back_up_all(&self.vault, &self.run, databases, &self.cancel, |_, _| {}).await
    }

    async fn backed_up(&self, database: &Database) -> DatabaseSummary {
        let (mut summaries, failures) = self.back_up(std::slice::from_ref(database)).await;
        assert_eq!(failures, []);
        summaries.pop().expect("one database")
    }

    async fn failure(&self, config: &DatabaseConfig) -> Problem {
        let (summaries, mut failures) = self.back_up(&[Self::of(config)]).await;
        assert_eq!(summaries, []);
        let failure = failures.pop().expect("one failure");
        assert_eq!((failure.component, failure.item.as_str()), (Component::Databases, config.name.as_str()));
        let head = self.vault.head(&ObjectKey::database(&self.run, &config.name)).await;
        assert_eq!(head.expect("head"), None, "no object of a failed dump");
        failure.problem
    }

    async fn restore(
        &self,
        to: &Database,
        summary: &DatabaseSummary,
        force: bool,
    ) -> Result<RestoredItem, Problem> {
        let restored =
            self.restore_as(to, summary, RestoreOptions { force, ..RestoreOptions::default() }).await?;
        assert_eq!((restored.failures, restored.remarks), (vec![], vec![]));
        Ok(restored.item)
    }

    async fn restore_as(
        &self,
        to: &Database,
        summary: &DatabaseSummary,
        options: RestoreOptions,
    ) -> Result<Restored, Problem> {
        restore_one(&self.vault, &self.run.id, to, summary, options, &self.cancel, |_, _| {}).await
    }

    /// Everything that a dump of the database says, but for what is unique to each run of it.
    fn state(&self, database: &str) -> String {
        let mut dump = packhorse_testkit::hermetic_command(self.server.binaries().join("pg_dump"));
        dump.arg("--dbname").arg(self.server.socket_url(database));
        let text = String::from_utf8(run_checked(&mut dump).stdout).expect("UTF-8");
        let lines =
            text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn object(&self, name: &str) -> PathBuf {
        self.folder.path().join("vault").join(ObjectKey::database(&self.run, name).as_str())
    }
}

fn refused(result: Result<RestoredItem, Problem>) -> Problem {
    result.expect_err("the restore must fail")
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read object");
    change(&mut bytes);
    fs::write(path, bytes).expect("write object");
}

fn gunzip(path: &Path) -> String {
    let output = run_checked(packhorse_testkit::hermetic_command("gzip").arg("-cd").arg(path));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Replaces a dump by another, with a digest that says that all is well.
fn replace_dump(world: &World, summary: &DatabaseSummary, sql: &str) -> DatabaseSummary {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(sql.as_bytes()).expect("compress");
    let bytes = gzip.finish().expect("compress");
    fs::write(world.object(&summary.name), &bytes).expect("write object");
    let object = packhorse_vault::digest_of(&ObjectKey::database(&world.run, &summary.name), &bytes);
    DatabaseSummary { object, bytes_plain: sql.len() as u64, ..summary.clone() }
}

#[tokio::test]
async fn databases_with_odd_names_come_back_as_they_were() {
    let world = World::new();
    let names = [("main", "gitlabhq"), ("ci", "Odd \"name\" +&="), ("s.e-c_1", "sec' = ä")];
    for (_, database) in names {
        world.fixture(database);
    }
    let databases = names.map(|(name, database)| world.database(name, database));
    let (summaries, failures) = world.back_up(&databases).await;
    assert_eq!(failures, []);
    assert_eq!(summaries[0].object.path, "backups/b1/db/database.sql.gz");
    assert_eq!(summaries[1].object.path, "backups/b1/db/ci_database.sql.gz");
    for ((name, database), summary) in names.iter().zip(&summaries) {
        assert_eq!(gunzip(&world.object(name)).len() as u64, summary.bytes_plain);
        world.server.create_database(&format!("{name}-new"));
        let target = world.database(name, &format!("{name}-new"));
        let restored = world.restore(&target, summary, false).await.expect("restored");
        assert_eq!((restored.items, restored.bytes), (1, summary.object.size));
        if *name == "main" {
            assert_eq!(world.state("main-new"), world.state(database));
            assert_eq!(world.server.table_checksums("main-new"), world.server.table_checksums(database));
            assert_eq!(world.server.psql("main-new", "SELECT nextval('public.lonely')"), "43");
        }
        assert_eq!(
            world.server.psql(&format!("{name}-new"), "SELECT convert_from(lo_get(4242), 'UTF8')"),
            "large x"
        );
    }
}

#[tokio::test]
async fn all_databases_are_dumped_as_they_were_before_the_first_dump() {
    let world = World::new();
    world.fixture("one");
    world.fixture("two");
    let before = world.state("two");
    // The dump of the first database writes into the second one, and drops a table of its own.
    let script = format!(
        "{}/psql -q '{}' -c \"DELETE FROM public.events; INSERT INTO public.people (id, name) VALUES (0, 'late')\" >&2 </dev/null\nexec $REAL \"$@\"",
        world.server.binaries().display(),
        world.server.url("two"),
    );
    let first =
        DatabaseConfig { bin_dir: Some(world.scripted("pg_dump", &script)), ..world.config("one", "one") };
    let (summaries, failures) = world.back_up(&[World::of(&first), world.database("two", "two")]).await;
    assert_eq!(failures, []);
    assert_ne!(world.state("two"), before);
    world.server.create_database("new");
    world.restore(&world.database("two", "new"), &summaries[1], false).await.expect("restored");
    assert_eq!(world.state("new"), before);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'packhorse'";
    packhorse_testkit::wait_until("the snapshots' end", std::time::Duration::from_secs(10), || {
        match world.server.psql("postgres", sessions).as_str() {
            "0" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_written_to_is_consistent() {
    let world = Arc::new(World::new());
    world.server.create_database("busy");
    world.server.psql("busy", "CREATE TABLE a (n int); CREATE TABLE b (n int)");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                world
                    .server
                    .psql("busy", "BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); COMMIT;");
            }
        }
    });
    for round in 0..5 {
        let name = format!("r{round}");
        let summary = world.backed_up(&world.database(&name, "busy")).await;
        world.server.create_database(&name);
        world.restore(&world.database(&name, &name), &summary, false).await.expect("restored");
        let equal = world.server.psql(&name, "SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b)");
        assert_eq!(equal, "t");
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("writer");
}

#[tokio::test]
async fn a_dump_that_ends_early_is_not_stored_and_stops_no_other() {
    let world = World::new();
    world.fixture("db");
    let size = world.state("db").len();
    for (case, (end, said)) in [
        ("exit 1", "exit status: 1"),
        ("kill -KILL $$", "signal: 9"),
        ("exit 0", "ends before the line"),
        ("echo pg_dump: error: disk on fire >&2; exit 1", "disk on fire"),
    ]
    .iter()
    .enumerate()
    {
        let script = format!("$REAL \"$@\" | head -c {}\n{end}", size * 9 / 10);
        let bin_dir = Some(world.scripted("pg_dump", &script));
        let broken = DatabaseConfig { bin_dir, ..world.config(&format!("bad{case}"), "db") };
        let problem = world.failure(&broken).await;
        let shown = format!("{problem:?}");
        assert!(shown.contains(said) && shown.contains("nothing of this dump"), "{end}: {shown}");
        assert_eq!(problem.subject, Subject::Database);
    }
    let script = "exit 1";
    let broken =
        DatabaseConfig { bin_dir: Some(world.scripted("pg_dump", script)), ..world.config("x", "db") };
    let missing = world.config("y", "no such");
    let (summaries, failures) =
        world.back_up(&[World::of(&broken), World::of(&missing), world.database("good", "db")]).await;
    assert_eq!(summaries.iter().map(|summary| summary.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(failures.iter().map(|failure| failure.item.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(failures[1].problem.kind, ErrorKind::NotFound);
    assert!(
        failures[1].problem.to_string().contains("\"no such\" does not exist"),
        "{}",
        failures[1].problem
    );
}

#[tokio::test]
async fn an_unreachable_server_and_a_missing_program_are_explained() {
    let world = World::new();
    let url = format!("postgresql://postgres@127.0.0.1:{}/db", packhorse_testkit::free_port());
    let problem = world.failure(&DatabaseConfig { url, ..world.config("a", "postgres") }).await;
    assert!(problem.to_string().contains("Connection refused"), "{problem}");
    assert_eq!(problem.kind, ErrorKind::Unavailable);
    let bin_dir = Some("/nonexistent".into());
    let problem = world.failure(&DatabaseConfig { bin_dir, ..world.config("a", "postgres") }).await;
    assert_eq!((problem.subject, problem.object.as_deref()), (Subject::Host, Some("/nonexistent/psql")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_dump_ends_at_once_with_its_children() {
    let world = World::new();
    world.fixture("db");
    let pid = world.folder.path().join("pid");
    let script = format!("$REAL \"$@\"\nsleep 1000 &\necho $! >{}\nwait", pid.display());
    let slow =
        DatabaseConfig { bin_dir: Some(world.scripted("pg_dump", &script)), ..world.config("main", "db") };
    let cancel = world.cancel.clone();
    let watcher = thread::spawn(move || {
        let sleeper = packhorse_testkit::wait_until("the dump", std::time::Duration::from_secs(20), || {
            fs::read_to_string(&pid)
                .ok()
                .filter(|text| text.ends_with('\n'))
                .ok_or_else(|| "no pid".to_owned())
        });
        cancel.cancel();
        PathBuf::from("/proc").join(sleeper.trim())
    });
    let problem = world.failure(&slow).await;
    assert_eq!(problem.kind, ErrorKind::Cancelled);
    let process = watcher.join().expect("watcher");
    packhorse_testkit::wait_until("the sleeper's end", std::time::Duration::from_secs(10), || {
        let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") { Ok(()) } else { Err(state) }
    });
}

#[tokio::test]
async fn a_password_is_in_the_environment_only_and_can_come_from_gitlabs_variables() {
    let world = World::new();
    world.fixture("db");
    world.server.create_role("keeper", "very'secret %41");
    world.server.psql("db", "GRANT pg_read_all_data TO keeper; GRANT SELECT ON LARGE OBJECT 4242 TO keeper");
    let log = world.folder.path().join("arguments");
    let script = format!("printf '%s\\n' \"$0\" \"$@\" >>{}\nexec $REAL \"$@\"", log.display());
    world.scripted("psql", &script);
    let bin = world.folder.path().join("bin-psql");
    let dump = world.scripted("pg_dump", &script).join("pg_dump");
    fs::remove_file(bin.join("pg_dump")).expect("remove link");
    fs::copy(dump, bin.join("pg_dump")).expect("copy script");
    let host = format!("127.0.0.1:{}", world.server.port());
    let config = DatabaseConfig {
        url: format!("postgresql://keeper:very%27secret%20%2541@{host}/db"),
        bin_dir: Some(bin),
        ..world.config("ci", "db")
    };
    let summary = world.backed_up(&World::of(&config)).await;
    let arguments = fs::read_to_string(&log).expect("the script ran");
    assert!(arguments.contains("pg_dump") && arguments.contains("psql"), "{arguments}");
    assert!(!arguments.contains("secret") && !format!("{:?}", World::of(&config)).contains("secret"));

    let wrong = DatabaseConfig { url: format!("postgresql://keeper:wrong-one@{host}/db"), ..config.clone() };
    let wrong = DatabaseConfig { name: "w".into(), ..wrong };
    let problem = world.failure(&wrong).await;
    assert_eq!(problem.kind, ErrorKind::Denied);
    assert!(!format!("{problem:?}").contains("wrong-one"));
    let refused = world
        .restore(&World::of(&DatabaseConfig { name: "ci".into(), ..wrong.clone() }), &summary, false)
        .await;
    assert_eq!(refused.expect_err("wrong password").kind, ErrorKind::Denied);

    let mut env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ("GITLAB_BACKUP_PGPASSWORD".to_owned(), "not this".to_owned()),
        ("GITLAB_BACKUP_W_PGPASSWORD".to_owned(), "very'secret %41".to_owned()),
    ]);
    let from_env = Database::from_config(&wrong, &env).expect("valid");
    world.backed_up(&from_env).await;
    env.remove("GITLAB_BACKUP_W_PGPASSWORD");
    let (_, failures) = world.back_up(&[Database::from_config(&wrong, &env).expect("valid")]).await;
    assert_eq!(failures[0].problem.kind, ErrorKind::Denied);
}

#[tokio::test]
async fn what_is_there_is_replaced_only_by_force() {
    let world = World::new();
    world.fixture("db");
    let summary = world.backed_up(&world.database("main", "db")).await;
    world.server.create_database("full");
    world.server.psql("full", OTHER);
    let before = world.state("full");
    let target = world.database("main", "full");
    let problem = refused(world.restore(&target, &summary, false).await);
    assert_eq!((problem.kind, problem.subject), (ErrorKind::AlreadyExists, Subject::Database));
    assert!(problem.to_string().contains("not empty"), "{problem}");
    assert_eq!(world.state("full"), before);

    world.restore(&target, &summary, true).await.expect("restored");
    assert_eq!(world.state("full"), world.state("db"));
    // Again, onto a whole copy of the same, and onto each kind of thing alone.
    world.restore(&target, &summary, true).await.expect("restored");
    assert_eq!(world.state("full"), world.state("db"));
    for (number, sql) in [
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE t AS ENUM ('a')",
        "CREATE SCHEMA s",
        "CREATE SEQUENCE s",
        "SELECT lo_create(5)",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("kind{number}");
        world.server.create_database(&name);
        world.server.psql(&name, sql);
        let problem = refused(world.restore(&world.database("main", &name), &summary, false).await);
        assert_eq!(problem.kind, ErrorKind::AlreadyExists, "{sql}");
    }
    world.server.create_database("extended");
    world.server.psql(
        "extended",
        "CREATE SCHEMA home; CREATE EXTENSION pg_trgm SCHEMA home; CREATE EXTENSION citext",
    );
    world
        .restore(&world.database("main", "extended"), &summary, false)
        .await
        .expect("extensions are no contents");
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_restores_beside_the_administrators_extensions() {
    let world = World::new();
    world.server.create_role("gitlab", "pw");
    world.server.create_database("db");
    world.server.psql(
        "db",
        "CREATE EXTENSION pg_trgm; ALTER DATABASE db OWNER TO gitlab; GRANT ALL ON SCHEMA public TO gitlab",
    );
    let url = format!("postgresql://gitlab:pw@127.0.0.1:{}/db", world.server.port());
    let database = World::of(&DatabaseConfig { url, ..world.config("main", "db") });
    world.server.psql("db", "SET ROLE gitlab; CREATE TABLE t (name text); CREATE INDEX ON t USING gin (name gin_trgm_ops); INSERT INTO t VALUES ('old')");
    let summary = world.backed_up(&database).await;
    let before = world.state("db");
    world.server.psql("db", "INSERT INTO t VALUES ('new')");
    world.restore(&database, &summary, true).await.expect("restored");
    assert_eq!(world.state("db"), before);
}

#[tokio::test]
async fn a_damaged_dump_leaves_the_target_as_it_was() {
    let world = World::new();
    world.fixture("db");
    let summary = world.backed_up(&world.database("main", "db")).await;
    let good = fs::read(world.object("main")).expect("read object");
    world.server.create_database("full");
    world.server.psql("full", OTHER);
    let (before, target) = (world.state("full"), world.database("main", "full"));
    let last = good.len() - 1;
    for position in [0, 100, good.len() / 2, last - 10, last - 5, last] {
        edit(&world.object("main"), |bytes| bytes[position] ^= 1);
        let problem = refused(world.restore(&target, &summary, true).await);
        assert_eq!(problem.kind, ErrorKind::Corrupt, "{position}: {problem}");
        assert!(format!("{problem:?}").contains("left as it was"), "{problem:?}");
        assert_eq!(world.state("full"), before, "byte {position}");
        fs::write(world.object("main"), &good).expect("write object");
    }
    for length in [0, 10, good.len() / 2, last] {
        edit(&world.object("main"), |bytes| bytes.truncate(length));
        let problem = refused(world.restore(&target, &summary, true).await);
        assert_eq!(problem.kind, ErrorKind::Corrupt, "{length}: {problem}");
        assert_eq!(world.state("full"), before, "{length} bytes: {problem:?}");
        fs::write(world.object("main"), &good).expect("write object");
    }
    // Valid gzip and SQL, but other bytes than were stored.
    edit(&world.object("main"), |bytes| bytes.extend_from_slice(&good));
    let problem = refused(world.restore(&target, &summary, true).await);
    assert_eq!(problem.kind, ErrorKind::Corrupt, "{problem}");
    assert_eq!(world.state("full"), before, "{problem:?}");
    fs::remove_file(world.object("main")).expect("remove object");
    assert_eq!(refused(world.restore(&target, &summary, true).await).kind, ErrorKind::NotFound);
    assert_eq!(world.state("full"), before);
}

#[tokio::test]
async fn wrong_sql_and_an_unfinished_dump_roll_back() {
    let world = World::new();
    world.fixture("db");
    let summary = world.backed_up(&world.database("main", "db")).await;
    let dump = gunzip(&world.object("main"));
    world.server.create_database("full");
    world.server.psql("full", OTHER);
    let (before, target) = (world.state("full"), world.database("main", "full"));
    let after_large_objects = dump.rfind("\nCOMMIT;\n").expect("large objects have a transaction");
    for position in [dump.len() / 4, after_large_objects, dump.len() - 300] {
        let line = position + dump[position..].find("\n\n").expect("an empty line") + 2;
        let broken = format!("{}SELECT 1/0;\n{}", &dump[..line], &dump[line..]);
        let problem = refused(world.restore(&target, &replace_dump(&world, &summary, &broken), true).await);
        assert_eq!(problem.subject, Subject::Database);
        let shown = format!("{problem:?}");
        assert!(shown.contains("division by zero") || shown.contains("invalid input syntax"), "{shown}");
        assert!(shown.contains("left as it was"), "{shown}");
        assert_eq!(world.state("full"), before);
    }
    let cut = &dump[..dump.len() * 9 / 10];
    let problem = refused(world.restore(&target, &replace_dump(&world, &summary, cut), true).await);
    assert_eq!(problem.kind, ErrorKind::Corrupt);
    assert!(problem.to_string().contains("whole dump"), "{problem}");
    assert_eq!(world.state("full"), before);
}

#[tokio::test]
async fn an_older_server_is_refused_and_a_cancelled_restore_changes_nothing() {
    let world = World::new();
    world.fixture("db");
    let summary = world.backed_up(&world.database("main", "db")).await;
    world.server.create_database("full");
    world.server.psql("full", OTHER);
    let (before, target) = (world.state("full"), world.database("main", "full"));
    let newer = DatabaseSummary { server_major: 99, ..summary.clone() };
    let problem = refused(world.restore(&target, &newer, true).await);
    assert_eq!((problem.kind, problem.subject), (ErrorKind::Invalid, Subject::Database));

    let cancel = world.cancel.clone();
    let options = RestoreOptions { force: true, ..RestoreOptions::default() };
    let result = restore_one(
        &world.vault,
        &world.run.id,
        &target,
        &summary,
        options,
        &world.cancel,
        move |_, bytes| {
            if bytes > 20_000 {
                cancel.cancel();
            }
        },
    );
    assert_eq!(result.await.expect_err("cancelled").kind, ErrorKind::Cancelled);
    assert_eq!(world.state("full"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_death_half_way_leaves_the_old_database_and_the_next_restore_tidies_up() {
    let world = World::new();
    world.fixture("db");
    let summary = world.backed_up(&world.database("main", "db")).await;
    world.server.create_database("full");
    world.server.psql("full", OTHER);
    let before = world.state("full");
    let names = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    let as_ever = world.server.psql("postgres", names);
    // Whoever restores stands still in the middle, and is gone: nothing of ours is carried out any more.
    let (reached, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new((std::sync::Barrier::new(2), AtomicBool::new(true)));
    let stands = Arc::clone(&gate);
    let target = world.database("main", "full");
    let options = RestoreOptions { force: true, ..RestoreOptions::default() };
    let seen = move |_: &str, bytes| {
        if bytes > 20_000 && stands.1.swap(false, Ordering::Relaxed) {
            let _ = reached.send(());
            stands.0.wait();
        }
    };
    let mut dying =
        Box::pin(restore_one(&world.vault, &world.run.id, &target, &summary, options, &world.cancel, seen));
    tokio::select! {
        ended = &mut dying => panic!("it ended early: {ended:?}"),
        () = async { waiting.recv().await.expect("the restore comes that far") } => {}
    }
    drop(dying);
    assert_eq!(world.state("full"), before);
    assert_ne!(world.server.psql("postgres", names), as_ever, "an unfinished database is left");
    gate.0.wait();
    // One that has the name but not the mark is somebody else's.
    world.server.create_database("full_packhorse_0badcafe");
    world.restore(&world.database("main", "full"), &summary, true).await.expect("restored");
    assert_eq!(world.state("full"), world.state("db"));
    let left = world.server.psql("postgres", names);
    assert_eq!(left, as_ever.replace("full", "full full_packhorse_0badcafe"));
}
