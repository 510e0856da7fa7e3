//! What a database holds, counted: relations by kind, and rows of its largest tables.
//!
//! Does not own: what is stored (`model`) or when it is compared (`fill`). A dump counts in its snapshot, a restore what
//! it brought. What an extension owns is left out, because another version of it may hold something else, and so are
//! indexes that are not valid, which no dump holds. Counting a table ends at a bound, so it never takes long.

use std::collections::BTreeMap;

use packhorse_model::{DatabaseContents, TableRows};

use super::psql::literal;

/// Tables of which rows are counted.
const SAMPLED: usize = 100;

/// Relations that a dump holds, as `c` in schema `s`.
macro_rules! dumped {
    () => {
        "FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid \
         WHERE s.nspname !~ '^pg_' AND s.nspname <> 'information_schema' \
         AND coalesce(i.indrelid, c.oid) NOT IN \
            (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e') \
         AND c.oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e') \
         AND s.oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND deptype = 'e') "
    };
}

/// Gives the relations by kind as one field of JSON.
pub(super) const RELATIONS: &str = concat!(
    "SELECT coalesce(jsonb_object_agg(kind, number), '{}') FROM (SELECT CASE c.relkind \
     WHEN 'r' THEN 'tables' WHEN 'p' THEN 'partitioned tables' WHEN 'v' THEN 'views' \
     WHEN 'm' THEN 'materialized views' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'foreign tables' \
     WHEN 'c' THEN 'composite types' WHEN 'I' THEN 'partitioned indexes' ELSE 'indexes' END AS kind, count(*) AS number ",
    dumped!(),
    "AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c', 'I', 'i') AND (c.relkind <> 'i' OR i.indisvalid) \
     GROUP BY 1) counted;\n"
);

/// Gives two fields for each table that is counted: these of the restore, or the largest of the dump.
pub(super) fn rows(of: Option<&DatabaseContents>) -> String {
    let which = match of {
        Some(contents) => {
            let names: Vec<_> = contents.rows.iter().map(|sample| literal(&sample.table)).collect();
            format!("AND s.nspname || '.' || c.relname = ANY (ARRAY[{}]::text[])", names.join(", "))
        }
        None => {
            let largest = "ORDER BY pg_relation_size(c.oid) DESC NULLS LAST, 1";
            format!("AND strpos(s.nspname || c.relname, '.') = 0 {largest} LIMIT {SAMPLED}")
        }
    };
    format!(
        "SELECT format('SELECT %L, count(*) FROM (SELECT FROM ONLY %I.%I LIMIT {}) counted', \
         s.nspname || '.' || c.relname, s.nspname, c.relname) {} AND c.relkind = 'r' {which} \\gexec\n",
        TableRows::MOST,
        dumped!(),
    )
}

/// Puts the answers together.
pub(super) fn parse(relations: &str, rows: &[String]) -> Option<DatabaseContents> {
    let relations: BTreeMap<String, u64> = serde_json::from_str(relations).ok()?;
    let rows = rows.chunks(2).map(|pair| match pair {
        [table, rows] => Some(TableRows { table: table.clone(), rows: rows.parse().ok()? }),
        _ => None,
    });
    Some(DatabaseContents { relations, rows: rows.collect::<Option<_>>()? })
}

/// What is there that was not, or the other way round, in words; nothing when all is as recorded.
pub(super) fn differences(recorded: &DatabaseContents, found: &DatabaseContents) -> Vec<String> {
    let mut kinds: Vec<&String> = recorded.relations.keys().chain(found.relations.keys()).collect();
    kinds.sort();
    kinds.dedup();
    let number = |contents: &DatabaseContents, kind| contents.relations.get(kind).copied().unwrap_or(0);
    let relations = kinds.into_iter().filter_map(|kind| {
        let (wanted, there) = (number(recorded, kind), number(found, kind));
        (wanted != there).then(|| format!("{there} {kind} where the backup recorded {wanted}"))
    });
    let rows = recorded.rows.iter().filter_map(|sample| {
        let there = found.rows.iter().find(|other| other.table == sample.table);
        match there {
            Some(there) if there.rows == sample.rows => None,
            Some(there) => {
                Some(format!("{} rows of {} where it recorded {}", there.rows, sample.table, sample.rows))
            }
            None => Some(format!("rows of {} could not be counted", sample.table)),
        }
    });
    relations.chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_named() {
        let recorded = parse(r#"{"tables": 2, "views": 1}"#, &["s.a".into(), "5".into()]).expect("parses");
        assert_eq!(differences(&recorded, &recorded), Vec::<String>::new());
        let found = parse(r#"{"tables": 1, "views": 1, "sequences": 1}"#, &[]).expect("parses");
        let said = differences(&recorded, &found).join("; ");
        assert_eq!(
            said,
            "1 sequences where the backup recorded 0; 1 tables where the backup recorded 2; \
             rows of s.a could not be counted"
        );
        let fewer = parse(r#"{"tables": 2, "views": 1}"#, &["s.a".into(), "4".into()]).expect("parses");
        assert_eq!(differences(&recorded, &fewer), ["4 rows of s.a where it recorded 5"]);
    }
}
