//! What a failed `psql` or `pg_dump` means, as a problem.
//!
//! Does not own: starting them. Nothing but the program's own words decides; they are shown without the password and
//! without rows of tables, because every `psql` here runs with terse messages.

use std::process::ExitStatus;

use packhorse_model::{ErrorKind, Problem, Subject};

use super::connection::Connection;
use crate::pipe::LastLines;

/// What a server says of a role by which somebody wants to log in. Of a role that a statement names, it says an `ERROR`.
const LOGIN: &str = "FATAL:  role \"";

/// Fragments of the programs' messages, what to do about them, and how.
const KNOWN: [(&str, ErrorKind, &str); 24] = [
    (
        LOGIN,
        ErrorKind::NotFound,
        "correct the user of the database's url (without one, PGUSER or the user of this process), or create that role",
    ),
    (
        "is not permitted to log in",
        ErrorKind::Denied,
        "name another user in the database's url, or grant the role LOGIN",
    ),
    ("password authentication failed", ErrorKind::Denied, "correct the database's user or password"),
    (
        "no password supplied",
        ErrorKind::Denied,
        "give the database a password, password_file or .pgpass entry",
    ),
    (
        "Peer authentication failed",
        ErrorKind::Denied,
        "run as the database's operating system user, or use a password",
    ),
    ("no pg_hba.conf entry", ErrorKind::Denied, "admit this host and user in the server's pg_hba.conf"),
    ("role \"", ErrorKind::NotFound, "create the roles that the database names, then restore again"),
    (
        "is being accessed by other users",
        ErrorKind::Unavailable,
        "stop what uses the database, and end its prepared transactions, then try again",
    ),
    (
        "invalid locale name",
        ErrorKind::Invalid,
        "install this locale on the database server's host, and restart PostgreSQL",
    ),
    (
        "out of shared memory",
        ErrorKind::Unavailable,
        "raise max_locks_per_transaction, restart PostgreSQL, try again",
    ),
    ("must be superuser", ErrorKind::Denied, "use a database user with this right"),
    ("must be owner of", ErrorKind::Denied, "use the owner of the database's objects, or a superuser"),
    ("permission denied", ErrorKind::Denied, "grant the database's user this right"),
    (
        "max_locks_per_transaction",
        ErrorKind::Unavailable,
        "raise max_locks_per_transaction, restart PostgreSQL, try again",
    ),
    (
        "due to lock timeout",
        ErrorKind::Unavailable,
        "stop the application that uses the database, then try again",
    ),
    (
        "server version mismatch",
        ErrorKind::Invalid,
        "set bin_dir to the programs of the server's version or a newer one",
    ),
    (
        "invalid command \\restrict",
        ErrorKind::Invalid,
        "set bin_dir to a psql that is as new as the pg_dump was",
    ),
    ("No space left on device", ErrorKind::Unavailable, "free space on the database server"),
    ("could not translate host name", ErrorKind::Unavailable, "correct the database's host"),
    ("Connection refused", ErrorKind::Unavailable, "start the database server, or correct its host and port"),
    ("timeout expired", ErrorKind::Unavailable, "check that the database server can be reached"),
    (
        "definition of service",
        ErrorKind::Invalid,
        "correct the service's name in the URL, or write it into the file of PGSERVICEFILE or ~/.pg_service.conf",
    ),
    (
        "could not access file",
        ErrorKind::Unavailable,
        "install this library on the database server's host, or take it out of what loads it, such as \
         local_preload_libraries or session_preload_libraries",
    ),
    (
        "No such file or directory",
        ErrorKind::Unavailable,
        "start the database server, or correct its socket's folder",
    ),
];

/// The problem that a program's end stands for; `what` is the operation that it stopped.
pub(super) fn failed(connection: &Connection, what: &str, status: ExitStatus, said: &LastLines) -> Problem {
    answered(connection, what, &said.text(Some(status)))
}

/// The problem of settings that lead to another database than the one that they name.
pub(super) fn misled(connection: &Connection, what: &str, found: &str) -> Option<Problem> {
    let named = connection.database().filter(|named| *named != found)?;
    let said =
        format!("the settings name the database {named:?}, and the server says that this is {found:?}");
    let next = "give the database the name that the server has for it, and connect to the server itself, not to a pooler";
    Some(problem(connection, ErrorKind::Invalid, what).answered(said).next(next))
}

/// The problem that an answer of the server stands for.
pub(super) fn answered(connection: &Connection, what: &str, answer: &str) -> Problem {
    // libpq sets its hints off by tabs.
    let answer = connection.redact(answer).replace('\t', " ");
    let missing = answer.contains("database \"") && answer.contains("\" does not exist");
    let (kind, next) = match KNOWN.iter().find(|(fragment, ..)| matches(&answer, fragment)) {
        _ if missing => (ErrorKind::NotFound, "create the database, or correct its name"),
        Some((_, kind, next)) => (*kind, *next),
        None => (ErrorKind::Unavailable, "see the database server's log"),
    };
    problem(connection, kind, what).answered(answer).next(next)
}

/// A role is missing only where one is said to be: a role's name stands in other messages, too.
fn matches(answer: &str, fragment: &str) -> bool {
    let names_role = fragment == LOGIN || fragment == "role \"";
    answer.contains(fragment) && (!names_role || answer.contains("\" does not exist"))
}

/// A problem with this database.
pub(super) fn problem(connection: &Connection, kind: ErrorKind, what: &str) -> Problem {
    Problem::new(kind, Subject::Database, what).on(on(connection))
}

/// The database by its name and its place; no user, and no password.
pub(super) fn on(connection: &Connection) -> String {
    format!("database {} at {}", connection.name(), connection.place())
}

/// The problem of a server that answers something else than was asked.
pub(super) fn lost(connection: &Connection, what: &str) -> Problem {
    problem(connection, ErrorKind::Unavailable, what)
        .answered("the server ended the session, or answered something unexpected")
        .next("see the database server's log")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use packhorse_service::config::DatabaseConfig;

    use super::*;

    fn told(answer: &str) -> Problem {
        let config = DatabaseConfig {
            name: "main".into(),
            url: "postgresql://forge:geheim@db.internal:5433/forge".into(),
            password_file: None,
            bin_dir: None,
            env: BTreeMap::new(),
        };
        answered(&Connection::new(&config, &BTreeMap::new()).expect("valid"), "look into database", answer)
    }

    #[test]
    fn a_role_that_logs_in_is_another_matter_than_one_that_a_dump_names() {
        let login = told("psql: error: connection to server failed: FATAL:  role \"nobody\" does not exist");
        let next = login.next.expect("a next step");
        assert!(next.starts_with("correct the user of the database's url"), "{next}");
        let named = told("ERROR:  role \"app\" does not exist").next.expect("a next step");
        assert!(named.starts_with("create the roles that the database names"), "{named}");
        let closed = told("FATAL:  role \"app\" is not permitted to log in");
        assert_eq!(closed.kind, ErrorKind::Denied);
    }

    #[test]
    fn a_problem_names_host_port_and_database_and_neither_user_nor_password() {
        let problem = told("password authentication failed: geheim");
        assert_eq!(problem.object.as_deref(), Some("database main at db.internal:5433/forge"));
        assert!(!format!("{problem:?}").contains("geheim"), "{problem:?}");
    }
}
