//! A database beside the repositories, and whether its dump comes back.
//!
//! Does not own: when a point dies. Each restore goes into a database of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use packhorse_testkit::PostgresServer;

use super::town::Town;

/// A server with one database.
pub struct Forge {
    server: PostgresServer,
    restores: AtomicU32,
}

/// The database that is backed up.
const NAME: &str = "forge";

impl Forge {
    pub fn start() -> Self {
        let server = PostgresServer::start();
        server.create_database(NAME);
        let rows = "INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n;";
        server.psql(NAME, &format!("CREATE TABLE users (id int, name text); {rows}"));
        Self { server, restores: AtomicU32::new(0) }
    }

    /// The part of a configuration that names it.
    pub fn section(&self) -> String {
        self.section_of(NAME)
    }

    fn section_of(&self, database: &str) -> String {
        format!("[[database]]\nname = 'main'\nurl = '{}'\n", self.server.url(database))
    }

    /// Restores the dump of a backup and compares all tables.
    #[track_caller]
    pub fn assert_restores(&self, town: &Town, id: &str) {
        let name = format!("back_{}", self.restores.fetch_add(1, Ordering::Relaxed));
        self.server.create_database(&name);
        town.site.write("forge.toml", &format!("{}{}", town.vault_section(), self.section_of(&name)));
        town.alone("restore", "forge.toml", ["restore", id, "--only", "db"]).run().expect_success();
        assert_eq!(self.server.table_checksums(NAME), self.server.table_checksums(&name), "{id}");
    }
}
