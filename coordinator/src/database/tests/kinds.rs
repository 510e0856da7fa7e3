//! One object of every kind that a database can hold, there and back, on the system's version and on a later one.

use super::*;

/// Each kind once, and some names and texts that look like something else.
const ZOO: &str = r#"
CREATE EXTENSION hstore; CREATE EXTENSION postgres_fdw;
CREATE SCHEMA s; CREATE SCHEMA "odd ""schema""";
CREATE TYPE mood AS ENUM ('a', 'b'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (SUBTYPE = float8, MULTIRANGE_TYPE_NAME = spans); CREATE TYPE shell;
CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, d positive, m mood, p pair, h hstore,
    g int GENERATED ALWAYS AS (d * 2) STORED, UNIQUE (d) DEFERRABLE, EXCLUDE USING gist (int4range(id, id + 1) WITH &&));
CREATE TABLE serial (id bigserial PRIMARY KEY, note text DEFAULT 'x;' || chr(10) || 'COMMIT;');
CREATE TABLE s.parent (k int NOT NULL, v text) PARTITION BY RANGE (k);
CREATE TABLE s.child1 PARTITION OF s.parent FOR VALUES FROM (0) TO (10); CREATE TABLE s.child2 PARTITION OF s.parent DEFAULT;
CREATE UNIQUE INDEX ON s.parent (k); CREATE TABLE base (a int); CREATE TABLE heir (b int) INHERITS (base);
CREATE TABLE fk (i int REFERENCES ident); ALTER TABLE fk ADD CONSTRAINT chk CHECK (i > 0) NOT VALID;
CREATE UNLOGGED TABLE fleeting (a int); INSERT INTO fleeting VALUES (1);
CREATE TABLE typed OF pair; CREATE TABLE many AS SELECT g AS a, md5(g::text) AS b FROM generate_series(1, 500) g;
CREATE VIEW v AS SELECT id, note FROM serial; ALTER VIEW v ALTER COLUMN note SET DEFAULT 'd';
CREATE VIEW s.v2 WITH (security_barrier) AS SELECT * FROM v; CREATE RECURSIVE VIEW rec (n) AS SELECT 1 UNION SELECT n + 1 FROM rec WHERE n < 3;
CREATE VIEW by_key AS SELECT id, m, d FROM ident GROUP BY id;
CREATE RULE r AS ON INSERT TO v DO INSTEAD INSERT INTO serial (note) VALUES (new.note);
CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM many; CREATE UNIQUE INDEX ON mv (n);
CREATE MATERIALIZED VIEW empty_mv AS SELECT count(*) AS n FROM serial WITH NO DATA;
CREATE STATISTICS st ON id, note FROM serial; CREATE INDEX expr ON many (lower(b)) WHERE a > 3;
CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT RETURN $1 + $2;
CREATE FUNCTION atomic(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a > 0 THEN 1 ELSE 0 END; SELECT 2; END;
SET check_function_bodies = off; CREATE FUNCTION body() RETURNS text LANGUAGE plpgsql AS $f$
BEGIN
COMMIT;
COPY nothing FROM stdin;
\.
-- Name: nothing; Type: TABLE; Schema: public; Owner: -
\! false
RETURN '$packhorse$ it''s';
END$f$; RESET check_function_bodies;
CREATE PROCEDURE proc() LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION setret() RETURNS SETOF serial LANGUAGE sql AS 'SELECT * FROM serial';
CREATE AGGREGATE total(int) (SFUNC = plus, STYPE = int, INITCOND = '0'); CREATE AGGREGATE howmany(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
CREATE AGGREGATE pct(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE OPERATOR #+# (LEFTARG = int, RIGHTARG = int, FUNCTION = plus); CREATE OPERATOR @#@ (RIGHTARG = int, FUNCTION = abs);
CREATE OPERATOR FAMILY fam USING btree;
CREATE OPERATOR CLASS cls FOR TYPE int USING btree FAMILY fam AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE FUNCTION to_pair(text) RETURNS pair LANGUAGE sql AS $$SELECT (1, $1)::pair$$;
CREATE CAST (text AS pair) WITH FUNCTION to_pair(text) AS ASSIGNMENT;
CREATE COLLATION plain (LOCALE = 'C'); CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION conf (COPY = english);
CREATE TEXT SEARCH PARSER pars (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE templ (LEXIZE = dsimple_lexize);
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER t BEFORE INSERT ON serial FOR EACH ROW EXECUTE FUNCTION trg(); ALTER TABLE serial DISABLE TRIGGER t;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'x'); CREATE FOREIGN DATA WRAPPER own;
CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'y', password 'z'); CREATE FOREIGN TABLE ft (a int) SERVER far;
CREATE PUBLICATION allp FOR ALL TABLES; CREATE PUBLICATION onep FOR TABLE ident WHERE (id > 0); CREATE PUBLICATION schp FOR TABLES IN SCHEMA s;
CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port=1 dbname=far' PUBLICATION p WITH (connect = false);
ALTER TABLE serial ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON serial TO reader USING (id > 0);
CREATE ACCESS METHOD am TYPE TABLE HANDLER heap_tableam_handler;
CREATE FUNCTION own_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE LANGUAGE own HANDLER own_handler;
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
GRANT SELECT (id) ON serial TO reader; GRANT USAGE ON SCHEMA s TO reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO reader; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
COMMENT ON TABLE serial IS E'it''s\n-- PostgreSQL database dump complete\n\\.\n'; COMMENT ON COLUMN serial.note IS 'n';
COMMENT ON SCHEMA public IS 'ours'; COMMENT ON CONSTRAINT chk ON fk IS 'c';
CREATE TABLE "odd ""schema"""."Tab	le
x" ("Col 'q'" text, "$1" int); INSERT INTO "odd ""schema"""."Tab	le
x" VALUES (E'a\tb\\N\n\\.\n', 1);
INSERT INTO serial (note) SELECT 'row ' || g FROM generate_series(1, 100) g;
INSERT INTO ident (d, m, p, h) VALUES (1, 'a', (1, 'x'), 'k=>v'); INSERT INTO s.parent VALUES (1, 'a'), (100, 'b');
SELECT lo_from_bytea(4242, '\x00ff'); ALTER LARGE OBJECT 4242 OWNER TO app; COMMENT ON LARGE OBJECT 4242 IS 'blob';
GRANT SELECT ON LARGE OBJECT 4242 TO reader; ALTER TABLE many OWNER TO app; ALTER SEQUENCE serial_id_seq RESTART 5000;
CREATE SEQUENCE s.seq CYCLE MAXVALUE 5; SELECT setval('s.seq', 3);
CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql STABLE AS $$BEGIN RETURN (SELECT count(*) FROM many) >= 0; END$$;
CREATE TABLE checked (a int CHECK (public.known(a))); INSERT INTO checked VALUES (1), (2);
CREATE TABLE log (tag text); CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.log VALUES (tg_tag); END';
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION et(); CREATE EVENT TRIGGER gone ON sql_drop EXECUTE FUNCTION et();
COMMENT ON EVENT TRIGGER e IS 'e';
"#;

/// What only servers before version 17 take: later ones refresh under a search path of their own.
const NEEDS_PATH: &str = r#"
CREATE FUNCTION counts() RETURNS TABLE (n bigint) LANGUAGE plpgsql AS $$BEGIN RETURN QUERY SELECT count(*) FROM many; END$$;
CREATE MATERIALIZED VIEW needs_path AS SELECT * FROM counts();
"#;

/// What the backup does not know of, once of each kind that no drop of a schema takes with it.
const NEWER: &str = r#"
CREATE PUBLICATION newer FOR ALL TABLES; CREATE EVENT TRIGGER newer ON ddl_command_start EXECUTE FUNCTION et();
CREATE FOREIGN DATA WRAPPER newer; CREATE SERVER newer FOREIGN DATA WRAPPER newer; CREATE EXTENSION citext;
CREATE SCHEMA newer; CREATE TABLE newer.t (id int GENERATED BY DEFAULT AS IDENTITY); CREATE TABLE newer (id int);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; SELECT lo_create(7); CREATE CAST (pair AS text) WITH INOUT;
CREATE SUBSCRIPTION newer CONNECTION 'host=127.0.0.1 port=1 dbname=far' PUBLICATION p WITH (connect = false);
CREATE ACCESS METHOD newer TYPE TABLE HANDLER heap_tableam_handler; CREATE LANGUAGE newer HANDLER plpgsql_call_handler;
CREATE OPERATOR CLASS newer FOR TYPE int USING btree AS FUNCTION 1 btint4cmp(int, int);
TRUNCATE many; DROP VIEW by_key; ALTER TABLE ident DROP COLUMN h; COMMENT ON SCHEMA public IS 'newer';
"#;

/// What belongs to the database itself.
const ATTRIBUTES: &str = r#"
ALTER DATABASE zoo OWNER TO app; ALTER DATABASE zoo CONNECTION LIMIT 50; COMMENT ON DATABASE zoo IS 'the zoo''s';
ALTER DATABASE zoo SET search_path = "odd ""schema""", public; ALTER DATABASE zoo SET "my.setting" = 'a, ''b'' \';
ALTER ROLE app IN DATABASE zoo SET statement_timeout = '5s'; ALTER DATABASE zoo SET default_transaction_read_only = on;
REVOKE CONNECT ON DATABASE zoo FROM PUBLIC; GRANT CONNECT ON DATABASE zoo TO reader WITH GRANT OPTION;
"#;

const OF_DATABASE: &str = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, \
    shobj_description(d.oid, 'pg_database'), datacl, ARRAY(SELECT setrole::regrole || ' ' || setconfig::text \
    FROM pg_db_role_setting WHERE setdatabase = d.oid ORDER BY 1) FROM pg_database d WHERE datname = 'NAME'";

impl World {
    fn zoo(server: PostgresServer) -> Self {
        let world = Self::on(server);
        world.server.psql("postgres", "CREATE ROLE app LOGIN; CREATE ROLE reader");
        world.server.create_database("zoo");
        world.server.psql("zoo", ZOO);
        world.server.psql("postgres", ATTRIBUTES);
        world
    }

    fn of_database(&self, name: &str) -> String {
        self.server.psql("postgres", &OF_DATABASE.replace("NAME", name))
    }

    /// Contents with all rows, and attributes.
    fn whole(&self, name: &str) -> (String, String) {
        (self.state(name), self.of_database(name))
    }
}

fn subscriptions(restored: &Restored) -> usize {
    assert_eq!(restored.failures, []);
    restored.remarks.iter().filter(|remark| remark.problem.what == "restore subscription").count()
}

async fn every_kind_comes_back(world: World) {
    let zoo = world.database("main", "zoo");
    let before = world.whole("zoo");
    let summary = world.backed_up(&zoo).await;
    let force = RestoreOptions { force: true, ..RestoreOptions::default() };

    world.server.create_database("copy");
    let copy = world.database("main", "copy");
    let restored =
        world.restore_as(&copy, &summary, RestoreOptions::default()).await.expect("into an empty one");
    assert_eq!(subscriptions(&restored), 1);
    same(&world.whole("copy"), &before);

    world.restore_as(&zoo, &summary, force).await.expect("over itself");
    same(&world.whole("zoo"), &before);

    let newer = format!("SET default_transaction_read_only = off; {NEWER}");
    world.server.psql("zoo", &newer);
    world.restore_as(&zoo, &summary, force).await.expect("over what is newer");
    same(&world.whole("zoo"), &before);

    // A template is not replaced by another database, so this is in place.
    world.server.psql("zoo", &newer);
    world.server.psql("postgres", "ALTER DATABASE zoo IS_TEMPLATE true");
    let oid = world.server.psql("postgres", "SELECT oid FROM pg_database WHERE datname = 'zoo'");
    world.restore_as(&zoo, &summary, force).await.expect("in place, over what is newer");
    assert_eq!(world.server.psql("postgres", "SELECT oid FROM pg_database WHERE datname = 'zoo'"), oid);
    same(&world.whole("zoo"), &before);

    world.server.psql("postgres", "ALTER DATABASE zoo IS_TEMPLATE false");
    world.restore_as(&zoo, &summary, force).await.expect("beside again");
    let names = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(world.server.psql("postgres", names), "copy postgres zoo");
}

#[tokio::test]
async fn every_kind_of_object_comes_back() {
    let world = World::zoo(PostgresServer::start());
    let version: u32 = world.server.psql("zoo", "SHOW server_version_num").parse().expect("a number");
    if version < 170_000 {
        world.server.psql("zoo", &format!("SET default_transaction_read_only = off; {NEEDS_PATH}"));
    }
    every_kind_comes_back(world).await;
}

#[tokio::test]
async fn every_kind_of_object_comes_back_on_the_next_version() {
    match PostgresServer::next_version() {
        Some(binaries) => {
            every_kind_comes_back(World::zoo(PostgresServer::start_with(Some(&binaries), ""))).await;
        }
        None => packhorse_testkit::skipped("no later version of PostgreSQL below target/tools"),
    }
}

#[tokio::test]
async fn a_dump_of_this_version_comes_back_on_the_next_one() {
    let Some(binaries) = PostgresServer::next_version() else {
        return packhorse_testkit::skipped("no later version of PostgreSQL below target/tools");
    };
    let world = World::zoo(PostgresServer::start());
    let summary = world.backed_up(&world.database("main", "zoo")).await;
    let rows = "SELECT (SELECT md5(string_agg(m::text, '' ORDER BY a)) FROM many m), (SELECT array_agg(i) FROM ident i), \
        (SELECT array_agg(p ORDER BY k) FROM s.parent p), (SELECT array_agg(c ORDER BY a) FROM checked c)";
    let before = world.server.psql("zoo", rows);
    let later = World { server: PostgresServer::start_with(Some(&binaries), ""), ..world };
    later.server.psql("postgres", "CREATE ROLE app LOGIN; CREATE ROLE reader");
    // The database is not there: it is made.
    let restored =
        later.restore_as(&later.database("main", "zoo"), &summary, RestoreOptions::default()).await;
    assert_eq!(subscriptions(&restored.expect("restored")), 1);
    assert_eq!(later.server.psql("zoo", rows), before);
    assert!(later.of_database("zoo").contains("the zoo's"));
}

/// Shows the first line that differs, and not two whole dumps.
#[track_caller]
fn same(is: &(String, String), was: &(String, String)) {
    let differs = is.0.lines().zip(was.0.lines()).find(|(is, was)| is != was);
    assert_eq!((differs, is.0.len()), (None, was.0.len()));
    assert_eq!(is.1, was.1);
}
