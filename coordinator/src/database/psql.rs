//! Starting `psql`, and asking it one question.
//!
//! Does not own: snapshots and restores, which keep theirs running. `psql` rather than a client library, because then
//! sockets, TLS, `.pgpass` and services work exactly as they do for `pg_dump`.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use packhorse_model::Problem;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, NOTICE_LOSS},
    failure,
};
use crate::pipe::{Child, LastLines, io_problem, joined};

/// Without start-up files, terse (so that no message quotes a row), stopping at the first error, never asking.
const ARGUMENTS: [&str; 12] = [
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
    NOTICE_LOSS,
];

/// Switches the server's timeouts off for one session; the last one came with version 17.
pub(super) const NO_TIMEOUTS: &str = "\
    SET idle_in_transaction_session_timeout = 0;\n\
    SET statement_timeout = 0;\n\
    SET lock_timeout = 0;\n\
    SELECT current_setting('server_version_num')::int >= 170000 AS timed \\gset\n\
    \\if :timed\nSET transaction_timeout = 0;\n\\endif\n";

/// Bytes of an answer that are read; more is a defect of the question.
const ANSWER: u64 = 1 << 20;

/// Starts `psql`; its diagnostics come with its end.
pub(super) fn start(connection: &Connection) -> Result<(Child, JoinHandle<LastLines>), Problem> {
    let mut child = Child::start(&connection.program("psql"), ARGUMENTS, connection.environment())?;
    let stderr = child.stderr(LastLines::default(), LastLines::push)?;
    Ok((child, stderr))
}

/// Runs statements and gives the fields of all rows.
pub(super) async fn ask(
    connection: &Connection,
    what: &str,
    sql: impl Into<Arc<str>>,
    cancel: &CancellationToken,
) -> Result<Vec<String>, Problem> {
    let sql: Arc<str> = sql.into();
    let (mut child, stderr) = start(connection)?;
    let (mut stdin, stdout) = (child.stdin()?, child.stdout()?);
    let answer = spawn_blocking(move || {
        // A psql that ended early says why; the broken pipe does not matter.
        let _ = stdin.write_all(sql.as_bytes());
        drop(stdin);
        let mut answer = Vec::new();
        stdout.take(ANSWER).read_to_end(&mut answer).map_err(|error| io_problem("read answer", &error))?;
        Ok(answer)
    });
    let status = child.wait(cancel).await?;
    let answer = joined(answer.await)?;
    let said = stderr.await.unwrap_or_default();
    if cancel.is_cancelled() {
        return Err(Problem::cancelled(what));
    }
    if !status.success() {
        return Err(failure::failed(connection, what, status, &said));
    }
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}
