//! The decision about one call.
//!
//! Does not own: carrying it out (`gate`). The callers can be replaced while the process runs; the next call of every
//! connection, old ones too, is decided by the new ones.

use std::sync::Arc;

use arc_swap::ArcSwap;
use packhorse_model::{ErrorKind, Problem, Subject};
use tonic::Status;

use super::{Peers, Reason, Refusals, Right, Role, Who};

/// What every method asks for, by the path of its call.
pub type Rights = &'static [(&'static str, Right)];

/// Who may do what in one process; cheap to clone.
#[derive(Clone)]
pub struct Access {
    peers: Arc<ArcSwap<Peers>>,
    rights: Rights,
    refusals: Refusals,
    subject: Subject,
    answer: fn(&Problem) -> Status,
}

/// Methods that every process has.
const COMMON: Rights = &[
    ("/grpc.health.v1.Health/Check", Right::Ask),
    ("/grpc.health.v1.Health/Watch", Right::Ask),
    ("/grpc.health.v1.Health/List", Right::Ask),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Right::Observe),
];

impl Access {
    /// Rules for the methods of `rights`; `subject` says whose they are, `answer` how a problem travels.
    pub fn new(subject: Subject, peers: Peers, rights: Rights, answer: fn(&Problem) -> Status) -> Self {
        let peers = Arc::new(ArcSwap::from_pointee(peers));
        Self { peers, rights, refusals: Refusals::default(), subject, answer }
    }

    /// Replaces the callers.
    pub fn replace(&self, peers: Peers) {
        self.peers.store(Arc::new(peers));
    }

    /// What was refused so far.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Whether the Unix socket has to let users other than our own connect.
    pub(crate) fn has_other_users(&self) -> bool {
        self.peers.load().has_other_users()
    }

    /// Whether any certificate is known.
    pub(crate) fn has_certificates(&self) -> bool {
        self.peers.load().has_certificates()
    }

    /// Whether a caller has any role that may call.
    pub(crate) fn knows(&self, who: &Who) -> bool {
        self.peers.load().roles_of(who).iter().any(|role| *role != Role::Agent)
    }

    /// Decides about a call; a refusal is noted.
    pub fn decide(&self, who: &Who, method: &str) -> Result<(), Problem> {
        let peers = self.peers.load();
        let refuse = |reason, answer: String, next: &str| {
            self.refusals.note(reason, who, method, &answer);
            let problem = Problem::new(ErrorKind::Denied, self.subject, "authorise call").on(method);
            Err(problem.answered(answer).leaving("nothing was done").next(next))
        };
        let roles = peers.roles_of(who);
        if roles.is_empty() {
            let next = match who {
                Who::Local { .. } => {
                    "name this uid or gid in a [[peer]] section of that process, with a role"
                }
                _ => "name the caller in a [[peer]] section of that process, with a role",
            };
            return refuse(Reason::Stranger, format!("{who} has no role here"), next);
        }
        let Some((_, right)) = self.rights.iter().chain(COMMON).find(|(path, _)| *path == method) else {
            let answer = "there is no such method".to_owned();
            return refuse(Reason::Method, answer, "check that both sides have the same version");
        };
        if peers.allow(who, *right) {
            return Ok(());
        }
        let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let answer = format!("{who} is {}; this takes {}", roles.join(" and "), right.needs());
        let next = match who {
            Who::Local { .. } => {
                "run as a user with that role, or give it to this uid or gid in a [[peer]] section of that process"
            }
            _ => "use a certificate with that role, or change the [[peer]] section",
        };
        refuse(Reason::Role, answer, next)
    }

    /// Whether a request of this method may stay open: those that drive an agent go on as long as its job, and the
    /// agent itself bounds the time until they are complete.
    pub(super) fn may_stay_open(&self, method: &str) -> bool {
        self.rights.iter().any(|(path, right)| *path == method && *right == Right::Drive)
    }

    /// A problem as an answer.
    pub(super) fn status(&self, problem: &Problem) -> Status {
        (self.answer)(problem)
    }

    /// The problem of a process that has too much to do.
    pub(super) fn crowded(&self, method: &str) -> Problem {
        Problem::new(ErrorKind::Unavailable, self.subject, "accept call")
            .on(method)
            .answered("too many calls are under way")
            .next("try again later")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerSection;

    const LIST: &str = "/x.Service/List";
    const START: &str = "/x.Service/Start";

    fn access(peers: Peers) -> Access {
        let rights: Rights = &[(LIST, Right::Observe), (START, Right::Operate)];
        Access::new(Subject::Coordinator, peers, rights, |problem| {
            Status::permission_denied(problem.to_string())
        })
    }

    fn peers(role: &str) -> Peers {
        let section: PeerSection = toml::from_str(&format!("san = 'w'\nrole = '{role}'")).expect("valid");
        Peers::from_config(&[section]).expect("known")
    }

    fn caller() -> Who {
        Who::Certificate { names: vec!["w".into()], from: [127, 0, 0, 1].into() }
    }

    #[test]
    fn what_is_not_allowed_by_name_is_refused_and_counted() {
        let access = access(peers("observer"));
        access.decide(&caller(), LIST).expect("an observer may look");
        access.decide(&caller(), "/grpc.health.v1.Health/Check").expect("an observer may ask");
        let problem = access.decide(&caller(), START).expect_err("an observer may not start");
        assert_eq!((problem.kind, problem.subject), (ErrorKind::Denied, Subject::Coordinator));
        access.decide(&caller(), "/x.Service/Unlisted").expect_err("unknown methods are refused");
        access.decide(&Who::Local { uid: 4_000_000, gid: 4_000_000 }, LIST).expect_err("a stranger");
        access.decide(&Who::Loopback, "/x.Service/Unlisted").expect_err("also to ourselves");
        let counts = access.refusals().counts();
        assert_eq!(counts[&Reason::Role], 1);
        assert_eq!(counts[&Reason::Method], 2);
        assert_eq!(counts[&Reason::Stranger], 1);
    }

    #[test]
    fn the_next_step_of_a_local_caller_is_about_its_user_and_not_about_a_certificate() {
        let section = toml::from_str("uid = 4000000\nrole = 'observer'").expect("valid");
        let access = access(Peers::from_config(&[section]).expect("known"));
        for uid in [4_000_000, 4_000_001] {
            let problem = access.decide(&Who::Local { uid, gid: 4_000_000 }, START).expect_err("refused");
            let next = problem.next.unwrap_or_default();
            assert!(
                next.contains("uid or gid") && next.contains("[[peer]]") && !next.contains("certificate"),
                "{next}"
            );
        }
    }

    #[test]
    fn callers_can_be_replaced() {
        let access = access(peers("operator"));
        access.decide(&caller(), START).expect("an operator may start");
        access.replace(peers("agent"));
        assert!(!access.knows(&caller()));
        for method in [START, LIST, "/grpc.health.v1.Health/Check"] {
            access.decide(&caller(), method).expect_err("an agent calls nobody");
        }
        access.replace(Peers::own());
        access.decide(&caller(), LIST).expect_err("its entry is gone");
    }
}
