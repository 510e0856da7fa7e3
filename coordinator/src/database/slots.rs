//! Logical replication slots of a database that another one takes the place of.
//!
//! Does not own: the databases (`beside`). A slot belongs to one database and cannot move to another: it goes when its
//! database is dropped, and holds back the server's log while its database is kept. Only the operator can set its
//! consumers up anew, so all that is done here is to say so.

use packhorse_model::{ErrorKind, Problem};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connection,
    failure,
    psql::{self, literal},
};

const WHAT: &str = "look for replication slots";

/// The logical slots of a database.
pub(super) async fn of(maintenance: &Connection, database: &str) -> Vec<String> {
    let sql = format!(
        "SELECT slot_name FROM pg_replication_slots WHERE database = {} AND NOT temporary ORDER BY 1;\n",
        literal(database)
    );
    psql::ask(maintenance, WHAT, sql, &CancellationToken::new()).await.unwrap_or_default()
}

/// What the operator has to know of the slots of the old database; `is_kept` when that database stays.
pub(super) fn remark(connection: &Connection, slots: &[String], is_kept: bool) -> Option<Problem> {
    let names = slots.join(", ");
    let remark = failure::problem(connection, ErrorKind::NotFound, "replace database");
    let (said, next) = if is_kept {
        (
            format!("its logical replication slots belong to the old database, which is kept: {names}"),
            "drop them, so that the server need not keep its log for them, and set their consumers up anew",
        )
    } else {
        (
            format!("its logical replication slots went with the old database: {names}"),
            "set their consumers up anew",
        )
    };
    (!slots.is_empty()).then(|| remark.answered(said).next(next))
}
