//! A dump out of the vault into a session, with the proof that all of it arrived.
//!
//! Does not own: which database that is, or what makes it count (`beside`, `in_place`). In order: every statement; the
//! dump's digest, size and last line; no transaction of the dump is left open, and ours is still the one that was begun;
//! what is there against what the backup recorded; statistics; event triggers. Only after all of it the caller acts. The server
//! works out what an index computes even to count rows, so that, too, is tried under the database's own search paths.

use std::io::{self, BufReader, Read};

use packhorse_model::{DatabaseContents, DatabaseSummary, ErrorKind, Problem};

use super::{
    connection::Connection,
    contents,
    dialogue::Dialogue,
    failure,
    replay::{Fault, Halt, Replayed, Rules, replay, under},
    statement::{Statements, Stop},
    trailer::Trailer,
};
use crate::pipe::PlainReader;

const WHAT: &str = "restore database";
const BUFFER: usize = 256 * 1024;
/// Tells one transaction from another; outside of one, each statement has its own time.
const TRANSACTION: &[u8] =
    b"SELECT pg_catalog.txid_current(), pg_catalog.now() = pg_catalog.statement_timestamp();";

/// Why a database could not be filled.
pub(super) enum Unfilled {
    /// The dump is damaged or cannot be read.
    Damaged(Problem),
    /// The server refused something, or is not left as it has to be.
    Refused(Problem, Option<Fault>),
    /// `psql` ended; its own words say why.
    Ended,
}

/// Fills the database of this session.
pub(super) fn fill(
    connection: &Connection,
    summary: &DatabaseSummary,
    reader: PlainReader,
    dialogue: &mut Dialogue,
    rules: &Rules,
) -> Result<Replayed, Unfilled> {
    let ended = |_: Stop| Unfilled::Ended;
    let begun = dialogue.say(TRANSACTION).map_err(ended)?.fields;
    let watched = Watched { reader, trailer: Trailer::default() };
    let mut statements = Statements::new(BufReader::with_capacity(BUFFER, watched));
    let replayed = replay(&mut statements, dialogue, rules);
    let Watched { reader, trailer } = statements.into_inner().into_inner();
    let mut replayed = match replayed {
        Ok(replayed) => replayed,
        Err(Halt::Stop(Stop::Reading(error))) => return Err(Unfilled::Damaged(reader.problem(&error))),
        Err(Halt::Stop(Stop::Wrong(why))) => return Err(Unfilled::Damaged(proven_or(reader, summary, why))),
        Err(halt) => return Err(unfilled(connection, halt)),
    };
    if !trailer.is_complete() {
        return Err(Unfilled::Damaged(reader.corrupt("ends before the line that marks a whole dump")));
    }
    reader.prove(summary.bytes_plain).map_err(Unfilled::Damaged)?;
    let now = dialogue.say(TRANSACTION).map_err(ended)?.fields;
    let same =
        if rules.in_transaction { now.first() == begun.first() } else { now.get(1) == Some(&"t".into()) };
    if !same || now.len() != 2 {
        return Err(refused(connection, "the dump left another transaction open than it found", None));
    }
    if let Some(recorded) = &summary.contents {
        compare(connection, recorded, dialogue, rules, &mut replayed)?;
    }
    if let Some(said) = analyse(dialogue, rules).map_err(ended)? {
        let remark = failure::problem(connection, ErrorKind::Unavailable, "make statistics of database")
            .answered(said);
        let next = "run ANALYZE in the database; until then it works, only slower";
        replayed.remarks.push(remark.next(next));
    }
    replayed.finish(dialogue, rules).map_err(|halt| unfilled(connection, halt))?;
    Ok(replayed)
}

/// A dump that is cut off looks wrong in its middle; what its digest says comes first.
fn proven_or(reader: PlainReader, summary: &DatabaseSummary, why: &str) -> Problem {
    let wrong = reader.corrupt(why);
    reader.prove(summary.bytes_plain).err().unwrap_or(wrong)
}

fn unfilled(connection: &Connection, halt: Halt) -> Unfilled {
    match halt {
        Halt::Stop(_) => Unfilled::Ended,
        Halt::Refused(fault) => {
            let said = format!("{}: {}", fault.object, fault.said);
            refused(connection, &said, Some(fault))
        }
    }
}

fn refused(connection: &Connection, said: &str, fault: Option<Fault>) -> Unfilled {
    Unfilled::Refused(failure::answered(connection, WHAT, said), fault)
}

/// Compares what is there with what the backup recorded of it.
fn compare(
    connection: &Connection,
    recorded: &DatabaseContents,
    dialogue: &mut Dialogue,
    rules: &Rules,
    replayed: &mut Replayed,
) -> Result<(), Unfilled> {
    let found = count(recorded, dialogue, rules).map_err(|_| Unfilled::Ended)?;
    let differences = contents::differences(recorded, &found);
    if differences.is_empty() {
        return Ok(());
    }
    let said = format!("it holds {}", differences.join(", "));
    if !rules.go_on {
        let problem = failure::problem(connection, ErrorKind::Corrupt, WHAT).answered(said);
        let next =
            "see the database server's log, and restore with --continue-on-error to look at what came back";
        return Err(Unfilled::Refused(problem.next(next), None));
    }
    let fault = Fault { object: "contents".into(), said, of_rows: false };
    replayed.note(rules, Some(fault)).map_err(|halt| unfilled(connection, halt))
}

/// Counts what is there of what was recorded.
fn count(
    recorded: &DatabaseContents,
    dialogue: &mut Dialogue,
    rules: &Rules,
) -> Result<DatabaseContents, Stop> {
    let relations = dialogue.say(contents::RELATIONS.as_bytes())?.fields;
    let rows = dialogue.say(contents::rows(Some(recorded)).as_bytes())?.fields;
    let parse = |rows: &[String]| contents::parse(relations.first()?, rows).filter(|_| relations.len() == 1);
    let mut found = parse(&rows).unwrap_or_default();
    for number in 0..rules.search_paths.len() {
        let mut left = recorded.clone();
        left.rows.retain(|sample| !found.rows.iter().any(|other| other.table == sample.table));
        if left.rows.is_empty() {
            break;
        }
        let rows = under(dialogue, number, contents::rows(Some(&left)).as_bytes())?.fields;
        found.rows.extend(parse(&rows).unwrap_or_default().rows);
    }
    Ok(found)
}

/// Makes statistics, or gives what the server says against it: without them all works, only slower, until it makes them
/// by itself.
fn analyse(dialogue: &mut Dialogue, rules: &Rules) -> Result<Option<String>, Stop> {
    const ANALYZE: &[u8] = b"ANALYZE;";
    let refused = dialogue.say(ANALYZE)?.refused;
    for number in 0..rules.search_paths.len() {
        if refused.is_none() || under(dialogue, number, ANALYZE)?.refused.is_none() {
            return Ok(None);
        }
    }
    Ok(refused)
}

/// Shows the dump's end to the trailer as it passes.
struct Watched {
    reader: PlainReader,
    trailer: Trailer,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.trailer.push(&buffer[..length]);
        Ok(length)
    }
}
