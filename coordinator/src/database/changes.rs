//! What became of a database's tables between its snapshot and the locks of its dump.
//!
//! Does not own: what is done about it (`dump`). A snapshot tells rows apart by who wrote them, and `pg_dump` reads tables by
//! name. `TRUNCATE`, most of `ALTER TABLE` and a swap of names put rows that the snapshot does not show where those were
//! that it shows, so `pg_dump` finds an empty table, and no error. It shares a lock on every table before its first byte
//! comes, and keeps it to its end: from then on nobody can do that. So what the snapshot shows of the catalogue is compared
//! with what a new session sees after that byte. A row of the catalogue that was changed and changed back has another
//! transaction's number. What the locks leave open, names of schemas and of values of types, is compared at the end.

use std::collections::HashMap;

/// Stands in every answer, so that none is empty; another server's is another one.
macro_rules! server {
    () => {
        "SELECT 'server', extract(epoch FROM pg_postmaster_start_time())::text, 'the server' UNION ALL "
    };
}

/// What is compared: three fields for each thing, its number, what must stay of it, its name.
#[derive(Clone, Copy)]
pub(super) struct Question {
    /// Gives the fields.
    pub(super) sql: &'static str,
    /// Whether it may be there no more.
    pub(super) may_go: bool,
}

/// Every relation. Of a table everything must stay, for its rows are in the dump; anything else only has to be there under
/// its name.
pub(super) const AT_LOCKS: Question = Question { sql: RELATIONS, may_go: false };
/// What nobody can lock.
pub(super) const AT_END: Question = Question { sql: NAMES, may_go: true };

const RELATIONS: &str = concat!(
    server!(),
    "SELECT c.oid::text, concat_ws(' ', c.relkind, \
     CASE WHEN c.relkind = 'r' THEN concat_ws(' ', c.relfilenode, c.xmin, s.xmin, a.columns) END), \
     format('%I.%I', s.nspname, c.relname) \
     FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace \
     LEFT JOIN pg_index i ON i.indexrelid = c.oid \
     LEFT JOIN (SELECT attrelid, md5(string_agg(concat_ws(' ', attnum, attname, xmin), ',' ORDER BY attnum)) AS columns \
        FROM pg_attribute WHERE attnum > 0 GROUP BY attrelid) a ON a.attrelid = c.oid \
     WHERE s.nspname !~ '^pg_' AND s.nspname <> 'information_schema' AND coalesce(i.indisvalid, true);\n"
);

const NAMES: &str = concat!(
    server!(),
    "SELECT 'schema ' || oid, '', format('schema %I', nspname) FROM pg_namespace WHERE nspname !~ '^pg_' \
     UNION ALL SELECT 'value ' || oid, '', format('value %L of %s', enumlabel, enumtypid::regtype) FROM pg_enum;\n"
);

/// Changes that are told by name.
const NAMED: usize = 5;

/// Says what is otherwise than it was; what is new does not matter. None when an answer is no answer.
pub(super) fn between(was: &[String], is: &[String], may_go: bool) -> Option<Vec<String>> {
    if was.is_empty() || is.is_empty() {
        return None;
    }
    let now: HashMap<&str, (&str, &str)> = rows(is).collect::<Option<_>>()?;
    let mut changes = Vec::new();
    for row in rows(was) {
        let (number, (state, name)) = row?;
        let change = match now.get(number) {
            Some(&(_, other)) if other != name => format!("{name} is {other} now"),
            Some(&(other, _)) if other != state => format!("{name} was altered or written anew"),
            None if !may_go => format!("{name} is gone"),
            _ => continue,
        };
        changes.push(change);
    }
    Some(changes)
}

/// The first changes, in words.
pub(super) fn in_words(changes: &[String]) -> String {
    let more = changes.len().saturating_sub(NAMED);
    let first = changes.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { first } else { format!("{first}; and {more} more") }
}

fn rows(answer: &[String]) -> impl Iterator<Item = Option<(&str, (&str, &str))>> {
    answer.chunks(3).map(|row| match row {
        [number, state, name] => Some((number.as_str(), (state.as_str(), name.as_str()))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &str) -> Vec<String> {
        rows.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn every_change_is_told_and_what_is_new_is_none() {
        let was = answer("1,r 10,s.a,2,r 20,s.b,3,r 30,s.c,4,i,s.d");
        assert_eq!(between(&was, &was, false), Some(vec![]));
        let is = answer("5,r 50,s.a,1,r 10,s.a_old,2,r 21,s.b,3,r 30,s.c");
        let said = ["s.a is s.a_old now", "s.b was altered or written anew", "s.d is gone"];
        assert_eq!(between(&was, &is, false), Some(said.map(str::to_owned).to_vec()));
        assert_eq!(between(&was, &is, true).map(|changes| changes.len()), Some(2));
        for no_answer in [vec![], answer("1,r")] {
            assert_eq!(between(&was, &no_answer, false), None);
            assert_eq!(between(&no_answer, &was, false), None);
        }
        let many: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(in_words(&many), "0; 1; 2; 3; 4; and 2 more");
    }
}
