//! A real PostgreSQL with one database, which is backed up, hit, and started again as a service manager would.
//!
//! Does not own: when it is hit (`trouble`). Each restore goes into a database of its own on the same server, which is
//! dropped by whoever has compared it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use packhorse_testkit::PostgresServer;

use crate::histories::random::Random;

/// The database that is backed up.
const NAME: &str = "forge";

/// Each table with its number of rows and a digest of them.
pub type Tables = BTreeMap<String, String>;

pub struct Forge {
    server: PostgresServer,
    due: Option<Instant>,
    restores: u32,
}

impl Forge {
    pub fn start() -> Self {
        let server = PostgresServer::start();
        server.create_database(NAME);
        server.psql(NAME, "CREATE TABLE users (id serial, name text)");
        Self { server, due: None, restores: 0 }
    }

    /// The part of a configuration that names the database that is backed up.
    pub fn section(&self) -> String {
        self.section_of(NAME)
    }

    /// The part of a configuration that names another one instead.
    pub fn section_of(&self, database: &str) -> String {
        format!("[[database]]\nname = 'main'\nurl = '{}'\n", self.server.url(database))
    }

    /// A night of work.
    pub fn live(&self, random: &mut Random) {
        let (more, fewer) = (20 + random.below(300), random.below(50));
        let rows = format!("SELECT md5(n::text || '{}') FROM generate_series(1, {more}) AS n", random.next());
        let sql = format!(
            "INSERT INTO users (name) {rows}; \
             DELETE FROM users WHERE id IN (SELECT id FROM users ORDER BY id LIMIT {fewer})"
        );
        self.server.psql(NAME, &sql);
    }

    /// What is backed up.
    pub fn tables(&self) -> Tables {
        self.server.table_checksums(NAME)
    }

    /// A new empty database.
    pub fn empty(&mut self) -> String {
        self.restores += 1;
        let name = format!("back_{}", self.restores);
        self.server.create_database(&name);
        name
    }

    /// What was restored into a database, which is dropped.
    pub fn take(&self, database: &str) -> Tables {
        let tables = self.server.table_checksums(database);
        self.server.psql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
        tables
    }

    /// Kills the server, which is due again after a pause.
    pub fn kill(&mut self, pause: Duration) {
        if self.due.is_none() {
            self.server.kill();
            self.due = Some(Instant::now() + pause);
        }
    }

    /// Ends all connections of a server that runs.
    pub fn end_connections(&self) {
        if self.due.is_none() {
            self.server.end_connections();
        }
    }

    /// Starts the server when it is due, and says whether it is there.
    pub fn tend(&mut self) -> bool {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.server.revive();
            self.due = None;
        }
        self.due.is_none()
    }
}
