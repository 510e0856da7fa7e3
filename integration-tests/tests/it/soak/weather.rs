//! One run, with troubles at random moments, until nothing of it is under way any more.
//!
//! Does not own: judging what came of it (`books`). A moment is a number of further requests to the store, so that a
//! trouble meets a run anywhere between its first request and its last, on fast machines and on slow ones.

use std::{
    fmt,
    time::{Duration, Instant},
};

use packhorse_testkit::{Daemon, wait_until};
use serde_json::Value;

use super::{
    estate::Estate,
    trouble::{self, Season, Trouble},
};
use crate::{histories::random::Random, system::site::json};

/// Time for a run with everything that meets it.
const LIMIT: Duration = Duration::from_secs(240);

/// What came of a run.
#[derive(Debug)]
pub struct Told {
    pub id: String,
    /// The caller's exit code; none when it was killed.
    pub code: Option<i32>,
    pub said: String,
    pub troubles: Vec<Trouble>,
    pub took: Duration,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, code, troubles, took, said } = self;
        write!(f, "run {id}: {code:?} after {:.1} s, {troubles:?}", took.as_secs_f32())?;
        if matches!(code, Some(0) | None) { Ok(()) } else { write!(f, "\n{said}") }
    }
}

/// A run that meets up to three troubles.
pub fn run_in(estate: &mut Estate, random: &mut Random, number: u64, season: Season) -> Told {
    let count = if random.percent(10) { 0 } else { 1 + random.below(3) };
    let plan = (0..count).map(|_| (trouble::draw(random, season), random.below(70) as u64)).collect();
    run(estate, number, plan)
}

/// A run that meets none, on a store that works.
pub fn run_undisturbed(estate: &mut Estate, number: u64) -> Told {
    run(estate, number, Vec::new())
}

fn run(estate: &mut Estate, number: u64, mut plan: Vec<(Trouble, u64)>) -> Told {
    let id = format!("{number:04}");
    let troubles = plan.iter().map(|(trouble, _)| *trouble).collect();
    estate.store.set_faults(trouble::fair(number));
    let begun = Instant::now();
    let mut caller = Some(estate.ctl(["create", "--backup-id", &id]).spawn());
    plan.reverse();
    let mut after = estate.store.requests() + plan.last().map_or(0, |(_, requests)| *requests);
    let (mut code, mut calm) = (None, None);
    let mut ended: Option<Daemon> = None;
    wait_until(&format!("the end of run {id}"), LIMIT, || {
        estate.tend();
        if calm.is_some_and(|calm| calm <= Instant::now()) {
            estate.store.end_outage();
            calm = None;
        }
        if caller.as_ref().is_some_and(Daemon::has_ended) {
            let mut gone = caller.take().expect("it was looked at");
            code = Some(gone.wait(LIMIT));
            ended = Some(gone);
        }
        let due = calm.is_none() && (estate.store.requests() >= after || caller.is_none());
        if due && let Some((trouble, _)) = plan.pop() {
            match (trouble, caller.take()) {
                (Trouble::KillCaller, Some(mut gone)) => gone.kill(),
                (_, kept) => caller = kept,
            }
            let lasts = estate.suffer(trouble, number);
            calm = (!lasts.is_zero()).then(|| Instant::now() + lasts);
            after = estate.store.requests() + plan.last().map_or(0, |(_, requests)| *requests);
        }
        let over = caller.is_none() && plan.is_empty() && calm.is_none();
        if over { Ok(()) } else { Err(format!("caller: {:?}", caller.as_ref().map(Daemon::lines))) }
    });
    estate.recover();
    wait_until_over(estate, &id);
    let said = ended.map(|gone| gone.lines().join("\n")).unwrap_or_default();
    Told { id, code, said, troubles, took: begun.elapsed() }
}

/// Waits until the run is over, which goes on without its caller, and is resumed by a coordinator that starts again.
fn wait_until_over(estate: &Estate, id: &str) {
    wait_until("a coordinator without work", LIMIT, || {
        let output = estate.ctl(["status", "--json"]).run();
        if output.code != 0 {
            return Err(format!("{output:?}"));
        }
        let status = json(&output);
        let running = status["tasks"].as_array().into_iter().flatten().any(|task| task["state"] == "running");
        let open = |run: &Value| run["backup_id"] == id && run["end"].is_null();
        let left = status["unfinished"].as_array().into_iter().flatten().any(open);
        if running || left { Err(format!("{status:#}")) } else { Ok(()) }
    });
}
