//! What goes wrong in a run, drawn from a seed.
//!
//! Does not own: doing it. A storm says whether it can be ridden out: then every fault of it ends long before a patient
//! client gives up, so the run has to be complete. The others end in a fault that stays, and there a run may fail.

use packhorse_testkit::{Fault, Plan, Rule};

use crate::histories::random::Random;

/// Faults that a client can ride out.
const PASSING: [Fault; 9] = [
    Fault::Latency,
    Fault::InternalError,
    Fault::SlowDown,
    Fault::TooManyRequests,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::Truncated,
    Fault::ErrorIn200,
    Fault::Conflict,
];
/// Faults that stay when they come.
const LASTING: [Fault; 7] = [
    Fault::ExpiredToken,
    Fault::ClockSkew,
    Fault::AccessDenied,
    Fault::NoSuchBucket,
    Fault::InternalError,
    Fault::ResetBefore,
    Fault::ResetAfter,
];
/// Most requests in a row that are hit for sure: with pauses that double from 100 ms and are never longer than 15 s, a
/// single request outlasts them all in [`PATIENT`].
const IN_A_ROW: usize = 9;
/// The retry budget that rides out what can be ridden out, however busy the machine is.
const PATIENT: &str = "90s";
/// The retry budget where waiting longer is of no use.
const HASTY: &str = "5s";

/// The weather of one run.
pub struct Storm {
    pub plan: Plan,
    /// Whether all of it ends within the budget.
    pub survivable: bool,
}

impl Storm {
    /// The retry budget of a run in it.
    pub fn budget(&self) -> &'static str {
        if self.survivable { PATIENT } else { HASTY }
    }
}

/// Draws the storms of a seed: of two runs, and of a restore.
pub fn of_seed(random: &mut Random) -> [Storm; 3] {
    [(); 3].map(|()| draw(random))
}

fn draw(random: &mut Random) -> Storm {
    let (mut plan, mut survivable) = (Plan::new(random.next()), true);
    if random.percent(35) {
        let fault = LASTING[random.below(LASTING.len())];
        let from = random.below(45) as u64;
        let rule = Rule::always(fault).after(from);
        // Of the kind that passes, most do.
        let passes = PASSING.contains(&fault) && random.percent(70);
        let until = from + 3 + random.below(IN_A_ROW - 2) as u64;
        plan = plan.with(if passes { rule.until(until) } else { rule });
        survivable = passes;
    }
    if random.percent(8) {
        let at = random.below(40) as u64;
        plan = plan.with(Rule::always(Fault::Stall).after(at).until(at + 1));
    }
    for fault in PASSING {
        plan = plan.with(Rule::sometimes(fault, random.below(60) as u64));
    }
    Storm { plan, survivable }
}

#[test]
fn a_fair_share_of_the_storms_has_to_be_ridden_out() {
    let all = |seed: u64| of_seed(&mut Random::new(seed)).iter().all(|storm| storm.survivable);
    for count in [50, 1_000] {
        let survivable = (0..count).filter(|seed| all(*seed)).count();
        assert!(survivable * 10 >= 3 * count as usize, "only {survivable} of {count} seeds");
        // The others are wanted, too.
        assert!(survivable * 10 <= 7 * count as usize, "{survivable} of {count} seeds");
    }
}
