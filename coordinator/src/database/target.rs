//! The database that a dump is restored into: its version, what it holds, and how to empty it.
//!
//! Does not own: running the restore. Extensions, the schema `public` and schemas that are an extension's home belong
//! to whoever set the database up, so they neither count as contents nor are dropped.

use packhorse_model::{DatabaseSummary, ErrorKind, Problem};
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, failure, psql};

/// Schemas that stay, and every object in them that an extension does not own, as `pg_identify_object` sees it.
macro_rules! contents {
    () => {
        "WITH kept AS (\
            SELECT oid FROM pg_namespace WHERE nspname = 'public' UNION SELECT extnamespace FROM pg_extension\
        ), object AS (\
            SELECT 'pg_namespace'::regclass AS class, oid FROM pg_namespace \
                WHERE oid NOT IN (SELECT oid FROM kept) AND nspname !~ '^pg_' AND nspname <> 'information_schema' \
            UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class \
                WHERE relnamespace IN (SELECT oid FROM kept) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
            UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM kept) \
            UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid \
                WHERE typnamespace IN (SELECT oid FROM kept) AND (typtype IN ('d', 'e', 'r') OR relkind = 'c' \
                OR typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)) \
            UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collnamespace IN (SELECT oid FROM kept) \
            UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion WHERE connamespace IN (SELECT oid FROM kept) \
            UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace IN (SELECT oid FROM kept) \
            UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfnamespace IN (SELECT oid FROM kept) \
            UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgnamespace IN (SELECT oid FROM kept) \
            UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictnamespace IN (SELECT oid FROM kept)\
        ), contents AS (\
            SELECT class, oid FROM object WHERE oid >= 16384 AND NOT EXISTS (\
                SELECT FROM pg_depend WHERE classid = class AND objid = object.oid AND deptype = 'e')\
        ) "
    };
}

/// The server's version, the extensions of other owners up to an empty field, and some of the contents.
const LOOK: &str = concat!(
    "SELECT current_setting('server_version_num')::int / 10000;\n\
     SELECT extname FROM pg_extension WHERE NOT pg_has_role(extowner, 'USAGE');\nSELECT '';\n",
    contents!(),
    "(SELECT i.type || ' ' || i.identity FROM contents, pg_identify_object(class, oid, 0) i LIMIT 5) \
     UNION ALL (SELECT 'large object ' || oid FROM pg_largeobject_metadata LIMIT 1) LIMIT 5;\n"
);

/// Drops all contents. Waits only a while for locks, so a forgotten application is an error and not a hang.
pub(super) const EMPTY: &str = concat!(
    "SET LOCAL lock_timeout = '60s';\nDO $packhorse$\nDECLARE victim record;\nBEGIN\n  FOR victim IN ",
    contents!(),
    "SELECT class, oid FROM contents\n  LOOP\n\
     \x20   EXECUTE coalesce((SELECT format('DROP %s IF EXISTS %s CASCADE', type, identity)\n\
     \x20     FROM pg_identify_object(victim.class, victim.oid, 0) WHERE identity IS NOT NULL), 'SELECT');\n\
     \x20 END LOOP;\n\
     \x20 PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;\nEND\n$packhorse$;\n"
);

/// Refuses a server that is older than the dump, and a database that holds something unless forced; gives the
/// extensions that the user of this connection cannot drop.
pub(super) async fn check(
    connection: &Connection,
    summary: &DatabaseSummary,
    force: bool,
    cancel: &CancellationToken,
) -> Result<Vec<String>, Problem> {
    const WHAT: &str = "restore database";
    let mut answer = psql::ask(connection, "look into database", LOOK, cancel).await?.into_iter();
    let major: Option<u32> = answer.next().and_then(|major| major.parse().ok());
    let major =
        major.ok_or_else(|| failure::problem(connection, ErrorKind::Internal, "read server version"))?;
    if major < summary.server_major {
        return Err(failure::problem(connection, ErrorKind::Invalid, WHAT)
            .answered(format!("the dump is of PostgreSQL {}, the server is {major}", summary.server_major))
            .next(format!("restore into a server of version {} or newer", summary.server_major)));
    }
    let foreign: Vec<String> = answer.by_ref().take_while(|name| !name.is_empty()).collect();
    let holds: Vec<String> = answer.collect();
    if !holds.is_empty() && !force {
        return Err(failure::problem(connection, ErrorKind::AlreadyExists, WHAT)
            .answered(format!("the database is not empty: it holds {}", holds.join(", ")))
            .next("restore into an empty database, or use --force to replace what it holds"));
    }
    Ok(foreign)
}
