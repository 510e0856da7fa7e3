//! Starting `psql`, and asking it one question; how names and texts are written in SQL.
//!
//! Does not own: snapshots and restores, which keep theirs running. `psql` rather than a client library, because then
//! sockets, TLS, `.pgpass` and services work exactly as they do for `pg_dump`.

use std::{
    fs::File,
    io::{BufRead, Read, Write},
    sync::Arc,
};

use packhorse_model::Problem;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, dialogue::Errors, failure};
use crate::pipe::{Child, LastLines, io_problem, joined};

/// Without start-up files, terse (so that no message quotes a row), stopping at the first error, never asking.
const ARGUMENTS: [&str; 11] = [
    "--no-psqlrc",
    "--quiet",
    "--no-align",
    "--tuples-only",
    "--no-password",
    "--set=ON_ERROR_STOP=1",
    "--set=VERBOSITY=terse",
    "--set=SHOW_CONTEXT=never",
    // Fields and records are told apart even in names with odd characters.
    "--field-separator-zero",
    "--record-separator-zero",
    "--file=-",
];

/// Lets one session write and take its time, whatever server, database or role say; older servers lack some timeouts.
const SESSION: &str = "\
    SET default_transaction_read_only = off;\n\
    SET idle_in_transaction_session_timeout = 0;\n\
    SET statement_timeout = 0;\n\
    SET lock_timeout = 0;\n\
    SELECT current_setting('server_version_num')::int >= 140000 AS packhorse_idle, \
    current_setting('server_version_num')::int >= 170000 AS packhorse_timed \\gset\n\
    \\if :packhorse_idle\nSET idle_session_timeout = 0;\n\\endif\n\
    \\if :packhorse_timed\nSET transaction_timeout = 0;\n\\endif\n";

/// What our own sessions speak, whatever the shell, the URL or a service says; a dump says by itself what it is written in.
const ENCODING: &str = " client_encoding=UTF8";

/// Bytes of an answer that are read; more is a defect of the question.
const ANSWER: u64 = 1 << 20;
/// The same where the question is about every table.
const MUCH: u64 = 1 << 30;

/// Starts `psql`, in a session without timeouts; its diagnostics come with its end.
pub(super) fn start(connection: &Connection) -> Result<Psql, Problem> {
    let arguments = ARGUMENTS.map(str::to_owned).into_iter().chain([connection.argument() + ENCODING]);
    let mut child = Child::start(&connection.program("psql"), arguments, connection.environment())?;
    let errors = Errors::default();
    let seen = errors.clone();
    let said = child.stderr(LastLines::default(), move |lines: &mut LastLines, line: &str| {
        if let Some((_, error)) = line.split_once(": ERROR:  ") {
            seen.note(error);
        }
        lines.push(line);
    })?;
    let (mut stdin, stdout) = (child.stdin()?, child.stdout()?);
    // It fits the pipe. A psql that ended early says why; the broken pipe does not matter.
    let _ = stdin.write_all(SESSION.as_bytes());
    Ok(Psql { child, stdin, stdout, said, errors })
}

/// A running `psql`.
pub(super) struct Psql {
    /// The process.
    pub(super) child: Child,
    /// What it is to do.
    pub(super) stdin: File,
    /// The fields of rows, each with a zero byte behind it.
    pub(super) stdout: File,
    /// Its diagnostics.
    pub(super) said: JoinHandle<LastLines>,
    /// The last error among them.
    pub(super) errors: Errors,
}

/// Runs statements and gives the fields of all rows.
pub(super) async fn ask(
    connection: &Connection,
    what: &str,
    sql: impl Into<Arc<str>>,
    cancel: &CancellationToken,
) -> Result<Vec<String>, Problem> {
    ask_up_to(ANSWER, connection, what, sql.into(), cancel).await
}

/// The same when the answer may be long.
pub(super) async fn ask_for_much(
    connection: &Connection,
    what: &str,
    sql: impl Into<Arc<str>>,
    cancel: &CancellationToken,
) -> Result<Vec<String>, Problem> {
    ask_up_to(MUCH, connection, what, sql.into(), cancel).await
}

async fn ask_up_to(
    most: u64,
    connection: &Connection,
    what: &str,
    sql: Arc<str>,
    cancel: &CancellationToken,
) -> Result<Vec<String>, Problem> {
    let Psql { mut child, mut stdin, stdout, said, .. } = start(connection)?;
    let answer = spawn_blocking(move || {
        // A psql that ended early says why; the broken pipe does not matter.
        let _ = stdin.write_all(sql.as_bytes());
        drop(stdin);
        let mut answer = Vec::new();
        stdout.take(most).read_to_end(&mut answer).map_err(|error| io_problem("read answer", &error))?;
        Ok(answer)
    });
    let status = child.wait(cancel).await?;
    let answer = joined(answer.await)?;
    let said = said.await.unwrap_or_default();
    if cancel.is_cancelled() {
        return Err(Problem::cancelled(what));
    }
    if !status.success() {
        return Err(failure::failed(connection, what, status, &said));
    }
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Reads this many fields; none when the session ended before.
pub(super) fn fields(reader: &mut impl BufRead, number: usize) -> Result<Option<Vec<String>>, Problem> {
    let mut fields = Vec::with_capacity(number);
    for _ in 0..number {
        let mut bytes = Vec::new();
        reader.read_until(0, &mut bytes).map_err(|error| io_problem("read answer", &error))?;
        if bytes.pop() != Some(0) {
            return Ok(None);
        }
        fields.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(Some(fields))
}

/// A text as an SQL literal, whatever the session's settings.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A name as an SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
