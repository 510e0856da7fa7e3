//! Restores beside the old database: who is let in, what is kept, what a server does not have.

use super::*;

const NAMES: &str =
    "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
const FORCE: RestoreOptions = RestoreOptions { force: true, keep_old: false, continue_on_error: false };

impl World {
    fn names(&self) -> String {
        self.server.psql("postgres", NAMES)
    }

    /// A small database and its backup.
    async fn shop(&self, sql: &str) -> (Database, DatabaseSummary) {
        self.server.create_database("shop");
        self.server.psql("shop", sql);
        let shop = self.database("main", "shop");
        let summary = self.backed_up(&shop).await;
        (shop, summary)
    }
}

#[tokio::test]
async fn the_database_that_is_replaced_is_kept_when_asked_for() {
    let world = World::new();
    let (shop, summary) = world.shop("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    world.server.psql("shop", "UPDATE t SET a = 2");
    let keep = RestoreOptions { keep_old: true, ..FORCE };
    let restored = world.restore_as(&shop, &summary, keep).await.expect("restored");
    let remark = &restored.remarks[0].problem;
    let old = remark.object.clone().expect("names it");
    assert_eq!((remark.what.as_str(), restored.remarks.len()), ("keep old database", 1));
    assert_eq!(world.server.psql("shop", "SELECT a FROM t"), "1");
    assert_eq!(world.server.psql(&old, "SELECT a FROM t"), "2");
    world.restore(&shop, &summary, true).await.expect("restored");
    assert_eq!(world.server.psql(&old, "SELECT a FROM t"), "2", "no later restore drops it");
    assert_eq!(world.names(), format!("postgres shop {old}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_always_comes_back_does_not_get_between() {
    let world = Arc::new(World::new());
    let (shop, summary) = world.shop("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    let stop = Arc::new(AtomicBool::new(false));
    let pool: Vec<_> = (0..4)
        .map(|_| {
            let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut session =
                        world.server.session("shop", "SELECT count(*) FROM t; SELECT pg_sleep(60)");
                    session.wait(std::time::Duration::from_secs(90));
                }
            })
        })
        .collect();
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND wait_event = 'PgSleep'";
    packhorse_testkit::wait_until("the pool", std::time::Duration::from_secs(30), || {
        let number = world.server.psql("postgres", at_work);
        if number == "4" { Ok(()) } else { Err(number) }
    });
    world.restore(&shop, &summary, true).await.expect("restored");
    assert_eq!(world.names(), "postgres shop");
    stop.store(true, Ordering::Relaxed);
    while pool.iter().any(|thread| !thread.is_finished()) {
        world.server.end_connections();
    }
    pool.into_iter().for_each(|thread| thread.join().expect("a pool"));
}

#[tokio::test]
async fn two_restores_into_one_database_do_not_meet() {
    let world = World::new();
    let (shop, summary) = world.shop("CREATE TABLE t (a int)").await;
    let maintenance = shop.connection.to("postgres");
    let hold = hold::Hold::take(&maintenance, "shop", &world.cancel).await.expect("free");
    let problem = world.restore_as(&shop, &summary, FORCE).await.expect_err("the other one has it");
    assert!(problem.to_string().contains("another restore"), "{problem}");
    drop(hold);
    let free = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    packhorse_testkit::wait_until("the lock", std::time::Duration::from_secs(10), || {
        let number = world.server.psql("postgres", free);
        if number == "0" { Ok(()) } else { Err(number) }
    });
    world.restore(&shop, &summary, true).await.expect("restored");
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_or_a_lost_lock_leave_all_as_it_was() {
    let world = World::new();
    let (shop, summary) = world.shop("CREATE TABLE t (a int)").await;
    let target = target::Target::find(&shop.connection, &summary, true, &world.cancel).await.expect("found");
    let names = names::Names::new("shop");
    world.server.create_database(&names.new);
    let maintenance = shop.connection.to("postgres");
    let swap = |holder| swap::Swap {
        maintenance: &maintenance,
        target: &target,
        names: &names,
        holder,
        attributes: &[],
        old: swap::Old::Dropped,
    };
    let problem = swap("0").carry_out().await.expect_err("nobody holds the lock");
    assert!(problem.to_string().contains("keeps other restores out"), "{problem}");
    let hold = hold::Hold::take(&maintenance, "shop", &world.cancel).await.expect("free");
    world.server.psql("postgres", "ALTER DATABASE shop RENAME TO other; CREATE DATABASE shop");
    let problem = swap(&hold.holder).carry_out().await.expect_err("it is another one");
    assert!(problem.to_string().contains("somebody else"), "{problem}");
    assert_eq!(world.names(), format!("other postgres shop {}", names.new));
}

#[tokio::test]
async fn refused_statements_are_named_and_the_rest_comes_back_when_asked_for() {
    let world = World::new();
    world.server.psql("postgres", "CREATE ROLE gone");
    let sql =
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1); GRANT SELECT ON t TO gone; CREATE TABLE u (a int)";
    let (shop, summary) = world.shop(sql).await;
    world.server.psql("shop", "REVOKE ALL ON t FROM gone; DROP ROLE gone; DELETE FROM t");
    let problem = world.restore_as(&shop, &summary, FORCE).await.expect_err("the role is missing");
    assert_eq!((problem.kind, problem.subject), (ErrorKind::NotFound, Subject::Database));
    assert!(problem.next.as_ref().is_some_and(|next| next.contains("create the roles")), "{problem:?}");
    assert!(format!("{problem:?}").contains("left as it was"), "{problem:?}");
    assert_eq!(world.names(), "postgres shop");
    assert_eq!(world.server.psql("shop", "SELECT count(*) FROM t"), "0");

    let go_on = RestoreOptions { continue_on_error: true, ..FORCE };
    let restored = world.restore_as(&shop, &summary, go_on).await.expect("restored but for that");
    let [failure] = restored.failures.as_slice() else { panic!("{:?}", restored.failures) };
    assert_eq!((failure.item.as_str(), failure.component.clone()), ("main", Component::Databases));
    assert!(failure.problem.what.contains("ACL public.TABLE t"), "{failure}");
    assert_eq!(world.server.psql("shop", "SELECT a FROM t"), "1");
    let kept = restored.remarks.iter().find(|remark| remark.problem.what == "keep old database");
    assert!(kept.is_some(), "what failed may be needed from the old one: {:?}", restored.remarks);
}

#[tokio::test]
async fn roles_of_the_database_itself_are_asked_for_before_anything_is_done() {
    let world = World::new();
    world.server.psql("postgres", "CREATE ROLE gone");
    world.server.create_database("shop");
    world.server.psql(
        "postgres",
        "ALTER DATABASE shop OWNER TO gone; ALTER ROLE gone IN DATABASE shop SET work_mem = '8MB'",
    );
    let shop = world.database("main", "shop");
    let summary = world.backed_up(&shop).await;
    world.server.psql("postgres", "ALTER DATABASE shop OWNER TO postgres; DROP ROLE gone");
    let problem = world.restore_as(&shop, &summary, FORCE).await.expect_err("the role is missing");
    assert!(problem.to_string().contains("lacks roles that the database names: gone"), "{problem}");
    let go_on = RestoreOptions { continue_on_error: true, ..FORCE };
    let restored = world.restore_as(&shop, &summary, go_on).await.expect("restored without");
    assert_eq!(restored.failures.len(), 1, "{:?}", restored.failures);
}

#[tokio::test]
async fn what_came_back_is_compared_with_what_was_counted() {
    let world = World::new();
    let sql = "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); CREATE VIEW v AS SELECT 1 AS a";
    let (shop, summary) = world.shop(sql).await;
    let contents = summary.contents.clone().expect("counted");
    assert_eq!(contents.relations, BTreeMap::from([("tables".into(), 1), ("views".into(), 1)]));
    assert_eq!((contents.rows[0].table.as_str(), contents.rows[0].rows), ("public.t", 2));
    let before = world.state("shop");
    let dump = gunzip(&world.object("main"));
    for (part, what) in
        [("1\n2\n", "rows of public.t"), ("CREATE VIEW public.v AS\n SELECT 1 AS a;\n", "views")]
    {
        let shorter = dump.replace(part, if what == "views" { "" } else { "1\n" });
        assert_ne!(shorter, dump);
        let shorter = shorter.replace("ALTER TABLE public.v OWNER TO postgres;", "");
        let shorter = replace_dump(&world, &summary, &shorter);
        let problem = world.restore_as(&shop, &shorter, FORCE).await.expect_err("something is missing");
        assert_eq!(problem.kind, ErrorKind::Corrupt, "{problem}");
        assert!(problem.to_string().contains(what), "{problem}");
        assert_eq!(world.state("shop"), before);
    }
}

#[tokio::test]
async fn a_dump_that_commands_psql_or_ends_a_transaction_is_refused() {
    let world = World::new();
    let (shop, summary) = world.shop("CREATE TABLE t (a int)").await;
    let summary = DatabaseSummary { contents: None, ..summary };
    let before = world.state("shop");
    let mark = world.folder.path().join("ran");
    let end = "\n--\n-- PostgreSQL database dump complete\n--\n\n";
    let shell = format!("\\! touch {}\n", mark.display());
    for wrong in [shell.as_str(), "\\q\n", "\\connect postgres\n", "BEGIN;\n", "COPY x FROM stdin;\n1\n"] {
        let dump = format!("CREATE TABLE x (a int);\n{wrong}{end}");
        let problem = world.restore_as(&shop, &replace_dump(&world, &summary, &dump), FORCE).await;
        let problem = problem.expect_err(wrong);
        assert!(format!("{problem:?}").contains("left as it was"), "{wrong}: {problem:?}");
        assert_eq!(world.state("shop"), before, "{wrong}");
    }
    assert!(!mark.exists());
    assert_eq!(world.names(), "postgres shop");
}

#[tokio::test]
async fn an_owner_who_may_create_databases_restores_beside() {
    let world = World::new();
    world.server.create_role("app", "pw");
    world.server.create_database("shop");
    world.server.psql(
        "postgres",
        "ALTER ROLE app CREATEDB; ALTER DATABASE shop OWNER TO app; ALTER DATABASE shop SET work_mem = '8MB'",
    );
    world.server.psql("shop", "SET ROLE app; CREATE EXTENSION hstore; CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, h hstore)");
    let url = format!("postgresql://app:pw@127.0.0.1:{}/shop", world.server.port());
    let shop = World::of(&DatabaseConfig { url, ..world.config("main", "shop") });
    let summary = world.backed_up(&shop).await;
    let before = world.state("shop");
    let oid = "SELECT oid FROM pg_database WHERE datname = 'shop'";
    let old = world.server.psql("postgres", oid);
    world.server.psql("shop", "DROP TABLE t");
    world.restore(&shop, &summary, true).await.expect("restored");
    assert_eq!(world.state("shop"), before);
    assert_ne!(world.server.psql("postgres", oid), old);
    assert_eq!(world.server.psql("shop", "SHOW work_mem"), "8MB");
}

#[tokio::test]
async fn a_table_that_is_dropped_before_its_dump_costs_another_snapshot() {
    let world = World::new();
    world.server.create_database("one");
    world.server.create_database("two");
    world
        .server
        .psql("two", "CREATE TABLE keep (a int); INSERT INTO keep VALUES (7); CREATE TABLE part (a int)");
    let script = format!(
        "{}/psql -q '{}' -c 'DROP TABLE part' >&2 </dev/null\nexec $REAL \"$@\"",
        world.server.binaries().display(),
        world.server.url("two"),
    );
    let bin_dir = Some(world.scripted("pg_dump", &script));
    let first = DatabaseConfig { bin_dir, ..world.config("one", "one") };
    let (summaries, failures) = world.back_up(&[World::of(&first), world.database("two", "two")]).await;
    assert_eq!(failures, []);
    world.server.psql("two", "DROP TABLE keep");
    world.restore(&world.database("two", "two"), &summaries[1], false).await.expect("restored");
    assert_eq!(world.server.psql("two", "SELECT a FROM keep"), "7");
}

#[tokio::test]
async fn neither_the_servers_timeouts_nor_the_shells_encoding_matter() {
    let world = World::new();
    world.server.create_database("shop");
    let sql = "CREATE TABLE t (a text); INSERT INTO t VALUES ('Ä…'); \
        CREATE MATERIALIZED VIEW slow AS SELECT pg_sleep(0.6)::text AS a";
    world.server.psql("shop", sql);
    let timeouts = ["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"];
    let set = timeouts.map(|name| format!("ALTER SYSTEM SET {name} = '300ms';\n")).concat();
    let reset = timeouts.map(|name| format!("SET {name} = 0;\nALTER SYSTEM RESET {name};\n")).concat();
    world.server.psql("postgres", &format!("{set}SELECT pg_reload_conf()"));
    let mut config = world.config("main", "shop");
    config.env.insert("PGCLIENTENCODING".into(), "LATIN1".into());
    let shop = World::of(&config);
    let summary = world.backed_up(&shop).await;
    assert!(gunzip(&world.object("main")).contains("SET client_encoding = 'UTF8';"));
    world.restore(&shop, &summary, true).await.expect("restored");
    world.server.psql("postgres", &format!("{reset}SELECT pg_reload_conf()"));
    assert_eq!(world.server.psql("shop", "SELECT a FROM t"), "Ä…");
}

#[tokio::test]
async fn a_database_that_is_missing_is_made_and_old_backups_need_one() {
    let world = World::new();
    let (shop, summary) = world.shop("CREATE TABLE t (a int)").await;
    world.server.psql("postgres", "ALTER DATABASE shop SET work_mem = '8MB'");
    let with_setting = world.backed_up(&world.database("again", "shop")).await;
    world.server.psql("postgres", "DROP DATABASE shop");
    let old = DatabaseSummary { attributes: None, contents: None, ..summary };
    let problem = world.restore_as(&shop, &old, FORCE).await.expect_err("nothing says what it is to be like");
    assert_eq!(problem.kind, ErrorKind::NotFound);
    world.restore(&world.database("again", "shop"), &with_setting, false).await.expect("made");
    assert_eq!(world.server.psql("shop", "SHOW work_mem"), "8MB");
    // A backup of the first versions takes what the database has here.
    world.restore(&shop, &old, true).await.expect("restored");
    assert_eq!(world.server.psql("shop", "SHOW work_mem"), "8MB");
}

#[tokio::test]
async fn replication_slots_of_the_old_database_are_told() {
    let server = PostgresServer::start_with(None, "wal_level = logical\n");
    let world = World::on(server);
    let (shop, summary) = world.shop("CREATE TABLE t (a int)").await;
    let slots = "SELECT string_agg(slot_name || ' of ' || database, ' ') FROM pg_replication_slots";
    let told = |restored: &Restored, what: &str| {
        let mut remarks = restored.remarks.iter().filter(|remark| remark.problem.what == "replace database");
        remarks.any(|remark| remark.problem.answer.as_deref().is_some_and(|said| said.contains(what)))
    };
    let make = || world.server.psql("shop", "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
    make();
    let keep = RestoreOptions { keep_old: true, ..FORCE };
    let restored = world.restore_as(&shop, &summary, keep).await.expect("restored");
    assert!(told(&restored, "which is kept: feed"), "{:?}", restored.remarks);
    assert!(world.server.psql("postgres", slots).starts_with("feed of shop_packhorse_"));
    world.server.psql("postgres", "SELECT pg_drop_replication_slot('feed')");
    let restored = world.restore_as(&shop, &summary, FORCE).await.expect("restored");
    assert_eq!(restored.remarks, []);
    make();
    let restored = world.restore_as(&shop, &summary, FORCE).await.expect("restored");
    assert!(told(&restored, "went with the old database: feed"), "{:?}", restored.remarks);
    assert_eq!(world.server.psql("postgres", slots), "");
}
