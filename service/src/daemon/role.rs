//! What tells one daemon from the other, and what its service is built on.
//!
//! Does not own: the service. A key of the configuration that a role does not know of needs a restart, so a new key is
//! never passed over in silence.

use std::{pin::Pin, time::Duration};

use packhorse_model::Problem;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use crate::{Tls, access::Access, config::Config};

/// A daemon.
pub struct Role {
    /// `agent` or `coordinator`.
    pub name: &'static str,
    /// Its address in the configuration.
    pub listen: fn(&Config) -> &str,
    /// The time that its work has to end in the configuration.
    pub grace: fn(&Config) -> Duration,
    /// Sections and keys (`section.key`) that a reload applies.
    pub reloads: &'static [&'static str],
    /// Sections that mean nothing to this daemon.
    pub ignores: &'static [&'static str],
}

impl Role {
    /// Sorts changed keys into those that were applied and those that wait for a restart.
    pub(super) fn sort(&self, changed: Vec<String>) -> (Vec<String>, Vec<String>) {
        let within = |keys: &[&str], changed: &str| {
            let section = changed.split('.').next().unwrap_or(changed);
            keys.iter().any(|key| *key == changed || *key == section)
        };
        let ours = changed.into_iter().filter(|key| !within(self.ignores, key));
        ours.partition(|key| within(self.reloads, key))
    }
}

/// The stages in which a daemon ends, and what tracks its work.
#[derive(Clone, Default)]
pub struct Stages {
    /// Cancelled at the first signal: take no new work, finish what is at hand.
    pub stopping: CancellationToken,
    /// Cancelled when the work is done or its time is over: cancel what is left.
    pub shutdown: CancellationToken,
    /// Tracks the work that is waited for.
    pub tracker: TaskTracker,
}

/// Gives a new configuration to a running service and says what it does now; what it refuses changes nothing.
pub type Apply = Box<dyn Fn(&Config) -> Result<String, Problem> + Send + Sync>;

/// A service that is ready to be served.
pub struct Service {
    /// The calls that it answers.
    pub routes: Routes,
    /// Our certificate, where there is one.
    pub tls: Option<Tls>,
    /// Who may call.
    pub access: Access,
    /// The vault's uploads, which end last.
    pub uploads: TaskTracker,
    /// What it does, in a few words, for the service manager.
    pub status: String,
    /// Takes a new configuration.
    pub apply: Apply,
    /// What it does beside answering calls, begun when it listens: so one that may not listen does nothing.
    pub beside: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_known_needs_a_restart() {
        let role = Role {
            name: "test",
            listen: |_| "",
            grace: |_| Duration::ZERO,
            reloads: &["storage", "limits.jobs"],
            ignores: &["database"],
        };
        let changed = ["storage", "limits.jobs", "limits.listen", "database", "vault.url", "news"];
        let (applied, restart) = role.sort(changed.map(String::from).to_vec());
        assert_eq!(applied, ["storage", "limits.jobs"]);
        assert_eq!(restart, ["limits.listen", "vault.url", "news"]);
    }
}
