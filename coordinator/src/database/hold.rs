//! One restore into a database at a time: a lock that a session of ours holds on the server.
//!
//! Does not own: what is done meanwhile. The server gives the lock back when the session ends, however it ends. While it is
//! held, no other restore works on this database, so what earlier ones left belongs to nobody.

use std::{
    fs::File,
    io::{BufReader, Write},
};

use packhorse_model::{ErrorKind, Problem};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{connection::Connection, failure, psql};
use crate::pipe::{Child, joined};

const WHAT: &str = "keep other restores out";

/// The lock; given back when this is dropped.
pub(super) struct Hold {
    /// The server's process that holds it.
    pub(super) holder: String,
    _psql: Child,
    _stdin: File,
}

impl Hold {
    /// Takes the lock for the database called `name`, or says that another restore has it.
    pub(super) async fn take(
        maintenance: &Connection,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<Self, Problem> {
        let mut psql = psql::start(maintenance)?;
        let key = psql::literal(&format!("packhorse restore of {name}"));
        let sql = format!(
            "SELECT pg_backend_pid(), pg_try_advisory_lock(('x' || substr(md5({key}), 1, 16))::bit(64)::bigint);\n"
        );
        let _ = psql.stdin.write_all(sql.as_bytes());
        let stdout = psql.stdout;
        let reading = spawn_blocking(move || psql::fields(&mut BufReader::new(stdout), 2));
        let answer = tokio::select! {
            answer = reading => joined(answer)?,
            () = cancel.cancelled() => return Err(Problem::cancelled(WHAT)),
        };
        match answer.as_deref() {
            Some([holder, taken]) if taken == "t" => {
                Ok(Self { holder: holder.clone(), _psql: psql.child, _stdin: psql.stdin })
            }
            Some(_) => Err(failure::problem(maintenance, ErrorKind::Unavailable, WHAT)
                .answered("another restore into this database is under way")
                .next("wait for its end, or cancel it")),
            None => {
                drop(psql.stdin);
                let status = psql.child.wait(cancel).await?;
                Err(failure::failed(maintenance, WHAT, status, &psql.said.await.unwrap_or_default()))
            }
        }
    }
}
