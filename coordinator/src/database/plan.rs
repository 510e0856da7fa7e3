//! What a restore would do to a database, and what stands in its way: looked at before anything is written.
//!
//! Does not own: the restore (`restore`), which looks again. Every statement here only reads. A server does not say how
//! much room it has, so that is not looked at.

use packhorse_model::{DatabaseWay, PlannedDatabase, Problem};

use super::{in_place, restore::Job, target::Target, wanted::Wanted};

/// What would become of a database, and what tells its target from every other one.
pub(super) async fn plan(job: &Job<'_>) -> Result<(PlannedDatabase, String), Problem> {
    let force = job.options.force;
    let target = Target::find(job.connection, job.summary, force, job.cancel).await?;
    let way = match target.maintenance.as_deref().filter(|_| target.can_be_replaced()) {
        Some(maintenance) => {
            Wanted::find(job, &target, &job.connection.to(maintenance)).await?;
            DatabaseWay::Beside
        }
        None => {
            in_place::check(job, &target).await?;
            DatabaseWay::InPlace
        }
    };
    let planned = PlannedDatabase {
        name: job.summary.name.clone(),
        target: job.connection.shown(&target.name),
        exists: target.existing.is_some(),
        replaces: target.existing.as_ref().is_some_and(|existing| existing.holds_something),
        way,
        bytes: job.summary.object.size,
        bytes_plain: job.summary.bytes_plain,
    };
    Ok((planned, target.identity()))
}
