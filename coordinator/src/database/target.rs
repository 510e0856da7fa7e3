//! The database that a dump is restored into, as it is before anything is done, and which way it is replaced.
//!
//! Does not own: either way (`beside`, `in_place`). Nothing is changed here. What a database holds is replaced only with
//! force; one that is older than the dump's server, or that holds something, is refused.

use packhorse_model::{DatabaseAttributes, DatabaseSummary, ErrorKind, Problem};
use tokio_util::sync::CancellationToken;

use super::{
    attributes::{self, ATTRIBUTES},
    connection::Connection,
    failure, objects,
    psql::{self, literal},
};

const WHAT: &str = "restore database";
const LOOK: &str = "look into database";
/// Databases that every server has, to give orders from.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

const SERVER: &str = "SELECT current_setting('server_version_num')::int / 10000, rolsuper, rolcreatedb, rolname, \
    current_setting('search_path'), extract(epoch FROM pg_postmaster_start_time()) FROM pg_roles WHERE rolname = current_user;\n";
const DATABASE: &str = "SELECT oid, datname, datistemplate, pg_has_role(datdba, 'USAGE') FROM pg_database \
    WHERE datname = current_database();\n";
/// Extensions of other owners, then the schemas that these keep, each list up to an empty field.
const KEPT: &str = "SELECT extname FROM pg_extension WHERE NOT pg_has_role(extowner, 'USAGE') AND oid >= 16384;\n\
    SELECT '';\n\
    SELECT nspname FROM pg_namespace WHERE nspname <> 'public' AND nspname !~ '^pg_' AND oid IN \
    (SELECT extnamespace FROM pg_extension WHERE NOT pg_has_role(extowner, 'USAGE') AND oid >= 16384);\nSELECT '';\n";

/// A server, and what the user of the connection is there.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its major version.
    pub(super) major: u32,
    /// Whether the user may do everything.
    pub(super) superuser: bool,
    /// Whether the user may create databases.
    pub(super) may_create: bool,
    /// The user.
    pub(super) user: String,
    /// What a session's search path is by default.
    pub(super) search_path: String,
    /// When it started, which tells it from other servers: addresses do not, because one server has many.
    started: String,
}

/// The database that is there.
#[derive(Clone, Debug)]
pub(super) struct Existing {
    /// What tells it from one that takes its name later.
    pub(super) oid: String,
    /// What belongs to it.
    pub(super) attributes: DatabaseAttributes,
    /// Extensions that the user cannot drop.
    pub(super) kept_extensions: Vec<String>,
    /// The schemas of these.
    pub(super) kept_schemas: Vec<String>,
    /// Whether it holds something.
    pub(super) holds_something: bool,
    is_template: bool,
    is_owned: bool,
}

/// Where a dump goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its name on the server.
    pub(super) name: String,
    /// The server.
    pub(super) server: Server,
    /// What is there, if anything.
    pub(super) existing: Option<Existing>,
    /// Where orders can be given while it is replaced; none where no such database admits the user.
    pub(super) maintenance: Option<String>,
}

impl Target {
    /// Looks at server and database; refuses what may not be replaced.
    pub(super) async fn find(
        connection: &Connection,
        summary: &DatabaseSummary,
        force: bool,
        cancel: &CancellationToken,
    ) -> Result<Self, Problem> {
        let target = match existing(connection, force, cancel).await {
            Ok(target) => target,
            Err(problem) if problem.kind == ErrorKind::NotFound && summary.attributes.is_some() => {
                missing(connection, problem, cancel).await?
            }
            Err(problem) => return Err(problem),
        };
        let major = target.server.major;
        if major < summary.server_major {
            return Err(failure::problem(connection, ErrorKind::Invalid, WHAT)
                .answered(format!(
                    "the dump is of PostgreSQL {}, the server is {major}",
                    summary.server_major
                ))
                .next(format!("restore into a server of version {} or newer", summary.server_major)));
        }
        Ok(target)
    }

    /// What tells the database from every other one, whatever address leads to it.
    pub(super) fn identity(&self) -> String {
        format!("{} {}", self.server.started, self.name)
    }

    /// Whether another database can be made beside it and take its place.
    pub(super) fn can_be_replaced(&self) -> bool {
        let Server { superuser, may_create, .. } = self.server;
        let by_owner = |existing: &Existing| existing.is_owned && existing.kept_extensions.is_empty();
        self.maintenance.is_some()
            && self.existing.as_ref().is_none_or(|existing| !existing.is_template)
            && (superuser || (may_create && self.existing.as_ref().is_none_or(by_owner)))
    }
}

async fn existing(
    connection: &Connection,
    force: bool,
    cancel: &CancellationToken,
) -> Result<Target, Problem> {
    let sql = [SERVER, DATABASE, ATTRIBUTES, KEPT, objects::HOLDS].concat();
    let mut answer = psql::ask(connection, LOOK, sql, cancel).await?.into_iter();
    let unread = || failure::lost(connection, LOOK);
    let server = server(&mut answer).ok_or_else(unread)?;
    let mut next = || answer.next().ok_or_else(unread);
    let (oid, name, is_template, is_owned) = (next()?, next()?, next()? == "t", next()? == "t");
    if let Some(problem) = failure::misled(connection, WHAT, &name) {
        return Err(problem);
    }
    let attributes = attributes::parse(&next()?).ok_or_else(unread)?;
    let kept_extensions = answer.by_ref().take_while(|name| !name.is_empty()).collect();
    let kept_schemas = answer.by_ref().take_while(|name| !name.is_empty()).collect();
    let holds: Vec<String> = answer.collect();
    if !holds.is_empty() && !force {
        return Err(failure::problem(connection, ErrorKind::AlreadyExists, WHAT)
            .answered(format!("the database is not empty: it holds {}", holds.join(", ")))
            .next("restore into an empty database, or use --force to replace what it holds"));
    }
    let holds_something = !holds.is_empty();
    let existing =
        Existing { oid, attributes, kept_extensions, kept_schemas, holds_something, is_template, is_owned };
    let mut maintenance = None;
    for other in MAINTENANCE.into_iter().filter(|other| *other != name) {
        if psql::ask(&connection.to(other), LOOK, "SELECT 1;\n", cancel).await.is_ok() {
            maintenance = Some(other.to_owned());
            break;
        }
    }
    Ok(Target { name, server, existing: Some(existing), maintenance })
}

/// A server that does not have the database yet; `problem` is what it said.
async fn missing(
    connection: &Connection,
    problem: Problem,
    cancel: &CancellationToken,
) -> Result<Target, Problem> {
    let Some(name) = connection.database() else { return Err(problem) };
    for other in MAINTENANCE {
        let sql = format!("SELECT count(*) FROM pg_database WHERE datname = {};\n{SERVER}", literal(name));
        let Ok(answer) = psql::ask(&connection.to(other), LOOK, sql, cancel).await else { continue };
        let mut answer = answer.into_iter();
        let is_missing = answer.next().is_some_and(|number| number == "0");
        let Some(server) = server(&mut answer).filter(|_| is_missing) else { return Err(problem) };
        if !server.superuser && !server.may_create {
            return Err(problem);
        }
        let maintenance = Some(other.to_owned());
        return Ok(Target { name: name.to_owned(), server, existing: None, maintenance });
    }
    Err(problem)
}

fn server(answer: &mut impl Iterator<Item = String>) -> Option<Server> {
    Some(Server {
        major: answer.next()?.parse().ok()?,
        superuser: answer.next()? == "t",
        may_create: answer.next()? == "t",
        user: answer.next()?,
        search_path: answer.next()?,
        started: answer.next()?,
    })
}
