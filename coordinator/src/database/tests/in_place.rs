//! Restores in place, where the user may not make a database.

use super::*;

const FORCE: RestoreOptions = RestoreOptions { force: true, keep_old: false, continue_on_error: false };

/// A database of a role that may do nothing else, beside an extension in a schema of the administrator.
async fn world_of_an_owner() -> (World, Database, DatabaseSummary) {
    let world = World::new();
    world.server.create_role("app", "pw");
    world.server.create_database("shop");
    world.server.psql(
        "shop",
        "CREATE SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO PUBLIC; CREATE EXTENSION hstore SCHEMA extensions; \
         COMMENT ON SCHEMA extensions IS 'of the administrator'; ALTER DATABASE shop OWNER TO app; SET ROLE app; \
         CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, h extensions.hstore); INSERT INTO t (h) VALUES ('a=>1'); \
         CREATE TYPE span AS RANGE (SUBTYPE = float8); SELECT lo_from_bytea(5, 'blob'); \
         CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT count(*) FROM names) >= 0; END$$; \
         CREATE TABLE names (a int); CREATE TABLE checked (a int CHECK (public.known(a))); INSERT INTO checked VALUES (1)",
    );
    let url = format!("postgresql://app:pw@127.0.0.1:{}/shop", world.server.port());
    let shop = World::of(&DatabaseConfig { url, ..world.config("main", "shop") });
    let summary = world.backed_up(&shop).await;
    (world, shop, summary)
}

#[tokio::test]
async fn an_owner_restores_in_place_and_what_is_not_his_stays() {
    let (world, shop, summary) = world_of_an_owner().await;
    let before = world.state("shop");
    let oid = "SELECT oid FROM pg_database WHERE datname = 'shop'";
    let same = world.server.psql("postgres", oid);
    world
        .server
        .psql("shop", "SET ROLE app; DELETE FROM t; CREATE TABLE newer (id serial); CREATE SCHEMA newer");
    world.restore(&shop, &summary, true).await.expect("restored");
    assert_eq!(world.state("shop"), before);
    assert_eq!(world.server.psql("postgres", oid), same);
    let keep = RestoreOptions { keep_old: true, ..FORCE };
    let problem = world.restore_as(&shop, &summary, keep).await.expect_err("there is no other one");
    assert_eq!(problem.kind, ErrorKind::Invalid);
    assert!(problem.next.as_ref().is_some_and(|next| next.contains("CREATEDB")), "{problem:?}");
}

#[tokio::test]
async fn what_fails_in_place_is_rolled_back_or_named() {
    let (world, shop, summary) = world_of_an_owner().await;
    world.server.psql("shop", "SET ROLE app; UPDATE t SET h = 'b=>2'");
    let before = world.state("shop");
    let dump = gunzip(&world.object("main"));
    let end = "\n--\n-- PostgreSQL database dump complete";
    let broken = replace_dump(&world, &summary, &dump.replace(end, &format!("\nSELECT 1/0;\n{end}")));
    let problem = world.restore_as(&shop, &broken, FORCE).await.expect_err("division by zero");
    assert!(
        format!("{problem:?}").contains("division by zero")
            && format!("{problem:?}").contains("left as it was")
    );
    assert_eq!(world.state("shop"), before);
    let sneaky = replace_dump(&world, &summary, &dump.replace(end, &format!("\nROLLBACK;\nBEGIN;\n{end}")));
    world.restore_as(&shop, &sneaky, FORCE).await.expect_err("another transaction");
    assert_eq!(world.state("shop"), before);
    let cut = replace_dump(&world, &summary, &dump[..dump.len() - 100]);
    assert_eq!(world.restore_as(&shop, &cut, FORCE).await.expect_err("cut").kind, ErrorKind::Corrupt);
    assert_eq!(world.state("shop"), before);

    let broken = replace_dump(&world, &summary, &dump.replace(end, &format!("\nSELECT 1/0;\n{end}")));
    let go_on = RestoreOptions { continue_on_error: true, ..FORCE };
    let restored = world.restore_as(&shop, &broken, go_on).await.expect("the rest");
    assert_eq!(restored.failures.len(), 1);
    assert!(restored.failures[0].to_string().contains("division by zero"), "{:?}", restored.failures);
    assert_eq!(world.server.psql("shop", "SELECT h FROM t"), "\"a\"=>\"1\"");
}

#[tokio::test]
async fn too_few_locks_are_noticed_before_anything_is_done() {
    let (world, shop, summary) = world_of_an_owner().await;
    let mut many = summary.clone();
    many.contents.as_mut().expect("counted").relations.insert("tables".into(), 1_000_000);
    let before = world.state("shop");
    let problem = world.restore_as(&shop, &many, FORCE).await.expect_err("too many");
    let next = problem.next.clone().unwrap_or_default();
    assert!(next.contains("set max_locks_per_transaction to ") && next.contains("CREATEDB"), "{problem:?}");
    assert_eq!(world.state("shop"), before);
}
