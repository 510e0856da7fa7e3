//! Objects that need the search path of the database's sessions, under which they were made.

use super::*;

/// To work an index's expression out, the server has to find what its function calls: even to count rows.
const NEEDS_PATH: &str = "CREATE FUNCTION helper() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'h'::text$$; \
    CREATE FUNCTION uses(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT upper(t) || helper()$$; \
    CREATE TABLE fi (t text); INSERT INTO fi SELECT 'r' || i FROM generate_series(1, 50) i; CREATE INDEX fix ON fi (uses(t)); \
    CREATE TABLE plain (a int); INSERT INTO plain VALUES (1)";
const ANALYSED: &str = "SELECT string_agg(DISTINCT tablename, ' ' ORDER BY tablename) FROM pg_stats WHERE tablename IN ('fi', 'plain')";

/// A server whose version still makes such an index; later ones work it out under a path of their own.
fn world() -> Option<World> {
    let world = World::new();
    world.server.create_database("shop");
    let version: u32 = world.server.psql("shop", "SHOW server_version_num").parse().expect("a number");
    (version < 170_000).then_some(world)
}

#[tokio::test]
async fn rows_behind_an_index_that_needs_a_search_path_are_counted_and_analysed() {
    let Some(world) = world() else { return packhorse_testkit::skipped("this PostgreSQL refuses the index") };
    world.server.psql("shop", NEEDS_PATH);
    let shop = world.database("main", "shop");
    let summary = world.backed_up(&shop).await;
    let contents = summary.contents.as_ref().expect("counted");
    assert!(contents.rows.iter().any(|sample| sample.table == "public.fi" && sample.rows == 50));
    let before = world.state("shop");
    world.server.psql("shop", "DELETE FROM fi");
    world.restore(&shop, &summary, true).await.expect("restored beside");
    assert_eq!(
        (world.state("shop"), world.server.psql("shop", ANALYSED)),
        (before.clone(), "fi plain".into())
    );
    // A template is restored in place.
    world.server.psql("postgres", "ALTER DATABASE shop IS_TEMPLATE true");
    world.restore(&shop, &summary, true).await.expect("restored in place");
    assert_eq!((world.state("shop"), world.server.psql("shop", ANALYSED)), (before, "fi plain".into()));

    let dump = gunzip(&world.object("main"));
    let shorter = replace_dump(&world, &summary, &dump.replace("\nr7\n", "\n"));
    let problem = refused(world.restore(&shop, &shorter, true).await);
    assert!(problem.to_string().contains("49 rows of public.fi"), "{problem}");
}

#[tokio::test]
async fn statistics_that_cannot_be_made_are_a_remark() {
    let Some(world) = world() else { return packhorse_testkit::skipped("this PostgreSQL refuses the index") };
    // What the index calls is there when it is made, and fails later.
    world.server.psql(
        "shop",
        "CREATE TABLE off (a int); CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \
         $$BEGIN IF EXISTS (SELECT FROM public.off) THEN RAISE 'off'; END IF; RETURN i; END$$; \
         CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE INDEX ti ON t (public.f(a)); INSERT INTO off VALUES (1)",
    );
    let shop = world.database("main", "shop");
    let summary = world.backed_up(&shop).await;
    // The rows of the table that fails come after the index is made, as in no dump of PostgreSQL's.
    let dump = gunzip(&world.object("main"));
    let rows = "COPY public.off (a) FROM stdin;\n1\n\\.\n";
    let end = "\n--\n-- PostgreSQL database dump complete";
    assert!(dump.contains(rows));
    let later = dump.replace(rows, "").replace(end, &format!("\n{rows}{end}"));
    let summary = replace_dump(&world, &summary, &later);
    let force = RestoreOptions { force: true, ..RestoreOptions::default() };
    let restored = world.restore_as(&shop, &summary, force).await.expect("restored");
    assert_eq!(restored.failures, []);
    let [remark] = restored.remarks.as_slice() else { panic!("{:?}", restored.remarks) };
    assert_eq!(remark.problem.what, "make statistics of database");
    assert!(remark.problem.next.as_ref().is_some_and(|next| next.contains("run ANALYZE")), "{remark:?}");
}
