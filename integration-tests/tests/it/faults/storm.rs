//! What goes wrong in a run, drawn from a seed.
//!
//! Does not own: doing it. Most storms can be ridden out; some end in a fault that stays, and then a run has to fail.

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

/// Draws the faults of one run.
pub fn draw(random: &mut Random) -> Plan {
    let mut plan = Plan::new(random.next());
    if random.percent(35) {
        let fault = LASTING[random.below(LASTING.len())];
        let from = random.below(45) as u64;
        let rule = Rule::always(fault).after(from);
        // A short one of the kind that passes may end before a client loses its patience.
        let passes = PASSING.contains(&fault) && random.percent(70);
        plan = plan.with(if passes { rule.until(from + 3 + random.below(12) as u64) } else { rule });
    }
    if random.percent(8) {
        let at = random.below(40) as u64;
        plan = plan.with(Rule::always(Fault::Stall).after(at).until(at + 1));
    }
    for fault in PASSING {
        plan = plan.with(Rule::sometimes(fault, random.below(60) as u64));
    }
    plan
}
