//! A restore in place, where the user may not make a database: one transaction that drops what is there and brings the dump.
//!
//! Does not own: filling (`fill`), or what a database holds (`objects`). `COMMIT` is sent only after everything is proven,
//! by us and not by `psql` at the end of its input. So a damaged dump, an SQL error, a cancellation and our own death all
//! end in a rollback by the server. Extensions and schemas of the administrator stay.

use std::sync::atomic::Ordering;

use packhorse_model::{ErrorKind, Problem};
use tokio_util::sync::CancellationToken;

use super::{
    attributes,
    dialogue::Dialogue,
    failure,
    fill::{Unfilled, fill},
    objects, psql,
    replay::{Fault, Replayed, Rules},
    restore::{Brought, Job, UNTOUCHED},
    session::{self, Failed},
    target::{Existing, Target},
};

const WHAT: &str = "restore database";
const AT_COMMIT: &str =
    "the connection ended at COMMIT: the database holds all of the backup, or was left as it was";
/// A forgotten application is an error and not a hang.
const BEGIN: &str = "SET client_min_messages = warning; BEGIN; \
    SET LOCAL lock_timeout = '60s';";
/// Locks for a relation of the dump with what belongs to it.
const LOCKS_EACH: u64 = 2;

/// Restores in one transaction.
pub(super) async fn restore(job: &Job<'_>, target: &Target) -> Result<Brought, Problem> {
    let existing = check(job, target).await?;
    let replayed = fill_in_turn(job, target, existing).await?;
    let mut brought = Brought { number: replayed.number, faults: replayed.faults, remarks: replayed.remarks };
    change_attributes(job, target, existing, &mut brought).await;
    Ok(brought)
}

/// Refuses what cannot be done in one transaction; changes nothing.
pub(super) async fn check<'t>(job: &Job<'_>, target: &'t Target) -> Result<&'t Existing, Problem> {
    let existing = target.existing.as_ref().ok_or_else(|| failure::lost(job.connection, WHAT))?;
    if job.options.keep_old {
        return Err(failure::problem(job.connection, ErrorKind::Invalid, WHAT)
            .answered("the old database can be kept only where another one can be made beside it")
            .leaving(UNTOUCHED)
            .next(
                "give the database's user the right CREATEDB and the database, or restore without --keep-old",
            ));
    }
    count_locks(job).await?;
    Ok(existing)
}

async fn fill_in_turn(job: &Job<'_>, target: &Target, existing: &Existing) -> Result<Replayed, Problem> {
    let recorded = job.summary.attributes.as_ref().unwrap_or(&existing.attributes);
    let mut rules = Rules {
        kept_extensions: existing.kept_extensions.clone(),
        kept_schemas: existing.kept_schemas.clone(),
        in_transaction: true,
        search_paths: attributes::search_paths(recorded, &target.server.search_path),
        rows_under: None,
        go_on: job.options.continue_on_error,
    };
    loop {
        let next = rules.rows_under.map_or(0, |number| number + 1);
        let is_last = next == rules.search_paths.len();
        match fill_once(job, &rules, is_last).await {
            Err(failed) if failed.of_rows && !is_last => rules.rows_under = Some(next),
            Err(failed) if failed.at_the_end => return Err(failed.problem.leaving(AT_COMMIT)),
            Err(failed) => return Err(failed.problem.leaving(UNTOUCHED)),
            Ok(replayed) => return Ok(replayed),
        }
    }
}

async fn fill_once(job: &Job<'_>, rules: &Rules, is_last: bool) -> Result<Replayed, Failed> {
    let reader = job.open().await?;
    let (connection, summary, rules, force) =
        (job.connection.clone(), job.summary.clone(), rules.clone(), job.options.force);
    session::speak(job.connection, job.cancel, move |dialogue, last| {
        let must = |dialogue: &mut Dialogue, sql: &str| match dialogue.say(sql.as_bytes()) {
            Err(_) => Err(Unfilled::Ended),
            Ok(answer) => match answer.refused {
                Some(said) => Err(Unfilled::Refused(failure::answered(&connection, WHAT, &said), None)),
                None => Ok(()),
            },
        };
        must(dialogue, BEGIN)?;
        if force {
            must(dialogue, objects::EMPTY)?;
        }
        must(dialogue, "SET LOCAL lock_timeout = 0;")?;
        let replayed = fill(&connection, &summary, reader, dialogue, &rules)?;
        if let Some(fault) = replayed.faults.iter().find(|fault| fault.of_rows && !is_last) {
            let problem = failure::answered(&connection, WHAT, &fault.said);
            return Err(Unfilled::Refused(problem, Some(fault.clone())));
        }
        last.store(true, Ordering::Release);
        must(dialogue, "COMMIT;")?;
        Ok(replayed)
    })
    .await
}

/// Refuses what would end in the middle because the server has too few locks.
async fn count_locks(job: &Job<'_>) -> Result<(), Problem> {
    let answer = psql::ask(job.connection, "count locks", objects::LOCKS, job.cancel).await?;
    let numbers: Vec<u64> = answer.iter().filter_map(|number| number.parse().ok()).collect();
    let [dropped, sessions, setting] = numbers[..] else {
        return Err(failure::lost(job.connection, "count locks"));
    };
    let relations: u64 =
        job.summary.contents.as_ref().map_or(0, |contents| contents.relations.values().sum());
    let dropped = if job.options.force { dropped } else { 0 };
    let needed = (dropped + relations * LOCKS_EACH).div_ceil(sessions.max(1));
    if needed <= setting {
        return Ok(());
    }
    Err(failure::problem(job.connection, ErrorKind::Unavailable, WHAT)
        .answered(format!(
            "in one transaction this takes {} locks, more than max_locks_per_transaction = {setting} allows",
            dropped + relations * LOCKS_EACH
        ))
        .leaving(UNTOUCHED)
        .next(format!(
            "set max_locks_per_transaction to {needed} and restart PostgreSQL, or give the database's user the right \
             CREATEDB, so that it is restored beside the old one"
        )))
}

/// Gives the database the settings and rights that it had; what the user may not change is a failure by name.
async fn change_attributes(job: &Job<'_>, target: &Target, existing: &Existing, brought: &mut Brought) {
    let Some(recorded) = &job.summary.attributes else { return };
    for statement in attributes::change(&target.name, &existing.attributes, recorded) {
        if let Err(problem) = psql::ask(job.connection, WHAT, statement, &CancellationToken::new()).await {
            let said = problem.answer.unwrap_or_default();
            let object = "attributes of the database".to_owned();
            brought.faults.push(Fault { object, said, of_rows: false });
            brought.number += 1;
        }
    }
}
