//! One database into the vault: `pg_dump` at a snapshot, compressed, uploaded as it comes.
//!
//! Does not own: the snapshot, or what makes it unfit (`changes`). The object gets its name only after `pg_dump` exited 0,
//! its output ended as a whole dump does, and the tables that it read were those of the snapshot; every other way out
//! drops the writer, and the vault holds nothing of this dump.

use std::process::ExitStatus;

use packhorse_model::{DatabaseContents, DatabaseSummary, ErrorKind, Problem, Subject};
use packhorse_vault::{ObjectKey, ObjectWriter, PartSize, RunAttempt, Vault};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{changes, connection::Connection, failure, snapshot::Snapshot, trailer::Trailer};
use crate::pipe::{Child, Compressed, LastLines, compress, in_all};

const WHAT: &str = "dump database";
const NOTHING_STORED: &str = "nothing of this dump is in the vault";

/// What `pg_dump` says of a table that the snapshot shows and that is gone since.
const DROPPED: [&str; 3] = ["does not exist", "could not open relation", "cache lookup failed"];

/// Snapshots that a dump is tried at when a table was dropped: `pg_dump` may have been at work for hours.
const WHEN_DROPPED: u32 = 2;
/// The same when tables changed before its locks, which is seen at its beginning.
const WHEN_CHANGED: u32 = 4;

/// Why there is no dump.
enum Undumped {
    /// The tables are not those of the snapshot.
    Changed(Vec<String>),
    /// Anything else.
    Failed(Problem),
}

impl From<Problem> for Undumped {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl Undumped {
    /// How many snapshots it is worth.
    fn tries(&self) -> u32 {
        match self {
            Self::Changed(_) => WHEN_CHANGED,
            Self::Failed(problem) if is_dropped(problem) => WHEN_DROPPED,
            Self::Failed(_) => 1,
        }
    }

    fn problem(self, connection: &Connection) -> Problem {
        match self {
            Self::Failed(problem) => problem,
            Self::Changed(changes) => failure::problem(connection, ErrorKind::Unavailable, WHAT)
                .answered(format!(
                    "what it holds changed between the snapshot and the dump, which would lack rows: {}",
                    changes::in_words(&changes)
                ))
                .leaving(NOTHING_STORED)
                .next("run again when nothing truncates, alters, renames or drops tables of this database"),
        }
    }
}

/// Dumps the database as it was at the snapshot; at another one when tables changed since then in a way that snapshots do
/// not show.
pub(super) async fn dump(
    vault: &Vault,
    run: &RunAttempt,
    connection: &Connection,
    mut snapshot: Snapshot,
    cancel: &CancellationToken,
    progress: impl Fn(u64) + Send + Sync + Clone + 'static,
) -> Result<DatabaseSummary, Problem> {
    let mut tried = 1;
    loop {
        let undumped = match dump_at(vault, run, connection, &mut snapshot, cancel, progress.clone()).await {
            Ok(summary) => return Ok(summary),
            Err(undumped) => undumped,
        };
        let is_last = tried >= undumped.tries();
        let problem = undumped.problem(connection);
        if is_last {
            return Err(problem);
        }
        tracing::warn!(%problem, "taking another snapshot");
        snapshot = Snapshot::open(connection, cancel).await?;
        tried += 1;
    }
}

fn is_dropped(problem: &Problem) -> bool {
    let answer = problem.answer.as_deref().unwrap_or_default();
    problem.subject == Subject::Database
        && problem.what == WHAT
        && DROPPED.iter().any(|words| answer.contains(words))
}

async fn dump_at(
    vault: &Vault,
    run: &RunAttempt,
    connection: &Connection,
    snapshot: &mut Snapshot,
    cancel: &CancellationToken,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<DatabaseSummary, Undumped> {
    let contents = snapshot.contents(cancel).await.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    let writer =
        vault.writer(ObjectKey::database(run, connection.name()), PartSize::for_expected(snapshot.size));
    let dumped = write(connection, snapshot, writer.telling(in_all(progress)), cancel).await;
    if cancel.is_cancelled() {
        let cancelled = Problem::cancelled(WHAT).on(failure::on(connection));
        return Err(cancelled.leaving(NOTHING_STORED).into());
    }
    let compressed = whole(connection, dumped?)?;
    let renamed = snapshot.changes(changes::AT_END, cancel).await;
    let renamed = renamed.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    if !renamed.is_empty() {
        return Err(Undumped::Changed(renamed));
    }
    Ok(summary(connection, snapshot, contents, compressed).await?)
}

/// How `pg_dump` ended, and what it said and wrote.
struct Dumped {
    status: ExitStatus,
    said: LastLines,
    stored: Result<Compressed<Seen>, Problem>,
}

/// Writes what `pg_dump` says, unless tables are no longer what the snapshot shows; from its first byte on they are locked.
async fn write(
    connection: &Connection,
    snapshot: &mut Snapshot,
    writer: ObjectWriter,
    cancel: &CancellationToken,
) -> Result<Dumped, Undumped> {
    let mut child = start(connection, snapshot)?;
    let stderr = child.stderr(LastLines::default(), LastLines::push)?;
    let stop = cancel.child_token();
    let (begun, begins) = oneshot::channel();
    let seen = Seen { trailer: Trailer::default(), begun: Some(begun) };
    let writing = compress(&mut child, writer, &stop, seen, Seen::push);
    let comparing = async {
        // One that ended without a byte has its own words for that.
        let _ = begins.await;
        let changes = snapshot.changes(changes::AT_LOCKS, cancel).await;
        if !changes.as_ref().is_ok_and(Vec::is_empty) {
            stop.cancel();
        }
        changes
    };
    let (written, changes) = tokio::join!(writing, comparing);
    let (status, stored) = written?;
    let said = stderr.await.unwrap_or_default();
    let failed_by_itself = status.code().is_some_and(|code| code != 0);
    match changes {
        Ok(changes) if !changes.is_empty() => Err(Undumped::Changed(changes)),
        Err(problem) if !failed_by_itself => Err(problem.leaving(NOTHING_STORED).into()),
        _ => Ok(Dumped { status, said, stored }),
    }
}

fn start(connection: &Connection, snapshot: &Snapshot) -> Result<Child, Problem> {
    let at = format!("--snapshot={}", snapshot.id);
    // Whatever the shell speaks, a dump is written in what the database is, so that nothing is converted.
    let encoding = format!("--encoding={}", snapshot.attributes.encoding);
    let to = connection.argument();
    let arguments = ["--clean", "--if-exists", "--format=plain", "--no-password", &to, &at, &encoding];
    let mut child = Child::start(&connection.program("pg_dump"), arguments, connection.environment())?;
    drop(child.stdin()?);
    Ok(child)
}

/// The dump, if it is one.
fn whole(connection: &Connection, dumped: Dumped) -> Result<Compressed<Seen>, Problem> {
    let Dumped { status, said, stored } = dumped;
    let compressed = stored.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    if !status.success() {
        return Err(failure::failed(connection, WHAT, status, &said).leaving(NOTHING_STORED));
    }
    if !compressed.seen.trailer.is_complete() {
        return Err(failure::problem(connection, ErrorKind::Unavailable, WHAT)
            .answered("pg_dump exited with 0, but its output ends before the line that marks a whole dump")
            .leaving(NOTHING_STORED)
            .next("check the pg_dump in bin_dir or PATH, then run again"));
    }
    Ok(compressed)
}

async fn summary(
    connection: &Connection,
    snapshot: &Snapshot,
    contents: DatabaseContents,
    compressed: Compressed<Seen>,
) -> Result<DatabaseSummary, Problem> {
    let bytes_plain = compressed.plain;
    let object = compressed.finish().await?;
    Ok(DatabaseSummary {
        emptied_unconfirmed: false,
        name: connection.name().to_owned(),
        object,
        bytes_plain,
        server_major: snapshot.server_major,
        attributes: Some(snapshot.attributes.clone()),
        contents: Some(contents),
    })
}

/// Looks on as the dump passes.
struct Seen {
    trailer: Trailer,
    /// Is told that something came, or that nothing will.
    begun: Option<oneshot::Sender<()>>,
}

impl Seen {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(());
        }
        self.trailer.push(bytes);
    }
}
