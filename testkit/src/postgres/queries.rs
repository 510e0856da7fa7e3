//! Queries through `psql`: statements, databases, roles, and the oracle for a database's contents.
//!
//! Does not own: the server (`cluster`). The oracle reads rows through PostgreSQL itself, so it compares contents and
//! not how they are stored.

use std::{collections::BTreeMap, process::Command};

use crate::{
    command::{hermetic_command, stdout_text},
    postgres::PostgresServer,
    processes::Daemon,
    run_with_input,
};

const USER_TABLES: &str = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";

impl PostgresServer {
    /// Runs statements as the superuser, and gives the rows with `|` between columns.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut command = self.psql_command(database);
        stdout_text(run_with_input(&mut command, sql.as_bytes()))
    }

    /// A session that runs these statements and goes on until it is done, or killed with the value.
    pub fn session(&self, database: &str, sql: &str) -> Daemon {
        let mut command = self.psql_command(database);
        command.arg("--command").arg(sql);
        Daemon::spawn_command(command)
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) {
        self.psql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0", identifier(name)));
    }

    /// Creates a role that has to give this password over TCP.
    pub fn create_role(&self, name: &str, password: &str) {
        let password = password.replace('\'', "''");
        self.psql("postgres", &format!("CREATE ROLE {} LOGIN PASSWORD '{password}'", identifier(name)));
    }

    /// For each user table, its number of rows and an MD5 of its ordered rows.
    pub fn table_checksums(&self, database: &str) -> BTreeMap<String, String> {
        let tables = self.psql(database, USER_TABLES);
        let checksum = |table: &str| {
            let sql = format!(
                "SELECT count(*) || ' ' || md5(coalesce(string_agg(entry::text, E'\\n' ORDER BY entry::text), '')) \
                 FROM {table} AS entry"
            );
            self.psql(database, &sql)
        };
        tables.lines().map(|table| (table.to_owned(), checksum(table))).collect()
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut command = hermetic_command(self.binaries().join("psql"));
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .arg("--dbname")
            .arg(self.socket_url(database));
        command
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_checked;

    #[test]
    fn a_server_starts_holds_tables_and_goes_away() {
        let server = PostgresServer::start();
        server.create_database("forge");
        server
            .psql("forge", "CREATE TABLE people (id int, name text); INSERT INTO people VALUES (1, 'Ada');");
        assert_eq!(server.psql("forge", "SELECT * FROM people"), "1|Ada");
        let before = server.table_checksums("forge");
        assert_eq!(before.keys().collect::<Vec<_>>(), ["public.people"]);
        server.psql("forge", "UPDATE people SET name = 'Bea'");
        assert_ne!(server.table_checksums("forge"), before);

        server.create_role("keeper", "it's secret");
        let url = format!("postgresql://keeper@127.0.0.1:{}/forge", server.port());
        let login = |password: &str| {
            let mut psql = hermetic_command(server.binaries().join("psql"));
            psql.env("PGPASSWORD", password).args(["--dbname", &url, "--command", "SELECT 1"]);
            psql
        };
        run_checked(&mut login("it's secret"));
        let refused = login("wrong").output().expect("psql starts");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("password authentication failed"));
        run_checked(hermetic_command(server.binaries().join("pg_dump")).arg(server.url("forge")));

        let folder = server.socket_dir().to_owned();
        drop(server);
        assert!(!folder.exists(), "{} is left", folder.display());
    }
}
