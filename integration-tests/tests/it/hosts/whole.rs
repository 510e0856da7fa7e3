//! The main job between hosts: two backups into a real Ceph gateway over a long and lossy way, and back, with a database.
//!
//! Does not own: the fault store's quick variants of what comes after (`cuts`, `losses`).

use std::time::Duration;

use packhorse_testkit::{Network, PostgresServer};

use super::{Hosts, Options};
use crate::system::site::{json, text};

const TABLE: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text); \
    INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 5000) AS n;";

#[test]
fn hosts_back_up_to_ceph_over_a_bad_line_and_restore_with_their_postgres_database() {
    let Some(network) = Network::start() else { return };
    let database_host = network.host("database");
    let server = PostgresServer::start_on(&database_host);
    server.create_database("forge");
    server.psql("forge", TABLE);
    let databases = format!(
        "[[database]]\nname = 'main'\nurl = '{}'\nbin_dir = '{}'\nenv = {{ PGCONNECT_TIMEOUT = '3' }}\n",
        server.url("forge"),
        server.binaries().display()
    );
    let options = Options { ceph: true, delay: Duration::from_millis(20), databases, ..Options::default() };
    let hosts = Hosts::start_on(network, options);
    let (before, tables) = (hosts.states(), server.table_checksums("forge"));
    hosts.ctl(["create", "--backup-id", "0001"]).run().expect_success();

    hosts.all().iter().for_each(|host| host.lose(5));
    hosts.change();
    server.psql("forge", "DELETE FROM users WHERE id % 2 = 0");
    let (after, fewer) = (hosts.states(), server.table_checksums("forge"));
    let output = hosts.ctl(["create", "--json", "--backup-id", "0002"]).run().expect_success();
    let summary = json(&output);
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    assert_eq!(summary["repositories"]["backed_up"], 2, "{summary:#}");
    hosts.assert_restores("0002", &after);
    hosts.assert_restores("0001", &before);
    server.psql("forge", "DROP TABLE users; CREATE TABLE others (id int)");
    for (id, expected) in [("0001", tables), ("0002", fewer)] {
        server.psql("forge", "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        hosts.ctl(["restore", id, "--only", "db"]).run().expect_success();
        assert_eq!(server.table_checksums("forge"), expected);
    }

    // A database that is out of reach is missing by name, and nothing else is.
    database_host.cut();
    hosts.repo(0).fill("main", 1);
    let output = hosts.ctl(["create", "--json", "--backup-id", "0003"]).run().expect_code(3);
    let summary = json(&output);
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(1), "{summary:#}");
    assert_eq!(summary["failures"][0]["item"], "main", "{summary:#}");
    assert_eq!(summary["repositories"]["failed"], 0, "{summary:#}");
    hosts.assert_restores("0003", &hosts.states());
    hosts.stop(&["run or restore ended without success"]);
}
