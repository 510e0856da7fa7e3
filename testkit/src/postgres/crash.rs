//! The server's sudden death, all of its processes at once, and its return.
//!
//! Does not own: an orderly end (the watchdog's). The first process is stopped before its children are looked up, so that
//! it cannot start others or tidy up; nobody in the cluster learns of the end of another.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{postgres::PostgresServer, wait_until};

impl PostgresServer {
    /// Kills every process of the server with SIGKILL; sessions and transactions end in their middle.
    pub fn kill(&self) {
        let first = self.first_process();
        signal(first, Signal::STOP);
        let all: Vec<Pid> = children(first).into_iter().chain([first]).collect();
        all.iter().for_each(|process| signal(*process, Signal::KILL));
        wait_until("the end of PostgreSQL", Duration::from_secs(10), || {
            let left: Vec<_> = all.iter().filter(|process| is_alive(**process)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are alive")) }
        });
    }

    /// Starts the server again after `kill`; returns when it has recovered and answers.
    pub fn revive(&self) {
        // They name a process that is dead, but that PostgreSQL takes for alive until somebody has buried it.
        for file in ["data/postmaster.pid", &format!(".s.PGSQL.{}.lock", self.port())] {
            fs::remove_file(self.folder.join(file)).expect("a server that was killed leaves its lock files");
        }
        // While it was dead, somebody else may have been given its port for a moment.
        wait_until("PostgreSQL on its old port", Duration::from_secs(60), || self.try_launch());
    }

    /// Ends all connections but the one that asks for it, and says how many there were.
    pub fn end_connections(&self) -> u64 {
        let others = "backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let sql = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}");
        self.psql("postgres", &sql).parse().expect("a count")
    }

    fn first_process(&self) -> Pid {
        let text = fs::read_to_string(self.folder.join("run/postgres.pid")).expect("the server runs");
        parsed(text.lines().next().unwrap_or_default()).expect("a process id")
    }
}

fn parsed(text: &str) -> Option<Pid> {
    text.trim().parse().ok().and_then(Pid::from_raw)
}

fn children(of: Pid) -> Vec<Pid> {
    let pid = of.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("the server runs");
    text.split_whitespace().filter_map(parsed).collect()
}

fn signal(process: Pid, signal: Signal) {
    // One that has just ended by itself needs no signal.
    let _ = kill_process(process, signal);
}

fn is_alive(process: Pid) -> bool {
    // A zombie is dead; it is only not yet buried.
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_postgres_server_comes_back_to_a_port_that_somebody_has_for_a_while() {
        let server = PostgresServer::start();
        server.kill();
        let thief = TcpListener::bind((Ipv4Addr::LOCALHOST, server.port())).expect("the port is free");
        std::thread::scope(|scope| {
            scope.spawn(|| server.revive());
            let log = || fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            wait_until("a start in vain", Duration::from_secs(30), || {
                let log = log();
                if log.contains("could not bind") { Ok(()) } else { Err(log) }
            });
            drop(thief);
        });
        assert_eq!(server.psql("postgres", "SELECT 1"), "1");
    }

    #[test]
    fn a_postgres_server_that_is_killed_comes_back_with_what_was_committed() {
        let server = PostgresServer::start();
        server.create_database("forge");
        server.psql("forge", "CREATE TABLE people (name text); INSERT INTO people VALUES ('Ada')");
        let mut session =
            server.session("forge", "BEGIN; INSERT INTO people VALUES ('Bea'); SELECT pg_sleep(600)");
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait_until("a session in its middle", Duration::from_secs(30), || {
            if server.psql("postgres", asleep) == "1" { Ok(()) } else { Err("none".to_owned()) }
        });
        server.kill();
        assert_eq!(session.wait(Duration::from_secs(30)), 2, "{:#?}", session.lines());
        server.revive();
        assert_eq!(server.psql("forge", "SELECT * FROM people"), "Ada");
    }
}
