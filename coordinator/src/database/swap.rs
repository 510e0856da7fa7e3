//! The moment in which one database takes the name of another.
//!
//! Does not own: what the new one holds (`beside`). Both renames, the new one's attributes and the marks are one
//! transaction, so a crash leaves either the old database in force or the new one, never neither. The rename of the old
//! one waits for its sessions to end, and holds meanwhile a lock that keeps new ones out; a second session ends those that
//! are there. So nobody can slip in between. It is given up after a minute, and then nothing has changed.

use std::time::{Duration, Instant};

use packhorse_model::{ErrorKind, Problem};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connection,
    failure,
    names::Names,
    psql::{self, identifier, literal},
    target::Target,
};

const WHAT: &str = "put database in place";
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(250);

/// What becomes of the old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// It stays, under another name.
    Kept,
    /// It is dropped.
    Dropped,
    /// It is dropped if it still holds nothing.
    DroppedIfEmpty,
}

/// A swap that is about to happen.
pub(super) struct Swap<'a> {
    /// A session of this may give orders.
    pub(super) maintenance: &'a Connection,
    /// What is replaced.
    pub(super) target: &'a Target,
    /// The names of both.
    pub(super) names: &'a Names,
    /// Process of the session that holds the restore's lock.
    pub(super) holder: &'a str,
    /// Statements that give the new one its attributes.
    pub(super) attributes: &'a [String],
    /// What becomes of the old one.
    pub(super) old: Old,
}

impl Swap<'_> {
    /// Swaps, or leaves all as it was.
    pub(super) async fn carry_out(&self) -> Result<(), Problem> {
        // Once begun it is not cancelled: only the server knows how it ended, and it ends within a minute.
        let never = CancellationToken::new();
        let begun = Instant::now();
        loop {
            let renaming = psql::ask(self.maintenance, WHAT, self.script(), &never);
            tokio::pin!(renaming);
            let renamed = loop {
                tokio::select! {
                    renamed = &mut renaming => break renamed,
                    () = sleep(BETWEEN) => {
                        // What cannot be ended shows in what the rename answers.
                        let _ = psql::ask(self.maintenance, WHAT, self.end_sessions(), &never).await;
                    }
                }
            };
            let problem = match renamed {
                Ok(answer) if answer.last().is_some_and(|last| *last == self.names.receipt()) => {
                    return Ok(());
                }
                Ok(_) => failure::lost(self.maintenance, WHAT),
                Err(problem) => problem,
            };
            let is_used =
                problem.answer.as_ref().is_some_and(|said| said.contains("is being accessed by other users"));
            if !is_used || begun.elapsed() > PATIENCE {
                return self.outcome(problem, &never).await;
            }
        }
    }

    fn script(&self) -> String {
        let Names { target, new, old } = self.names;
        let (is, was) = (identifier(target), identifier(old));
        let mut sql = format!("SET lock_timeout = '{}s';\nBEGIN;\n{}", PATIENCE.as_secs(), self.conditions());
        sql += &self.attributes.concat();
        if self.target.existing.is_some() {
            sql += &format!("ALTER DATABASE {is} RENAME TO {was};\n");
            if let Some(mark) = self.names.mark_of_old(self.old) {
                sql += &format!("COMMENT ON DATABASE {was} IS {};\n", literal(&mark));
            }
        }
        sql += &format!("ALTER DATABASE {} RENAME TO {is};\nCOMMIT;\n", identifier(new));
        sql + &format!("SELECT {};\n", literal(&self.names.receipt()))
    }

    /// The lock is still ours, and the old database is the one that was looked at.
    fn conditions(&self) -> String {
        let lock = format!(
            "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = {})",
            self.holder
        );
        let name = literal(&self.names.target);
        let same = match &self.target.existing {
            Some(existing) => {
                format!("EXISTS (SELECT FROM pg_database WHERE datname = {name} AND oid = {})", existing.oid)
            }
            None => format!("NOT EXISTS (SELECT FROM pg_database WHERE datname = {name})"),
        };
        format!(
            "DO $packhorse$BEGIN\nIF NOT {lock} THEN RAISE 'the session that keeps other restores out has ended'; END IF;\n\
             IF NOT {same} THEN RAISE 'the database was replaced or made by somebody else meanwhile'; END IF;\n\
             END$packhorse$;\n"
        )
    }

    fn end_sessions(&self) -> String {
        let Names { target, new, .. } = self.names;
        format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = usesysid \
             WHERE datname IN ({}, {}) AND pid <> pg_backend_pid() AND (\
             (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \
             OR NOT r.rolsuper AND pg_has_role(r.oid, 'USAGE'));\n",
            literal(target),
            literal(new),
        )
    }

    /// Asks how it ended when the answer did not come.
    async fn outcome(&self, problem: Problem, never: &CancellationToken) -> Result<(), Problem> {
        let there =
            format!("SELECT count(*) FROM pg_database WHERE datname = {};\n", literal(&self.names.new));
        match psql::ask(self.maintenance, WHAT, there, never).await {
            Ok(number) if number == ["1"] => Err(problem),
            Ok(_) => Ok(()),
            Err(_) => Err(failure::problem(self.maintenance, ErrorKind::Unavailable, WHAT)
                .answered(problem.answer.unwrap_or_default())
                .leaving(format!(
                    "the connection ended while {} was put in place: it is the restored database if {} is gone, \
                     otherwise the one that it was",
                    self.names.target, self.names.new
                ))
                .next("look at the names of the server's databases once it answers")),
        }
    }
}
