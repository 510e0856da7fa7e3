//! The results for programs: every run of every side, and every goal with what was reached.

use serde_json::{Value, json};

use crate::{
    bench::Bench,
    measure::{Done, Kind},
};

/// All work, and what was measured.
pub fn render(all: &[Done], bench: &Bench) -> Value {
    json!({
        "cpus": bench.cpus,
        "programs": bench.programs.versions(),
        "work": all.iter().map(work).collect::<Vec<_>>(),
    })
}

fn work(done: &Done) -> Value {
    let sides = done.sides.iter().map(|side| {
        json!({
            "name": side.name,
            "ours": side.kind == Kind::Ours,
            "missing": side.missing,
            "median": side.samples.wall(),
            "runs": side.samples,
        })
    });
    let goals = done.goals.iter().map(|goal| json!({ "goal": goal, "verdict": goal.judge(done) }));
    json!({
        "title": done.title,
        "items": done.items,
        "stands_in": done.stands_in,
        "sides": sides.collect::<Vec<_>>(),
        "goals": goals.collect::<Vec<_>>(),
    })
}
