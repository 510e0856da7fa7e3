//! Databases: dumped into the vault, and restored from it, through PostgreSQL's own programs.
//!
//! Does not own: which databases a run has, or when it is a backup. Files in the order of a dump: `url`, `connection`,
//! `psql`, `snapshot`, `dump`; of a restore: `target`, `script`, `restore`.
//!
//! Order: the snapshots of all databases are taken first, within moments of each other, and then the databases are
//! dumped one after another, each at its snapshot. A failed database is reported by name and stops no other. Nothing
//! is retried here: the vault's client retries its requests, and a dump that broke is the next run's.
//!
//! Cancellation kills the running child; the databases that are left are reported as not done. A crash leaves no
//! object of an unfinished dump (at most parts of an upload, which the store's lifecycle rule removes), and never half
//! a restored database: the server rolls back what was not committed.

mod connection;
mod dump;
mod failure;
mod psql;
mod restore;
mod script;
mod snapshot;
mod target;
#[cfg(test)]
mod tests;
mod trailer;
mod url;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use packhorse_model::{BackupId, Component, DatabaseSummary, ItemFailure, Problem, RestoredItem};
use packhorse_service::config::DatabaseConfig;
use packhorse_vault::{RunAttempt, Vault};
use tokio_util::sync::CancellationToken;

use self::{connection::Connection, snapshot::Snapshot};

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
                dump::dump(vault, run, &database.connection, &snapshot, cancel, report).await
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

/// Restores one database from its dump in a backup: all of it, or it is left as it was.
pub async fn restore_one(
    vault: &Vault,
    id: &BackupId,
    database: &Database,
    summary: &DatabaseSummary,
    force: bool,
    cancel: &CancellationToken,
    progress: impl Fn(&str, u64) + Send + Sync + Clone + 'static,
) -> Result<RestoredItem, Problem> {
    let report = named(database.name(), progress);
    restore::restore(vault, id, &database.connection, summary, force, cancel, report).await
}

fn named(
    name: &str,
    progress: impl Fn(&str, u64) + Send + Sync + 'static,
) -> impl Fn(u64) + Send + Sync + 'static {
    let name = name.to_owned();
    move |bytes| progress(&name, bytes)
}
