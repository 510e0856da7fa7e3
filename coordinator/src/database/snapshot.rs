//! One moment of a database, held open while it is dumped.
//!
//! Does not own: dumping. A `psql` child keeps a read-only transaction with an exported snapshot; it ends, and the
//! server forgets the snapshot, when the child is killed with this value or sees its input end because we died. The
//! server's timeouts are switched off for that one session, because the dumps of other databases may take hours. What
//! cannot be counted, because it was dropped meanwhile, is not counted, and the snapshot stays.

use std::{
    fs::File,
    io::{BufReader, Write},
};

use packhorse_model::{DatabaseAttributes, DatabaseContents, Problem};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{attributes, connection::Connection, contents, psql};
use crate::pipe::{Child, joined};

const WHAT: &str = "take database snapshot";
const OPEN: &str = "\
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n\
    SELECT current_setting('server_version_num')::int / 10000, pg_database_size(current_database()), \
    pg_export_snapshot();\n";
const COUNT: &str = "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n";
/// Stands behind the counts; no table is called so, because it has no dot.
const COUNTED: &str = "packhorse counted";

/// An exported snapshot; the server forgets it when this is dropped.
pub(super) struct Snapshot {
    /// What `pg_dump --snapshot` takes.
    pub(super) id: String,
    /// Major version of the server.
    pub(super) server_major: u32,
    /// Bytes of the database on the server's disk.
    pub(super) size: u64,
    /// What belongs to the database itself.
    pub(super) attributes: DatabaseAttributes,
    _psql: Child,
    stdin: File,
    stdout: Option<BufReader<File>>,
}

impl Snapshot {
    /// Takes the snapshot.
    pub(super) async fn open(connection: &Connection, cancel: &CancellationToken) -> Result<Self, Problem> {
        let mut psql = psql::start(connection)?;
        let (mut stdin, mut stdout) = (psql.stdin, BufReader::new(psql.stdout));
        let asked = spawn_blocking(move || {
            // A psql that ended early says why.
            let _ = stdin.write_all([OPEN, attributes::ATTRIBUTES].concat().as_bytes());
            psql::fields(&mut stdout, 4).map(|row| (row, stdin, stdout))
        });
        let (row, stdin, stdout) = tokio::select! {
            row = asked => joined(row)?,
            () = cancel.cancelled() => return Err(Problem::cancelled(WHAT)),
        };
        if let Some((server_major, size, id, attributes)) = row.as_deref().and_then(parse) {
            let child = psql.child;
            return Ok(Self {
                id,
                server_major,
                size,
                attributes,
                _psql: child,
                stdin,
                stdout: Some(stdout),
            });
        }
        drop(stdin);
        let status = psql.child.wait(cancel).await?;
        let said = psql.said.await.unwrap_or_default();
        if cancel.is_cancelled() {
            return Err(Problem::cancelled(WHAT));
        }
        Err(super::failure::failed(connection, WHAT, status, &said))
    }

    /// Counts what the database holds at the snapshot.
    pub(super) async fn contents(
        &mut self,
        connection: &Connection,
        cancel: &CancellationToken,
    ) -> Result<DatabaseContents, Problem> {
        let sql = [COUNT, contents::RELATIONS, &contents::rows(None), "SELECT '", COUNTED, "';\n"].concat();
        let lost = || super::failure::lost(connection, "count what the database holds");
        // A psql that ended is noticed by its answer.
        let _ = self.stdin.write_all(sql.as_bytes());
        let mut stdout = self.stdout.take().ok_or_else(lost)?;
        let counting = spawn_blocking(move || {
            let mut answer = Vec::new();
            loop {
                match psql::fields(&mut stdout, 1)?.and_then(|mut fields| fields.pop()) {
                    Some(field) if field == COUNTED => return Ok(Some((answer, stdout))),
                    Some(field) => answer.push(field),
                    None => return Ok(None),
                }
            }
        });
        let counted = tokio::select! {
            counted = counting => joined(counted)?,
            () = cancel.cancelled() => return Err(Problem::cancelled(WHAT)),
        };
        let (answer, stdout) = counted.ok_or_else(lost)?;
        self.stdout = Some(stdout);
        let (relations, rows) = answer.split_first().ok_or_else(lost)?;
        contents::parse(relations, rows).ok_or_else(lost)
    }
}

fn parse(row: &[String]) -> Option<(u32, u64, String, DatabaseAttributes)> {
    let [major, size, id, attributes] = row else { return None };
    Some((major.parse().ok()?, size.parse().ok()?, id.clone(), attributes::parse(attributes)?))
}
