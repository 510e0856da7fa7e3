//! One moment of a database, held open while it is dumped.
//!
//! Does not own: dumping. A `psql` child keeps a read-only transaction with an exported snapshot; it ends, and the
//! server forgets the snapshot, when the child is killed with this value or sees its input end because we died. The
//! server's timeouts are switched off for that one session, because the dumps of other databases may take hours.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
};

use packhorse_model::Problem;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, failure, psql};
use crate::pipe::{Child, io_problem, joined};

const OPEN: &str = "\
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n\
    SELECT current_setting('server_version_num'), pg_database_size(current_database()), pg_export_snapshot();\n";

/// An exported snapshot; the server forgets it when this is dropped.
pub(super) struct Snapshot {
    /// What `pg_dump --snapshot` takes.
    pub(super) id: String,
    /// Major version of the server.
    pub(super) server_major: u32,
    /// Bytes of the database on the server's disk.
    pub(super) size: u64,
    _psql: Child,
    _stdin: File,
}

impl Snapshot {
    /// Takes the snapshot.
    pub(super) async fn open(connection: &Connection, cancel: &CancellationToken) -> Result<Self, Problem> {
        const WHAT: &str = "take database snapshot";
        let (mut child, stderr) = psql::start(connection)?;
        let (mut stdin, stdout) = (child.stdin()?, child.stdout()?);
        let asked = spawn_blocking(move || {
            // A psql that ended early says why.
            let _ = stdin.write_all([psql::NO_TIMEOUTS, OPEN].concat().as_bytes());
            read_row(stdout).map(|row| (row, stdin))
        });
        let row = tokio::select! {
            row = asked => joined(row)?,
            () = cancel.cancelled() => return Err(Problem::cancelled(WHAT)),
        };
        let (row, stdin) = row;
        if let Some((id, server_major, size)) = row {
            return Ok(Self { id, server_major, size, _psql: child, _stdin: stdin });
        }
        drop(stdin);
        let status = child.wait(cancel).await?;
        let said = stderr.await.unwrap_or_default();
        if cancel.is_cancelled() {
            return Err(Problem::cancelled(WHAT));
        }
        Err(failure::failed(connection, WHAT, status, &said))
    }
}

type Row = (String, u32, u64);

fn read_row(stdout: File) -> Result<Option<Row>, Problem> {
    let mut reader = BufReader::new(stdout);
    let mut field = || -> Result<Option<String>, Problem> {
        let mut bytes = Vec::new();
        reader.read_until(0, &mut bytes).map_err(|error| io_problem("read answer", &error))?;
        Ok((bytes.pop() == Some(0)).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let (Some(version), Some(size), Some(id)) = (field()?, field()?, field()?) else { return Ok(None) };
    let (Ok(version), Ok(size)) = (version.parse::<u32>(), size.parse()) else { return Ok(None) };
    Ok(Some((id, version / 10_000, size)))
}
