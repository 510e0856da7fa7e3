//! A real PostgreSQL beside the repositories: what its database holds at each run, and copies of it for points.
//!
//! Does not own: dumps and restores (`town`). Every point has a copy of its own, which it may change, and restores into
//! another one; both are dropped with their handles, so hundreds of points leave nothing on the disk.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use packhorse_testkit::PostgresServer;

use super::point::Phase;

/// Each table with its number of rows and a digest of them.
pub type Tables = BTreeMap<String, String>;

/// A server with the database as it is at each run.
pub struct Forge(Arc<Server>);

struct Server {
    postgres: PostgresServer,
    made: AtomicU32,
}

/// A database that goes away with its handle.
pub struct Database {
    server: Arc<Server>,
    name: String,
}

impl Forge {
    pub fn start() -> Self {
        let postgres = PostgresServer::start();
        postgres.create_database("full");
        let rows = "INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n;";
        postgres.psql("full", &format!("CREATE TABLE users (id int, name text); {rows}"));
        postgres.psql("postgres", "CREATE DATABASE increment TEMPLATE \"full\"");
        postgres.psql("increment", "DELETE FROM users WHERE id < 10; CREATE TABLE keys AS SELECT 1 AS id;");
        Self(Arc::new(Server { postgres, made: AtomicU32::new(0) }))
    }

    /// A copy of what there is at a run.
    pub fn copy(&self, phase: Phase) -> Database {
        let template = if phase == Phase::Full { "\"full\"" } else { "increment" };
        Database::new(&self.0, template)
    }
}

impl Database {
    fn new(server: &Arc<Server>, template: &str) -> Self {
        let name = format!("copy_{}", server.made.fetch_add(1, Ordering::Relaxed));
        server.postgres.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Self { server: Arc::clone(server), name }
    }

    /// An empty one on the same server.
    pub fn empty_beside(&self) -> Self {
        Self::new(&self.server, "template0")
    }

    /// The part of a configuration that names it.
    pub fn section(&self) -> String {
        format!("[[database]]\nname = 'main'\nurl = '{}'\n", self.server.postgres.url(&self.name))
    }

    /// What it holds.
    pub fn tables(&self) -> Tables {
        self.server.postgres.table_checksums(&self.name)
    }

    /// Changes it between a crash and the run after it.
    pub fn change(&self) {
        self.server.postgres.psql(&self.name, "UPDATE users SET name = 'moved' WHERE id % 2 = 0");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // After a failure the server goes away as a whole, and a second panic would hide the first.
        if !thread::panicking() {
            self.server.postgres.psql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
