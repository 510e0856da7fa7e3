//! What a database holds, as queries: whether it is empty, and how everything in it is dropped.
//!
//! Does not own: who asks (`target`, `in_place`). Extensions of other owners, their schemas and the schema `public` belong
//! to whoever set the database up. What another object owns internally, such as the sequence of an identity column, goes
//! with it and cannot be dropped by itself. Names come from the server and go back through its own quoting.

/// Every object that is no part of another one or of an extension, as `pg_identify_object` sees it; `$homes` are the
/// schemas that stay.
macro_rules! contents {
    ($homes:literal) => {
        concat!(
            "WITH kept AS (\
                SELECT oid FROM pg_namespace WHERE nspname = 'public' UNION ", $homes,
            "), object AS (\
                SELECT 'pg_event_trigger'::regclass AS class, oid FROM pg_event_trigger \
                UNION ALL SELECT 'pg_subscription'::regclass, s.oid FROM pg_subscription s \
                    JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database() \
                UNION ALL SELECT 'pg_publication'::regclass, oid FROM pg_publication \
                UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace \
                    WHERE oid NOT IN (SELECT oid FROM kept) AND nspname !~ '^pg_' AND nspname <> 'information_schema' \
                UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class \
                    WHERE relnamespace IN (SELECT oid FROM kept) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
                UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid \
                    WHERE typnamespace IN (SELECT oid FROM kept) AND (typtype IN ('d', 'e', 'r') OR relkind = 'c' \
                    OR NOT typisdefined \
                    OR typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)) \
                UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion WHERE connamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser WHERE prsnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template WHERE tmplnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxnamespace IN (SELECT oid FROM kept) \
                UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server \
                UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper \
                UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast \
                UNION ALL SELECT 'pg_transform'::regclass, oid FROM pg_transform \
                UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am \
                UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language\
            ), contents AS (\
                SELECT class, oid FROM object WHERE oid >= 16384 AND NOT EXISTS (\
                    SELECT FROM pg_depend WHERE classid = class AND objid = object.oid AND deptype IN ('e', 'i'))\
            ) "
        )
    };
}

/// Names some of what the database holds; nothing when it is empty. The home of any extension does not count.
pub(super) const HOLDS: &str = concat!(
    contents!("SELECT extnamespace FROM pg_extension"),
    "(SELECT i.type || ' ' || i.identity FROM contents, pg_identify_object(class, oid, 0) i LIMIT 5) \
     UNION ALL (SELECT 'large object ' || oid FROM pg_largeobject_metadata LIMIT 1) \
     UNION ALL (SELECT 'default privileges' FROM pg_default_acl LIMIT 1) LIMIT 5;\n"
);

/// Drops everything: event triggers first, so that none fires; subscriptions without asking the other side; then what
/// holds other things. Extensions that cannot be dropped lose the rows that a dump brings.
pub(super) const EMPTY: &str = concat!(
    "DO $packhorse$\nDECLARE victim record; entry record;\nBEGIN\n  FOR victim IN ",
    contents!("SELECT extnamespace FROM pg_extension WHERE NOT pg_has_role(extowner, 'USAGE')"),
    "SELECT class, oid FROM contents \
     ORDER BY class <> 'pg_event_trigger'::regclass, class <> 'pg_subscription'::regclass, class <> 'pg_namespace'::regclass\n\
     \x20 LOOP\n\
     \x20   IF victim.class = 'pg_subscription'::regclass THEN\n\
     \x20     SELECT subname INTO entry FROM pg_subscription WHERE oid = victim.oid;\n\
     \x20     EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', entry.subname);\n\
     \x20     EXECUTE format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', entry.subname);\n\
     \x20   END IF;\n\
     \x20   EXECUTE coalesce((SELECT format('DROP %s IF EXISTS %s CASCADE', \
     CASE WHEN victim.class = 'pg_proc'::regclass AND current_setting('server_version_num')::int >= 110000 \
     THEN 'ROUTINE' WHEN victim.class = 'pg_statistic_ext'::regclass THEN 'STATISTICS' \
     ELSE replace(type, '-', ' ') END, \
     CASE WHEN victim.class = 'pg_transform'::regclass THEN replace(identity, ' on language ', ' language ') \
     ELSE identity END)\n\
     \x20     FROM pg_identify_object(victim.class, victim.oid, 0) WHERE identity IS NOT NULL), 'SELECT');\n\
     \x20 END LOOP;\n\
     \x20 FOR victim IN SELECT extname FROM pg_extension WHERE oid >= 16384 AND pg_has_role(extowner, 'USAGE') LOOP\n\
     \x20   EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', victim.extname);\n\
     \x20 END LOOP;\n\
     \x20 FOR victim IN SELECT c.oid::regclass AS name, condition FROM pg_extension, \
     unnest(extconfig, extcondition) AS config (relation, condition) \
     JOIN pg_class c ON c.oid = relation WHERE relkind = 'r' AND has_table_privilege(c.oid, 'DELETE') LOOP\n\
     \x20   EXECUTE format('DELETE FROM %s %s', victim.name, victim.condition);\n\
     \x20 END LOOP;\n\
     \x20 FOR victim IN SELECT pg_get_userbyid(defaclrole) AS owner, nspname, defaclacl, CASE defaclobjtype \
     WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' \
     WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind \
     FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace \
     WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE classid = 'pg_default_acl'::regclass AND objid = pg_default_acl.oid \
     AND deptype = 'e') LOOP\n\
     \x20   FOR entry IN SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS role \
     FROM aclexplode(victim.defaclacl) LOOP\n\
     \x20     EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I %s REVOKE ALL ON %s FROM %s', victim.owner, \
     'IN SCHEMA ' || quote_ident(victim.nspname), victim.kind, entry.role);\n\
     \x20   END LOOP;\n\
     \x20   IF victim.nspname IS NULL THEN\n\
     \x20     EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT ALL ON %s TO %I', \
     victim.owner, victim.kind, victim.owner);\n\
     \x20     IF victim.kind IN ('FUNCTIONS', 'TYPES') THEN\n\
     \x20       EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT ALL ON %s TO PUBLIC', victim.owner, victim.kind);\n\
     \x20     END IF;\n\
     \x20   END IF;\n\
     \x20 END LOOP;\n\
     \x20 PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;\nEND\n$packhorse$;\n"
);

/// Locks that dropping everything takes, and what the server has in all for one more setting of `max_locks_per_transaction`.
pub(super) const LOCKS: &str = "SELECT (SELECT count(*) FROM (\
     SELECT classid, objid FROM pg_depend WHERE objid >= 16384 \
     UNION SELECT 'pg_class'::regclass, oid FROM pg_class WHERE oid >= 16384) dropped), \
     (SELECT sum(setting::bigint) FROM pg_settings WHERE name IN ('max_connections', 'max_prepared_transactions', \
     'autovacuum_max_workers', 'max_worker_processes', 'max_wal_senders')), \
     current_setting('max_locks_per_transaction');\n";
