//! A dump into a database that holds nothing: each statement, and what to do when the server refuses it.
//!
//! Does not own: where a statement ends (`statement`) or the session (`dialogue`). Left out is what would go wrong there
//! for nothing: the drops at the beginning, since there is nothing to drop; what concerns an extension or schema that
//! stays; and, inside a transaction of ours, the transactions of the dump. Event triggers come last, so that they do not
//! fire for what the restore itself does. A statement that fails under the empty `search_path` of a dump is tried under
//! those that the database's sessions begin with. A `COPY` is tried without rows first, because `psql` would take the
//! rows of one that does not begin for statements.

use std::io::{self, BufRead};

use packhorse_model::Problem;

use super::{
    dialogue::{Answer, Dialogue},
    psql::literal,
    statement::{Statement, Statements, Stop},
};

/// Failures that are kept by name.
const NAMED: usize = 1000;
const EMPTY_PATH: &[u8] = b"SELECT pg_catalog.set_config('search_path', '', false);";

/// How a dump is replayed.
#[derive(Clone, Default)]
pub(super) struct Rules {
    /// Extensions that stay, and so do these schemas.
    pub(super) kept_extensions: Vec<String>,
    /// See there.
    pub(super) kept_schemas: Vec<String>,
    /// Whether all happens in one transaction.
    pub(super) in_transaction: bool,
    /// What the database's sessions begin with.
    pub(super) search_paths: Vec<String>,
    /// Which of them `COPY` uses, if not the empty one.
    pub(super) rows_under: Option<usize>,
    /// Whether a refused statement is only noted.
    pub(super) go_on: bool,
}

/// A statement that the server refused.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What it is about.
    pub(super) object: String,
    /// What the server said.
    pub(super) said: String,
    /// Whether it brings rows.
    pub(super) of_rows: bool,
}

/// What was noted on the way, and what is to come last.
#[derive(Default)]
pub(super) struct Replayed {
    /// What failed; the first ones.
    pub(super) faults: Vec<Fault>,
    /// How many failed.
    pub(super) number: u64,
    /// What the operator should know.
    pub(super) remarks: Vec<Problem>,
    last: Vec<Statement>,
}

/// Why a replay ended early.
#[derive(Debug)]
pub(super) enum Halt {
    /// The dump or `psql` ended it.
    Stop(Stop),
    /// The server refused a statement.
    Refused(Fault),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Carries out all statements but the last ones.
pub(super) fn replay<R: BufRead>(
    statements: &mut Statements<R>,
    dialogue: &mut Dialogue,
    rules: &Rules,
) -> Result<Replayed, Halt> {
    for (number, path) in rules.search_paths.iter().enumerate() {
        let path = literal(path);
        let sql = format!("SELECT pg_catalog.set_config('packhorse.path{number}', {path}, false);");
        dialogue.say(sql.as_bytes())?;
    }
    let mut replayed = Replayed::default();
    while let Some(statement) = statements.next()? {
        let fault = if statement.has_rows {
            rows(statements, dialogue, rules, &statement)?
        } else if rules.leave_out(&statement) {
            None
        } else if is_event_trigger(&statement) {
            replayed.last.push(statement);
            None
        } else {
            carry_out(dialogue, rules, &statement)?
        };
        replayed.note(rules, fault)?;
    }
    Ok(replayed)
}

impl Replayed {
    /// Carries out what comes last.
    pub(super) fn finish(&mut self, dialogue: &mut Dialogue, rules: &Rules) -> Result<(), Halt> {
        for statement in std::mem::take(&mut self.last) {
            let fault = carry_out(dialogue, rules, &statement)?;
            self.note(rules, fault)?;
        }
        Ok(())
    }

    /// Whether rows of a table could not be brought.
    pub(super) fn lacks_rows(&self) -> bool {
        self.faults.iter().any(|fault| fault.of_rows)
    }

    /// Notes a failure, which ends all unless it goes on.
    pub(super) fn note(&mut self, rules: &Rules, fault: Option<Fault>) -> Result<(), Halt> {
        let Some(fault) = fault else { return Ok(()) };
        if !rules.go_on {
            return Err(Halt::Refused(fault));
        }
        self.number += 1;
        if self.faults.len() < NAMED {
            self.faults.push(fault);
        }
        Ok(())
    }
}

impl Rules {
    fn leave_out(&self, statement: &Statement) -> bool {
        let before_all = statement.heading.is_empty();
        let drops = ["DROP ", "ALTER ", "CREATE OR REPLACE VIEW "];
        if before_all && drops.iter().any(|words| statement.begins(words)) {
            return true;
        }
        if self.in_transaction && (statement.is("BEGIN;") || statement.is("COMMIT;")) {
            return true;
        }
        self.kept_extensions.iter().any(|extension| {
            names(extension).iter().any(|name| statement.begins(&format!("COMMENT ON EXTENSION {name} IS ")))
        }) || self.kept_schemas.iter().any(|schema| concerns_schema(statement, schema))
    }
}

/// A name as a dump writes it: bare where that is enough.
fn names(name: &str) -> [String; 2] {
    [name.to_owned(), super::psql::identifier(name)]
}

fn concerns_schema(statement: &Statement, schema: &str) -> bool {
    names(schema).iter().any(|name| {
        let granted = format!(" ON SCHEMA {name} ");
        statement.is(&format!("CREATE SCHEMA {name};"))
            || statement.begins(&format!("ALTER SCHEMA {name} OWNER TO "))
            || statement.begins(&format!("COMMENT ON SCHEMA {name} IS "))
            || ((statement.begins("GRANT ") || statement.begins("REVOKE "))
                && String::from_utf8_lossy(&statement.text).contains(&granted))
    })
}

fn is_event_trigger(statement: &Statement) -> bool {
    ["CREATE", "ALTER", "COMMENT ON", "SECURITY LABEL ON"]
        .iter()
        .any(|verb| statement.begins(&format!("{verb} EVENT TRIGGER ")))
}

/// A parameter that this server does not have yet was not set on purpose: `pg_dump` of a newer version switches a timeout off.
fn is_harmless(statement: &Statement, said: &str) -> bool {
    statement.heading.is_empty()
        && statement.begins("SET ")
        && said.contains("unrecognized configuration parameter")
}

fn carry_out(dialogue: &mut Dialogue, rules: &Rules, statement: &Statement) -> Result<Option<Fault>, Stop> {
    let Some(said) = dialogue.say(&statement.text)?.refused else { return Ok(None) };
    if is_harmless(statement, &said) {
        return Ok(None);
    }
    for number in 0..rules.search_paths.len() {
        if under(dialogue, number, &statement.text)?.refused.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(fault(statement, said)))
}

/// Has a statement carried out under one of the search paths of the rules.
pub(super) fn under(dialogue: &mut Dialogue, number: usize, statement: &[u8]) -> Result<Answer, Stop> {
    set_path(dialogue, number)?;
    let answer = dialogue.say(statement)?;
    dialogue.say(EMPTY_PATH)?;
    Ok(answer)
}

fn set_path(dialogue: &mut Dialogue, number: usize) -> Result<(), Stop> {
    let path = format!("pg_catalog.current_setting('packhorse.path{number}')");
    dialogue.say(format!("SELECT pg_catalog.set_config('search_path', {path}, false);").as_bytes())?;
    Ok(())
}

fn rows<R: BufRead>(
    statements: &mut Statements<R>,
    dialogue: &mut Dialogue,
    rules: &Rules,
    statement: &Statement,
) -> Result<Option<Fault>, Stop> {
    let without = [statement.text.as_slice(), b"\n\\."].concat();
    if let Answer { refused: Some(said), .. } = dialogue.say(&without)? {
        statements.take_rows(&mut io::sink())?;
        return Ok(Some(fault(statement, said)));
    }
    if let Some(number) = rules.rows_under {
        set_path(dialogue, number)?;
    }
    dialogue.write(&statement.text)?;
    dialogue.write(b"\n")?;
    let sent = statements.take_rows(dialogue.rows())?;
    let refused = dialogue.answer_to_rows(sent)?;
    if rules.rows_under.is_some() {
        dialogue.say(EMPTY_PATH)?;
    }
    Ok(refused.map(|said| Fault { of_rows: true, ..fault(statement, said) }))
}

fn fault(statement: &Statement, said: String) -> Fault {
    let object = match statement.heading.as_str() {
        "" => String::from_utf8_lossy(&statement.text).chars().take(100).collect(),
        heading => heading.to_owned(),
    };
    Fault { object, said, of_rows: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
SET a = 1;
DROP EXTENSION IF EXISTS mine; <-
ALTER TABLE IF EXISTS ONLY public.a DROP CONSTRAINT b; <-
CREATE OR REPLACE VIEW public.v AS SELECT NULL::integer AS a; <-
CREATE TABLE before.any_heading (a int);
-- Name: s; Type: SCHEMA; Schema: -; Owner: -
CREATE SCHEMA s; <-
CREATE SCHEMA s2;
ALTER SCHEMA s OWNER TO postgres; <-
CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA s;
COMMENT ON EXTENSION \"uuid-ossp\" IS 'it''s'; <-
COMMENT ON EXTENSION \"uuid\" IS 'other';
CREATE OR REPLACE VIEW public.v AS SELECT 1;
ALTER TABLE a ADD b int;
BEGIN; <-
COMMIT; <-
GRANT USAGE ON SCHEMA s TO PUBLIC; <-
GRANT USAGE ON SCHEMA s2 TO PUBLIC;
REVOKE ALL ON TABLE s.t FROM PUBLIC;
";

    #[test]
    fn only_the_marked_statements_are_left_out() {
        let rules = Rules {
            kept_extensions: vec!["uuid-ossp".into()],
            kept_schemas: vec!["s".into()],
            in_transaction: true,
            ..Rules::default()
        };
        let dump = DUMP.replace(" <-", "");
        let mut statements = Statements::new(dump.as_bytes());
        let mut kept = Vec::new();
        while let Some(statement) = statements.next().expect("reads") {
            if !rules.leave_out(&statement) {
                kept.push(String::from_utf8(statement.text).expect("text"));
            }
        }
        let expected: Vec<&str> =
            DUMP.lines().filter(|line| !line.ends_with(" <-") && !line.starts_with("--")).collect();
        assert_eq!(kept, expected);
    }
}
