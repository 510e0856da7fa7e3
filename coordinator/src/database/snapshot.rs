//! One moment of a database, held open while it is dumped.
//!
//! Does not own: dumping. A `psql` child keeps a read-only transaction with an exported snapshot; it ends, and the
//! server forgets the snapshot, when the child is killed with this value or sees its input end because we died. The
//! server's timeouts are switched off for that one session, because the dumps of other databases may take hours. What
//! cannot be counted, because it was dropped meanwhile, is not counted, and the snapshot stays. Every question is asked
//! below a savepoint and undone, so that the session keeps no lock: whoever waited for one would hold up `pg_dump`, for
//! which we wait.

use std::{
    fs::File,
    io::{BufReader, Write},
};

use packhorse_model::{DatabaseAttributes, DatabaseContents, Problem};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    attributes,
    changes::{self, Question},
    connection::Connection,
    contents, psql,
};
use crate::pipe::{Child, joined};

const WHAT: &str = "take database snapshot";
const OPEN: &str = "\
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n\
    SELECT current_setting('server_version_num')::int / 10000, pg_database_size(current_database()), \
    current_database(), \
    pg_export_snapshot();\n\
    SAVEPOINT packhorse;\n";
/// Gives up every lock that was taken since.
const UNDO: &str = "ROLLBACK TO SAVEPOINT packhorse;\n";
const GO_ON: &str = "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n";
/// Stands behind an answer; no table is called so, because it has no dot.
const ANSWERED: &str = "packhorse answered";

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
    connection: Connection,
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
            let _ = stdin.write_all([OPEN, attributes::ATTRIBUTES, UNDO].concat().as_bytes());
            psql::fields(&mut stdout, 5).map(|row| (row, stdin, stdout))
        });
        let (row, stdin, stdout) = tokio::select! {
            row = asked => joined(row)?,
            () = cancel.cancelled() => return Err(Problem::cancelled(WHAT)),
        };
        let misled = row.as_deref().and_then(|row| super::failure::misled(connection, WHAT, row.get(2)?));
        if let Some(problem) = misled {
            return Err(problem.leaving("nothing was dumped"));
        }
        if let Some((server_major, size, id, attributes)) = row.as_deref().and_then(parse) {
            let child = psql.child;
            return Ok(Self {
                id,
                server_major,
                size,
                attributes,
                connection: connection.clone(),
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
    pub(super) async fn contents(&mut self, cancel: &CancellationToken) -> Result<DatabaseContents, Problem> {
        const COUNT: &str = "count what the database holds";
        let answer = self.ask(COUNT, &[contents::RELATIONS, &contents::rows(None)].concat(), cancel).await?;
        let counted = answer.split_first().and_then(|(relations, rows)| contents::parse(relations, rows));
        counted.ok_or_else(|| super::failure::lost(&self.connection, COUNT))
    }

    /// What has changed since the snapshot of what a question is about.
    pub(super) async fn changes(
        &mut self,
        question: Question,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, Problem> {
        const COMPARE: &str = "compare the catalogue with the snapshot's";
        let was = self.ask(COMPARE, question.sql, cancel).await?;
        let is = psql::ask_for_much(&self.connection, COMPARE, question.sql, cancel).await?;
        changes::between(&was, &is, question.may_go)
            .ok_or_else(|| super::failure::lost(&self.connection, COMPARE))
    }

    /// Asks within the snapshot; a statement that fails gives no field, and the next ones are asked.
    async fn ask(
        &mut self,
        what: &str,
        sql: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, Problem> {
        let sql = [GO_ON, sql, UNDO, "SELECT '", ANSWERED, "';\n"].concat();
        let lost = || super::failure::lost(&self.connection, what);
        // A psql that ended is noticed by its answer.
        let _ = self.stdin.write_all(sql.as_bytes());
        let mut stdout = self.stdout.take().ok_or_else(lost)?;
        let reading = spawn_blocking(move || {
            let mut answer = Vec::new();
            loop {
                match psql::fields(&mut stdout, 1)?.and_then(|mut fields| fields.pop()) {
                    Some(field) if field == ANSWERED => return Ok(Some((answer, stdout))),
                    Some(field) => answer.push(field),
                    None => return Ok(None),
                }
            }
        });
        let read = tokio::select! {
            read = reading => joined(read)?,
            () = cancel.cancelled() => return Err(Problem::cancelled(WHAT)),
        };
        let (answer, stdout) = read.ok_or_else(lost)?;
        self.stdout = Some(stdout);
        Ok(answer)
    }
}

fn parse(row: &[String]) -> Option<(u32, u64, String, DatabaseAttributes)> {
    let [major, size, _, id, attributes] = row else { return None };
    Some((major.parse().ok()?, size.parse().ok()?, id.clone(), attributes::parse(attributes)?))
}
