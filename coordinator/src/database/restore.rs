//! One dump from the vault into its database: all of it, or nothing.
//!
//! Does not own: what may be overwritten (`target`). One `psql` runs `BEGIN`, with force the dropping of what is there,
//! the dump, and `COMMIT`; the `COMMIT` is sent only after the dump's digest, size and last line are proven. We send
//! it ourselves rather than let `--single-transaction` do so, because `psql` takes the end of its input for success:
//! if we were killed half way, it would commit half a database. So a damaged dump, an SQL error, a cancellation and our
//! own death all end in a rollback by the server.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
};

use packhorse_model::{BackupId, DatabaseSummary, Problem, RestoredItem};
use packhorse_vault::{ObjectKey, Vault};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connection,
    failure, psql,
    script::{self, Failed},
    target,
    trailer::Trailer,
};
use crate::pipe::{PlainReader, joined};

const WHAT: &str = "restore database";
const UNTOUCHED: &str = "the database was left as it was";
const BEGIN: &str = "SET client_min_messages = warning;\nBEGIN;\n";
const BUFFER: usize = 256 * 1024;
const COMMIT: &str = "\nCOMMIT;\n";

/// Puts the dump into the database of this connection.
pub(super) async fn restore(
    vault: &Vault,
    id: &BackupId,
    connection: &Connection,
    summary: &DatabaseSummary,
    force: bool,
    cancel: &CancellationToken,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<RestoredItem, Problem> {
    let untouched = |problem: Problem| problem.leaving(UNTOUCHED);
    let extensions = target::check(connection, summary, force, cancel).await.map_err(untouched)?;
    let key = ObjectKey::part_of(id, &summary.object.path).map_err(|error| untouched(error.into()))?;
    let reader =
        PlainReader::open(vault, &key, &summary.object, cancel, progress).await.map_err(untouched)?;
    let (mut child, stderr) = psql::start(connection).map_err(untouched)?;
    let stdin = child.stdin()?;
    // Rows that the dump's statements return are of no interest, but must be read.
    let mut stdout = child.stdout()?;
    let rows = spawn_blocking(move || io::copy(&mut stdout, &mut io::sink()));
    let plain = summary.bytes_plain;
    let mut feeding = spawn_blocking(move || Ok(feed(reader, stdin, plain, force, &extensions)));
    let fed = tokio::select! {
        fed = &mut feeding => joined(fed)?,
        () = cancel.cancelled() => {
            child.kill();
            joined(feeding.await)?
        }
    };
    let failed = match fed {
        Fed::Damaged(problem, open) => {
            // Killed before its input closes.
            child.kill();
            drop(open);
            return Err(problem.while_doing(WHAT).leaving(UNTOUCHED));
        }
        Fed::Refused => true,
        Fed::Committing => false,
    };
    // From here on only psql knows whether the server committed, so its end is awaited whatever is asked.
    let status = child.wait(&CancellationToken::new()).await?;
    let said = stderr.await.unwrap_or_default();
    let _ = rows.await;
    if failed && cancel.is_cancelled() {
        return Err(Problem::cancelled(WHAT)
            .on(format!("database {}", connection.name()))
            .leaving(UNTOUCHED));
    }
    if status.success() && !failed {
        return Ok(RestoredItem { name: summary.name.clone(), items: 1, bytes: summary.object.size });
    }
    let state = match status.code() {
        // psql's code for an error in a script; the server rolled back.
        Some(3) => UNTOUCHED,
        _ if failed => UNTOUCHED,
        _ => "the connection ended at COMMIT: the database holds all of the backup, or was left as it was",
    };
    Err(failure::failed(connection, WHAT, status, &said).leaving(state))
}

/// How far feeding `psql` came.
enum Fed {
    /// The dump is not good; the input is still open.
    Damaged(Problem, File),
    /// `psql` ended before it had everything.
    Refused,
    /// The dump is proven and `COMMIT` was sent.
    Committing,
}

fn feed(reader: PlainReader, mut stdin: File, plain: u64, force: bool, extensions: &[String]) -> Fed {
    let mut watched = BufReader::with_capacity(BUFFER, Watched { reader, trailer: Trailer::default() });
    let empty = if force { target::EMPTY } else { "" };
    let copied = stdin
        .write_all([psql::NO_TIMEOUTS, BEGIN, empty].concat().as_bytes())
        .map_err(|_| Failed::Writing)
        .and_then(|()| {
            let mut script = BufWriter::with_capacity(BUFFER, &mut stdin);
            let copied = script::copy(&mut watched, &mut script, extensions);
            // What psql did not get, it need not get any more.
            drop(script.into_parts());
            copied
        });
    let Watched { reader, trailer } = watched.into_inner();
    let proven = match copied {
        Err(Failed::Writing) => return Fed::Refused,
        Err(Failed::Reading(error)) => Err(reader.problem(&error)),
        Ok(()) if !trailer.is_complete() => {
            Err(reader.corrupt("ends before the line that marks a whole dump"))
        }
        Ok(()) => reader.prove(plain),
    };
    match proven {
        Err(problem) => Fed::Damaged(problem, stdin),
        Ok(()) => match stdin.write_all(COMMIT.as_bytes()) {
            Ok(()) => Fed::Committing,
            Err(_) => Fed::Refused,
        },
    }
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
