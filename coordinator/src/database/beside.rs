//! A restore beside: another database is made, filled and proven, and then takes the name of the old one.
//!
//! Does not own: filling (`fill`), the swap (`swap`), or restoring where no database can be made (`in_place`). Nobody sees
//! half a database, and everything up to the swap leaves the old one in force and in use. What a restore that died has
//! left is dropped first, when it is proven to be ours and no other restore is at work.

use packhorse_model::{ErrorKind, Problem};
use tokio_util::sync::CancellationToken;

use super::{
    attributes,
    connection::Connection,
    failure,
    fill::fill,
    hold::Hold,
    names::{Leftover, Names},
    objects,
    psql::{self, identifier, literal},
    replay::{Fault, Replayed, Rules},
    restore::{Brought, Job, UNTOUCHED},
    session::{self, Failed},
    slots,
    swap::{Old, Swap},
    target::Target,
    wanted::Wanted,
};

const WHAT: &str = "restore database";

/// A restore beside the old database.
pub(super) struct Beside<'a> {
    job: &'a Job<'a>,
    target: &'a Target,
    maintenance: Connection,
    names: Names,
}

/// How a restore beside ended.
pub(super) enum Ended {
    /// The new database is in force.
    Done(Brought),
    /// The user may not give the new database what the old one has.
    NotAllowed,
}

/// Restores; none when the user's rights do not suffice for this way.
pub(super) async fn restore(job: &Job<'_>, target: &Target) -> Result<Ended, Problem> {
    let maintenance = target.maintenance.as_deref().ok_or_else(|| failure::lost(job.connection, WHAT))?;
    let maintenance = job.connection.to(maintenance);
    let hold = Hold::take(&maintenance, &target.name, job.cancel).await?;
    let beside = Beside { job, target, maintenance, names: Names::new(&target.name) };
    let mut remarks = beside.tidy_up().await;
    let mut wanted = Wanted::find(job, target, &beside.maintenance).await?;
    let made = beside.make_and_fill(&mut wanted, &hold).await;
    let ended = match made {
        Ok(Some(brought)) => Ok(brought),
        Ok(None) => {
            beside.drop_new().await;
            return Ok(Ended::NotAllowed);
        }
        Err(problem) => {
            beside.drop_new().await;
            Err(problem)
        }
    };
    let mut brought = ended?;
    remarks.append(&mut wanted.remarks);
    remarks.append(&mut brought.remarks);
    Ok(Ended::Done(Brought { remarks, ..brought }))
}

impl Beside<'_> {
    async fn make_and_fill(&self, wanted: &mut Wanted, hold: &Hold) -> Result<Option<Brought>, Problem> {
        match self.create(wanted).await {
            Err(problem) if problem.kind == ErrorKind::Denied && self.target.existing.is_some() => {
                return Ok(None);
            }
            made => made?,
        }
        let Some((attributes, mut faults)) = self.rehearse(wanted).await? else { return Ok(None) };
        let replayed = self.fill(wanted).await?;
        let mut number = replayed.number + (wanted.faults.len() + faults.len()) as u64;
        faults.splice(0..0, wanted.faults.drain(..));
        faults.extend(replayed.faults);
        number = number.max(faults.len() as u64);
        let old = match () {
            // What failed may be all that somebody needs from the old one.
            () if self.job.options.keep_old || number > 0 => Old::Kept,
            () if self.job.options.force => Old::Dropped,
            () => Old::DroppedIfEmpty,
        };
        if self.job.cancel.is_cancelled() {
            return Err(Problem::cancelled(WHAT).leaving(UNTOUCHED));
        }
        let (target, names) = (self.target, &self.names);
        let swap = Swap {
            maintenance: &self.maintenance,
            target,
            names,
            holder: &hold.holder,
            attributes: &attributes,
            old,
        };
        swap.carry_out().await?;
        let mut remarks = replayed.remarks;
        remarks.extend(self.subscriptions().await);
        if target.existing.is_some() {
            let slots = slots::of(&self.maintenance, &names.old).await;
            remarks.extend(self.leave_old(old).await);
            let is_kept = !slots.is_empty() && slots::of(&self.maintenance, &names.old).await == slots;
            remarks.extend(slots::remark(self.job.connection, &slots, is_kept));
        }
        Ok(Some(Brought { faults, number, remarks }))
    }

    /// Makes the new database and marks it as ours.
    async fn create(&self, wanted: &mut Wanted) -> Result<(), Problem> {
        let made = self.try_create(wanted).await;
        let existing = self.target.existing.as_ref().map(|existing| &existing.attributes);
        match (made, existing) {
            (Err(problem), Some(existing)) if is_locale(&problem) => {
                wanted.take_locale(existing, self.job.connection);
                self.try_create(wanted).await
            }
            (made, _) => made,
        }
    }

    async fn try_create(&self, wanted: &Wanted) -> Result<(), Problem> {
        let Names { new, .. } = &self.names;
        let create = attributes::create(new, &wanted.attributes, self.target.server.major);
        let mark = literal(&self.names.mark_of_new());
        let sql = format!("{create}COMMENT ON DATABASE {} IS {mark};\n", identifier(new));
        // It takes moments; stopped between the two, it would leave a database that nothing proves to be ours.
        self.order(WHAT, sql).await.map(drop).map_err(|problem| problem.leaving(UNTOUCHED))
    }

    /// Tries the attributes out, so that a long restore does not fail on them in the end; the statements that work.
    async fn rehearse(&self, wanted: &Wanted) -> Result<Option<(Vec<String>, Vec<Fault>)>, Problem> {
        let (mut work, mut faults) = (Vec::new(), Vec::new());
        for statement in attributes::apply(&self.names.new, &wanted.attributes) {
            let tried = self.order(WHAT, format!("BEGIN;\n{statement}ROLLBACK;\n")).await;
            match tried {
                Ok(_) => work.push(statement),
                Err(problem) if problem.kind == ErrorKind::Denied && self.target.existing.is_some() => {
                    return Ok(None);
                }
                Err(problem) if self.job.options.continue_on_error => faults.push(Fault {
                    object: "attributes of the database".into(),
                    said: problem.answer.unwrap_or_default(),
                    of_rows: false,
                }),
                Err(problem) => {
                    return Err(problem
                        .leaving(UNTOUCHED)
                        .next("correct the server, or use --continue-on-error to restore without it"));
                }
            }
        }
        Ok(Some((work, faults)))
    }

    /// Fills the new database; anew when rows were refused that may need another search path.
    async fn fill(&self, wanted: &mut Wanted) -> Result<Replayed, Problem> {
        let mut rules = Rules {
            search_paths: attributes::search_paths(&wanted.attributes, &self.target.server.search_path),
            go_on: self.job.options.continue_on_error,
            ..Rules::default()
        };
        loop {
            let filled = self.fill_once(&rules).await;
            let refused = match &filled {
                Ok(replayed) => replayed.lacks_rows(),
                Err(failed) => failed.of_rows,
            };
            let next = rules.rows_under.map_or(0, |number| number + 1);
            if !refused || next == rules.search_paths.len() {
                return filled.map_err(|failed| failed.problem.leaving(UNTOUCHED));
            }
            rules.rows_under = Some(next);
            self.drop_new().await;
            self.create(wanted).await?;
        }
    }

    async fn fill_once(&self, rules: &Rules) -> Result<Replayed, Failed> {
        let reader = self.job.open().await?;
        let connection = self.job.connection.to(&self.names.new);
        let (summary, rules, shown) = (self.job.summary.clone(), rules.clone(), connection.clone());
        session::speak(&connection, self.job.cancel, move |dialogue, _| {
            // Nobody reads it before it is whole, so no statement has to wait for the disk; the swap waits for all.
            let hasty = b"SET synchronous_commit = off; SET client_min_messages = warning;";
            dialogue.say(hasty).map_err(|_| super::fill::Unfilled::Ended)?;
            fill(&shown, &summary, reader, dialogue, &rules)
        })
        .await
    }

    /// What the operator has to do about subscriptions, which come back switched off.
    async fn subscriptions(&self) -> Vec<Problem> {
        let names = subscriptions(&self.maintenance, &self.names.target).await;
        names.into_iter().map(|name| self.remark("restore subscription", &name, "it is switched off, as in every dump")
            .next("compare the tables with the publisher's, then ALTER SUBSCRIPTION … ENABLE and REFRESH PUBLICATION"))
            .collect()
    }

    /// Keeps or drops the old database, which has another name by now.
    async fn leave_old(&self, old: Old) -> Vec<Problem> {
        let name = &self.names.old;
        let holds = match old {
            Old::DroppedIfEmpty => is_empty(&self.job.connection.to(name)).await.err(),
            Old::Kept => Some("it holds what the database held before".to_owned()),
            Old::Dropped => None,
        };
        let Some(said) = holds else { return self.remove(name).await.into_iter().collect() };
        let database = identifier(name);
        // Without the mark no later restore drops it; and it must not take changes that the new one needs.
        if old == Old::DroppedIfEmpty {
            let _ = self.order(WHAT, format!("COMMENT ON DATABASE {database} IS NULL;\n")).await;
        }
        for subscription in subscriptions(&self.maintenance, name).await {
            let sql = format!("ALTER SUBSCRIPTION {} DISABLE;\n", identifier(&subscription));
            let _ = psql::ask(&self.job.connection.to(name), WHAT, sql, &CancellationToken::new()).await;
        }
        vec![self.remark("keep old database", name, &said).next("drop it when nobody needs it any more")]
    }

    /// Drops what restores that died have left of this database.
    async fn tidy_up(&self) -> Vec<Problem> {
        let sql = "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database;\n";
        let all = self.order(WHAT, sql.to_owned()).await.unwrap_or_default();
        let mut remarks = Vec::new();
        for pair in all.chunks_exact(2) {
            match Names::leftover(&self.target.name, &pair[0], &pair[1]) {
                None => {}
                Some(Leftover::UselessIfEmpty)
                    if is_empty(&self.job.connection.to(&pair[0])).await.is_err() => {}
                Some(_) => remarks.extend(self.remove(&pair[0]).await),
            }
        }
        remarks
    }

    async fn drop_new(&self) {
        let there =
            format!("SELECT count(*) FROM pg_database WHERE datname = {};\n", literal(&self.names.new));
        if self.order(WHAT, there).await.is_ok_and(|number| number == ["1"]) {
            // What cannot be dropped now is marked, so the next restore does it.
            let _ = self.remove(&self.names.new).await;
        }
    }

    /// Drops a database that is proven to be ours to drop; a remark when it stays.
    async fn remove(&self, name: &str) -> Option<Problem> {
        let never = CancellationToken::new();
        for subscription in subscriptions(&self.maintenance, name).await {
            let subscription = identifier(&subscription);
            let sql = format!(
                "ALTER SUBSCRIPTION {subscription} DISABLE;\nALTER SUBSCRIPTION {subscription} SET (slot_name = NONE);\n\
                 DROP SUBSCRIPTION {subscription};\n"
            );
            let _ = psql::ask(&self.job.connection.to(name), WHAT, sql, &never).await;
        }
        let force = if self.target.server.major >= 13 { " WITH (FORCE)" } else { "" };
        let dropped =
            self.order("drop database", format!("DROP DATABASE {}{force};\n", identifier(name))).await;
        dropped.err().map(|problem| problem.on(name).next("drop it by hand, or let the next restore do it"))
    }

    async fn order(&self, what: &str, sql: String) -> Result<Vec<String>, Problem> {
        psql::ask(&self.maintenance, what, sql, &CancellationToken::new()).await
    }

    fn remark(&self, what: &str, object: &str, said: &str) -> Problem {
        failure::problem(self.job.connection, ErrorKind::AlreadyExists, what).on(object).answered(said)
    }
}

/// Says what it holds when it is not empty.
async fn is_empty(connection: &Connection) -> Result<(), String> {
    match psql::ask(connection, WHAT, objects::HOLDS, &CancellationToken::new()).await {
        Ok(holds) if holds.is_empty() => Ok(()),
        Ok(holds) => Err(format!("it is no longer empty: it holds {}", holds.join(", "))),
        Err(problem) => Err(problem.to_string()),
    }
}

async fn subscriptions(maintenance: &Connection, database: &str) -> Vec<String> {
    let sql = format!(
        "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = {};\n",
        literal(database)
    );
    psql::ask(maintenance, WHAT, sql, &CancellationToken::new()).await.unwrap_or_default()
}

fn is_locale(problem: &Problem) -> bool {
    let said = problem.answer.as_deref().unwrap_or_default();
    said.contains("locale") || said.contains("collation provider")
}
