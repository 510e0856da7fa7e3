//! What belongs to a database itself, which no dump holds: read from a server, and brought back.
//!
//! Does not own: when (`dump`, `beside`, `in_place`), or what is stored (`model`). The server puts it together as one
//! JSON value, so that a column that only some versions have is simply absent. Every name and text goes back quoted.

use packhorse_model::{DatabaseAttributes, DatabaseSetting};

use super::psql::{identifier, literal};

/// Gives the attributes of the current database as one field.
pub(super) const ATTRIBUTES: &str = "SELECT jsonb_build_object(\
    'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), \
    'collate', datcollate, 'ctype', datctype, \
    'provider', CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END, \
    'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), \
    'icu_rules', to_jsonb(d) ->> 'daticurules', \
    'tablespace', (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace), \
    'connection_limit', datconnlimit, 'comment', shobj_description(d.oid, 'pg_database'), \
    'grants', CASE WHEN datacl IS NOT NULL THEN (SELECT coalesce(jsonb_agg(jsonb_build_object(\
        'role', CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, \
        'privilege', privilege_type, 'grantable', is_grantable)), '[]') FROM aclexplode(datacl)) END, \
    'settings', (SELECT coalesce(jsonb_agg(jsonb_build_object(\
        'role', CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, \
        'name', split_part(entry, '=', 1), 'value', substr(entry, strpos(entry, '=') + 1)) ORDER BY setrole, number), '[]') \
        FROM pg_db_role_setting, unnest(setconfig) WITH ORDINALITY AS settings (entry, number) WHERE setdatabase = d.oid)) \
    FROM pg_database d WHERE datname = current_database();\n";

/// Parameters whose values are lists of quoted names: written as one text they would become one name.
const LISTS: [&str; 6] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];

/// Reads the answer to [`ATTRIBUTES`].
pub(super) fn parse(answer: &str) -> Option<DatabaseAttributes> {
    serde_json::from_str(answer).ok()
}

/// Makes an empty database with what cannot be changed later.
pub(super) fn create(name: &str, like: &DatabaseAttributes, server_major: u32) -> String {
    let mut sql = format!(
        "CREATE DATABASE {} WITH TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        identifier(name),
        identifier(&like.owner),
        literal(&like.encoding),
        literal(&like.collate),
        literal(&like.ctype),
    );
    // To name it takes a right to it, even where it is the one that a database gets anyway.
    if like.tablespace != "pg_default" {
        sql += &format!(" TABLESPACE {}", identifier(&like.tablespace));
    }
    if server_major >= 15 {
        let provider = like.provider.as_deref().unwrap_or("libc");
        sql += &format!(" LOCALE_PROVIDER {}", literal(provider));
        if let Some(locale) = &like.locale {
            sql += &format!(" {provider}_LOCALE {}", literal(locale));
        }
        if let Some(rules) = &like.icu_rules {
            sql += &format!(" ICU_RULES {}", literal(rules));
        }
    }
    sql + ";\n"
}

/// The statements that give the database called `name` all else.
pub(super) fn apply(name: &str, wanted: &DatabaseAttributes) -> Vec<String> {
    let database = identifier(name);
    let comment = wanted.comment.as_deref().map_or("NULL".to_owned(), literal);
    let mut statements = vec![
        format!("ALTER DATABASE {database} CONNECTION LIMIT {};\n", wanted.connection_limit),
        format!("COMMENT ON DATABASE {database} IS {comment};\n"),
    ];
    statements.extend(wanted.settings.iter().map(|setting| set(&database, setting)));
    statements.extend(grants(&database, wanted));
    statements
}

/// The settings and rights that differ, for a database that stays.
pub(super) fn change(name: &str, from: &DatabaseAttributes, to: &DatabaseAttributes) -> Vec<String> {
    let database = identifier(name);
    let mut statements = Vec::new();
    if from.connection_limit != to.connection_limit {
        statements.push(format!("ALTER DATABASE {database} CONNECTION LIMIT {};\n", to.connection_limit));
    }
    if from.comment != to.comment {
        let comment = to.comment.as_deref().map_or("NULL".to_owned(), literal);
        statements.push(format!("COMMENT ON DATABASE {database} IS {comment};\n"));
    }
    let gone = from.settings.iter().filter(|old| !to.settings.iter().any(|new| same_place(old, new)));
    statements.extend(gone.map(|old| format!("ALTER {} RESET {};\n", place(&database, old), parameter(old))));
    let new = to.settings.iter().filter(|new| !from.settings.contains(new));
    statements.extend(new.map(|setting| set(&database, setting)));
    if from.grants != to.grants {
        statements.extend(grants(&database, to));
    }
    statements
}

/// The search paths that sessions of the database begin with, the general one first.
pub(super) fn search_paths(of: &DatabaseAttributes, otherwise: &str) -> Vec<String> {
    let settings = of.settings.iter().filter(|setting| setting.name == "search_path");
    let (roles, general): (Vec<_>, Vec<_>) = settings.partition(|setting| setting.role.is_some());
    let mut paths: Vec<String> = general.into_iter().map(|setting| setting.value.clone()).collect();
    if paths.is_empty() {
        paths.push(otherwise.to_owned());
    }
    for setting in roles {
        if !paths.contains(&setting.value) {
            paths.push(setting.value.clone());
        }
    }
    paths
}

/// Every role that the attributes name.
pub(super) fn roles(of: &DatabaseAttributes) -> Vec<String> {
    let granted = of.grants.iter().flatten().filter_map(|grant| grant.role.as_ref());
    let set = of.settings.iter().filter_map(|setting| setting.role.as_ref());
    let mut roles: Vec<String> = granted.chain(set).chain([&of.owner]).cloned().collect();
    roles.sort();
    roles.dedup();
    roles
}

/// The attributes without what these missing roles own, have or are set.
pub(super) fn without(mut attributes: DatabaseAttributes, missing: &[String]) -> DatabaseAttributes {
    let is_there = |role: &Option<String>| role.as_ref().is_none_or(|role| !missing.contains(role));
    attributes.settings.retain(|setting| is_there(&setting.role));
    if let Some(grants) = &mut attributes.grants {
        grants.retain(|grant| is_there(&grant.role));
    }
    attributes
}

fn same_place(one: &DatabaseSetting, other: &DatabaseSetting) -> bool {
    one.name == other.name && one.role == other.role
}

fn place(database: &str, setting: &DatabaseSetting) -> String {
    match &setting.role {
        Some(role) => format!("ROLE {} IN DATABASE {database}", identifier(role)),
        None => format!("DATABASE {database}"),
    }
}

/// The parameter's name; that of an extension has a dot.
fn parameter(setting: &DatabaseSetting) -> String {
    setting.name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

fn set(database: &str, setting: &DatabaseSetting) -> String {
    let (place, name, value) = (place(database, setting), parameter(setting), literal(&setting.value));
    if LISTS.contains(&setting.name.to_ascii_lowercase().as_str()) {
        let own = literal(&setting.name);
        return format!(
            "SELECT set_config({own}, {value}, false);\nALTER {place} SET {name} FROM CURRENT;\nRESET {name};\n"
        );
    }
    format!("ALTER {place} SET {name} TO {value};\n")
}

fn grants(database: &str, wanted: &DatabaseAttributes) -> Vec<String> {
    let Some(grants) = &wanted.grants else { return Vec::new() };
    let owner = identifier(&wanted.owner);
    let mut statements = vec![format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {owner};\n")];
    for grant in grants {
        let role = grant.role.as_deref().map_or("PUBLIC".to_owned(), identifier);
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        // A word of PostgreSQL's, which stands unquoted: anything else is left out.
        if ["CONNECT", "CREATE", "TEMPORARY"].contains(&grant.privilege.as_str()) {
            statements.push(format!("GRANT {} ON DATABASE {database} TO {role}{option};\n", grant.privilege));
        }
    }
    statements
}
