//! Databases: dumped into the vault, and restored from it, through PostgreSQL's own programs.
//!
//! Does not own: which databases a run has, or when it is a backup. Files in the order of a dump: `url`, `connection`,
//! `psql`, `snapshot` (with `attributes`, `contents`, `changes`), `dump`; of a restore: `plan`, `target`, then `beside`
//! (`hold`, `names`, `wanted`, `swap`) or `in_place` (`objects`). Both fill a database by `session`, `fill`, `replay`,
//! `statement`, `dialogue`.
//!
//! Order: the snapshots of all databases are taken first, within moments of each other, and then the databases are
//! dumped one after another, each at its snapshot. A failed database is reported by name and stops no other. A dump is
//! tried again, at a fresh snapshot, when a table was dropped, altered or written anew before `pg_dump` came to it: its
//! rows might be missing without a word. Nothing else is retried here: the vault's client retries its requests, and a dump
//! that broke is the next run's.
//!
//! Cancellation kills the running child; the databases that are left are reported as not done. A crash leaves no
//! object of an unfinished dump (at most parts of an upload, which the store's lifecycle rule removes), and never half
//! a restored database: the old one is in force until the moment of the swap. What was being filled is dropped by the next
//! restore of that database, which knows it by name and comment.

mod attributes;
mod beside;
mod changes;
mod connection;
mod contents;
mod dialogue;
mod dump;
mod failure;
mod fill;
mod hold;
mod in_place;
mod names;
mod objects;
mod plan;
mod psql;
mod replay;
mod restore;
mod session;
mod slots;
mod snapshot;
mod statement;
mod swap;
mod target;
#[cfg(test)]
mod tests;
mod trailer;
mod url;
mod wanted;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use packhorse_model::{
    BackupId, Component, DatabaseSummary, ItemFailure, PlannedDatabase, Problem, RestoredItem,
};
use packhorse_service::config::DatabaseConfig;
use packhorse_vault::{RunAttempt, Vault};
use tokio_util::sync::CancellationToken;

pub use self::connection::{Libpq, without_password};
use self::{connection::Connection, restore::Job, snapshot::Snapshot};

/// A configured database, ready to be dumped or restored.
#[derive(Clone, Debug)]
pub struct Database {
    connection: Connection,
}

impl Database {
    /// Reads a section of the configuration; `env` is the process's environment.
    pub fn from_config(config: &DatabaseConfig, env: &BTreeMap<String, String>) -> Result<Self, Problem> {
        Connection::new(config, env).map(|connection| Self { connection })
    }

    /// Another place for a configured database, or for one that only the backup knows: what the URL says, completed as libpq
    /// does. Whoever is not this process's own caller names no files of this host, and gets no password of this process.
    pub fn elsewhere(
        name: &str,
        url: &str,
        own: Option<&Self>,
        libpq: &Libpq,
        own_caller: bool,
    ) -> Result<Self, Problem> {
        let bin_dir = own.and_then(|own| own.connection.bin_dir());
        Connection::explicit(name, url, bin_dir, libpq, own_caller).map(|connection| Self { connection })
    }

    /// Whether the settings of both lead to one database.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.connection.leads_to() == other.connection.leads_to()
    }

    /// Where it is, for records: host, port and database, as far as the settings say, and neither user nor password.
    pub fn place(&self) -> String {
        self.connection.place()
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        self.connection.name()
    }
}

/// Dumps all databases as they are now, and says which are in the vault and which are not.
pub async fn back_up_all(
    vault: &Vault,
    run: &RunAttempt,
    databases: &[Database],
    cancel: &CancellationToken,
    progress: impl Fn(&str, u64) + Send + Sync + Clone + 'static,
) -> (Vec<DatabaseSummary>, Vec<ItemFailure>) {
    let opening = databases.iter().map(|database| Snapshot::open(&database.connection, cancel));
    let snapshots = join_all(opening).await;
    let (mut summaries, mut failures) = (Vec::new(), Vec::new());
    for (database, snapshot) in databases.iter().zip(snapshots) {
        let result = match snapshot {
            Ok(snapshot) => {
                let report = named(database.name(), progress.clone());
                dump::dump(vault, run, &database.connection, snapshot, cancel, report).await
            }
            Err(problem) => Err(problem),
        };
        match result {
            Ok(summary) => summaries.push(summary),
            Err(problem) => failures.push(ItemFailure {
                component: Component::Databases,
                storage: None,
                item: database.name().to_owned(),
                problem,
            }),
        }
    }
    (summaries, failures)
}

/// How databases are restored.
#[derive(Clone, Copy, Debug, Default)]
pub struct RestoreOptions {
    /// Replace what a database holds.
    pub force: bool,
    /// Keep the database that is replaced, under another name.
    pub keep_old: bool,
    /// Go on when the server refuses a statement, and name what failed.
    pub continue_on_error: bool,
}

/// What came of restoring a database.
#[derive(Debug)]
pub struct Restored {
    /// The database.
    pub item: RestoredItem,
    /// What of it is missing.
    pub failures: Vec<ItemFailure>,
    /// What the operator should know.
    pub remarks: Vec<ItemFailure>,
}

/// What restoring a database would do, and what tells its target from every other database; nothing is changed.
pub async fn plan_one(
    vault: &Vault,
    id: &BackupId,
    database: &Database,
    summary: &DatabaseSummary,
    options: RestoreOptions,
    cancel: &CancellationToken,
) -> Result<(PlannedDatabase, String), Problem> {
    let (connection, progress) = (&database.connection, Arc::new(|_| {}));
    plan::plan(&Job { vault, id, connection, summary, options, cancel, progress }).await
}

/// Restores one database from its dump in a backup: all of it, or it is left as it was.
pub async fn restore_one(
    vault: &Vault,
    id: &BackupId,
    database: &Database,
    summary: &DatabaseSummary,
    options: RestoreOptions,
    cancel: &CancellationToken,
    progress: impl Fn(&str, u64) + Send + Sync + Clone + 'static,
) -> Result<Restored, Problem> {
    let progress = Arc::new(named(database.name(), progress));
    restore::restore(Job { vault, id, connection: &database.connection, summary, options, cancel, progress })
        .await
}

fn named(
    name: &str,
    progress: impl Fn(&str, u64) + Send + Sync + Clone + 'static,
) -> impl Fn(u64) + Send + Sync + Clone + 'static {
    let name = name.to_owned();
    move |bytes| progress(&name, bytes)
}
