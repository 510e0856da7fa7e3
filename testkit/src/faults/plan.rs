//! What goes wrong: rules of faults, and which of them meets a request.
//!
//! Does not own: doing it (`server`). A choice follows from the seed, the operation, its target and how often that came
//! before, never from the order in which requests arrive: so the same seed hurts the same requests again.

use std::{collections::HashMap, time::Duration};

use super::request::{Incoming, Operation};

/// One thing that goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered late, by up to 50 milliseconds.
    Latency,
    /// 500 InternalError.
    InternalError,
    /// 503 SlowDown.
    SlowDown,
    /// 429 TooManyRequests.
    TooManyRequests,
    /// The connection is reset before anything is done.
    ResetBefore,
    /// It is done, and the connection is reset instead of an answer.
    ResetAfter,
    /// Half of an object, a listing or another answer with a body is sent, then the connection ends.
    Truncated,
    /// The completion of an upload is answered with 200 and an error, and nothing was done.
    ErrorIn200,
    /// 400 ExpiredToken.
    ExpiredToken,
    /// 403 RequestTimeTooSkewed.
    ClockSkew,
    /// 403 AccessDenied.
    AccessDenied,
    /// 404 NoSuchBucket.
    NoSuchBucket,
    /// 501 NotImplemented.
    NotImplemented,
    /// 409 ConditionalRequestConflict, and nothing was stored.
    Conflict,
    /// It is never answered.
    Stall,
}

impl Fault {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::InternalError => "500",
            Self::SlowDown => "503",
            Self::TooManyRequests => "429",
            Self::ResetBefore => "reset before",
            Self::ResetAfter => "reset after",
            Self::Truncated => "truncated",
            Self::ErrorIn200 => "error in 200",
            Self::ExpiredToken => "expired token",
            Self::ClockSkew => "clock skew",
            Self::AccessDenied => "access denied",
            Self::NoSuchBucket => "no such bucket",
            Self::NotImplemented => "501",
            Self::Conflict => "conflict",
            Self::Stall => "stall",
        }
    }

    fn can_meet(self, operation: Operation) -> bool {
        match self {
            Self::Truncated => matches!(
                operation,
                Operation::Get | Operation::List | Operation::BeginUpload | Operation::CompleteUpload
            ),
            Self::ErrorIn200 => operation == Operation::CompleteUpload,
            Self::Conflict => operation == Operation::Create,
            _ => true,
        }
    }
}

/// A fault and the requests that it meets.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    permille: u64,
    attempts: u64,
    requests: std::ops::Range<u64>,
    operations: Vec<Operation>,
    about: String,
    who: Option<String>,
}

impl Rule {
    /// Meets every request.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            permille: 1000,
            attempts: u64::MAX,
            requests: 0..u64::MAX,
            operations: Vec::new(),
            about: String::new(),
            who: None,
        }
    }

    /// Meets so many of a thousand requests.
    pub fn sometimes(fault: Fault, permille: u64) -> Self {
        Self { permille, ..Self::always(fault) }
    }

    /// Meets the first attempts of each operation on each target, and lets later ones pass.
    pub fn first(fault: Fault, attempts: u64) -> Self {
        Self { attempts, ..Self::always(fault) }
    }

    /// Only these operations.
    #[must_use]
    pub fn on(mut self, operations: &[Operation]) -> Self {
        self.operations = operations.to_vec();
        self
    }

    /// Only keys and prefixes that contain this.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        text.clone_into(&mut self.about);
        self
    }

    /// Only requests of the process that is called so.
    #[must_use]
    pub fn of(mut self, who: &str) -> Self {
        self.who = Some(who.to_owned());
        self
    }

    /// Only after so many requests since the plan was set.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.requests.start = requests;
        self
    }

    /// Only before so many requests since the plan was set.
    #[must_use]
    pub fn until(mut self, requests: u64) -> Self {
        self.requests.end = requests;
        self
    }

    fn meets(&self, request: &Incoming, attempt: u64, number: u64, choice: u64) -> bool {
        let operation = request.operation;
        self.fault.can_meet(operation)
            && request.target().contains(&self.about)
            && self.who.as_ref().is_none_or(|who| *who == request.who)
            && attempt < self.attempts
            && self.requests.contains(&number)
            && (self.operations.is_empty() || self.operations.contains(&operation))
            && choice % 1000 < self.permille
    }
}

/// Everything that goes wrong; the first rule that meets a request counts.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    seed: u64,
    rules: Vec<Rule>,
    careless: bool,
}

impl Plan {
    /// A plan without faults, whose choices follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A plan of one rule.
    pub fn of(rule: Rule) -> Self {
        Self::new(0).with(rule)
    }

    /// Adds a rule.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The store ignores `If-None-Match` and overwrites.
    #[must_use]
    pub fn ignoring_if_none_match(mut self) -> Self {
        self.careless = true;
        self
    }
}

/// The plan in force, with what it has met.
#[derive(Default)]
pub(super) struct Active {
    plan: Plan,
    requests: u64,
    attempts: HashMap<(Operation, String), u64>,
}

impl Active {
    pub fn new(plan: Plan) -> Self {
        Self { plan, ..Self::default() }
    }

    pub fn careless(&self) -> bool {
        self.plan.careless
    }

    /// The fault of the next request, and how long it takes.
    pub fn decide(&mut self, request: &Incoming) -> Option<(Fault, Duration)> {
        let target = request.target();
        let attempts = self.attempts.entry((request.operation, target.clone())).or_default();
        let (attempt, number) = (*attempts, self.requests);
        *attempts += 1;
        self.requests += 1;
        let mut rules = self.plan.rules.iter().zip(0_u64..);
        let choice = |rule: u64| mix(self.plan.seed, request.operation, &target, attempt, rule);
        let (rule, at) = rules.find(|(rule, at)| rule.meets(request, attempt, number, choice(*at)))?;
        Some((rule.fault, Duration::from_millis(choice(at + 1_000) % 50)))
    }
}

/// A number that follows from all of these and from nothing else, on every machine.
fn mix(seed: u64, operation: Operation, target: &str, attempt: u64, rule: u64) -> u64 {
    let words = [seed, operation as u64, attempt, rule].map(u64::to_le_bytes);
    let bytes = words.as_flattened().iter().chain(target.as_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
