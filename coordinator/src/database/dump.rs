//! One database into the vault: `pg_dump` at a snapshot, compressed, uploaded as it comes.
//!
//! Does not own: the snapshot. The object gets its name only after `pg_dump` exited 0 and its output ended as a whole
//! dump does; every other way out drops the writer, and the vault holds nothing of this dump.

use packhorse_model::{DatabaseSummary, ErrorKind, Problem, Subject};
use packhorse_vault::{ObjectKey, PartSize, RunAttempt, Vault};
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, failure, snapshot::Snapshot, trailer::Trailer};
use crate::pipe::{Child, LastLines, compress, in_all};

const WHAT: &str = "dump database";
const NOTHING_STORED: &str = "nothing of this dump is in the vault";

/// What `pg_dump` says of a table that the snapshot shows and that is gone since.
const DROPPED: [&str; 3] = ["does not exist", "could not open relation", "cache lookup failed"];

/// Dumps the database as it was at the snapshot; once more at another one when a table was dropped since then.
pub(super) async fn dump(
    vault: &Vault,
    run: &RunAttempt,
    connection: &Connection,
    mut snapshot: Snapshot,
    cancel: &CancellationToken,
    progress: impl Fn(u64) + Send + Sync + Clone + 'static,
) -> Result<DatabaseSummary, Problem> {
    match dump_at(vault, run, connection, &mut snapshot, cancel, progress.clone()).await {
        Err(problem) if is_dropped(&problem) => {
            tracing::warn!(%problem, "taking another snapshot");
            let mut fresh = Snapshot::open(connection, cancel).await?;
            dump_at(vault, run, connection, &mut fresh, cancel, progress).await
        }
        ended => ended,
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
) -> Result<DatabaseSummary, Problem> {
    let contents =
        snapshot.contents(connection, cancel).await.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    let name = connection.name();
    let at = format!("--snapshot={}", snapshot.id);
    // Whatever the shell speaks, a dump is written in what the database is, so that nothing is converted.
    let encoding = format!("--encoding={}", snapshot.attributes.encoding);
    let to = connection.argument();
    let arguments = ["--clean", "--if-exists", "--format=plain", "--no-password", &to, &at, &encoding];
    let mut child = Child::start(&connection.program("pg_dump"), arguments, connection.environment())?;
    drop(child.stdin()?);
    let stderr = child.stderr(LastLines::default(), LastLines::push)?;
    let writer = vault.writer(ObjectKey::database(run, name), PartSize::for_expected(snapshot.size));
    let writer = writer.telling(in_all(progress));
    let (status, stored) =
        compress(&mut child, writer, cancel, Trailer::default(), |trailer, bytes| trailer.push(bytes))
            .await?;
    let said = stderr.await.unwrap_or_default();
    if cancel.is_cancelled() {
        return Err(Problem::cancelled(WHAT).on(failure::on(connection)).leaving(NOTHING_STORED));
    }
    let compressed = stored.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    if !status.success() {
        return Err(failure::failed(connection, WHAT, status, &said).leaving(NOTHING_STORED));
    }
    if !compressed.seen.is_complete() {
        return Err(failure::problem(connection, ErrorKind::Unavailable, WHAT)
            .answered("pg_dump exited with 0, but its output ends before the line that marks a whole dump")
            .leaving(NOTHING_STORED)
            .next("check the pg_dump in bin_dir or PATH, then run again"));
    }
    let bytes_plain = compressed.plain;
    let object = compressed.finish().await?;
    Ok(DatabaseSummary {
        emptied_unconfirmed: false,
        name: name.to_owned(),
        object,
        bytes_plain,
        server_major: snapshot.server_major,
        attributes: Some(snapshot.attributes.clone()),
        contents: Some(contents),
    })
}
