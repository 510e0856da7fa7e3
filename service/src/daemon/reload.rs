//! Reading the configuration again while the daemon runs.
//!
//! Does not own: noticing that it is time (`watch`), or what a service does with a new configuration. One that cannot be
//! read or used changes nothing. What was applied, and what waits for a restart, is said by key, never by value.

use std::path::PathBuf;

use packhorse_model::Problem;

use super::{Apply, Role, systemd::Systemd, watch::Watch};
use crate::{
    Live, Tls,
    access::{Access, Peers},
    config::{Config, Written},
};

/// The configuration in force and how the next one is put in its place.
pub struct Reload {
    /// The daemon.
    pub role: &'static Role,
    /// The file.
    pub path: PathBuf,
    /// What is in force.
    pub current: Live<Config>,
    /// The file as it was read last.
    pub written: Written,
    /// Gives a new configuration to the service.
    pub apply: Apply,
    /// Our certificate, where there is one.
    pub tls: Option<Tls>,
    /// Who may call.
    pub access: Access,
    /// Whether the socket keeps other users out, whatever role they get: its mode is that of the start.
    pub shuts_out_others: bool,
}

impl Reload {
    /// Reloads whenever there is a reason to.
    pub async fn run(mut self, mut watch: Watch, systemd: &Systemd) {
        loop {
            let cause = watch.changed().await;
            systemd.reloading();
            let status = match self.reload(cause) {
                Ok(status) => status,
                Err(problem) => {
                    tracing::error!(
                        cause,
                        next = "correct the file; it is read again when it changes",
                        "{problem}: the earlier configuration stays in force"
                    );
                    format!("the earlier configuration is in force: {problem}")
                }
            };
            systemd.ready(&status);
        }
    }

    fn reload(&mut self, cause: &str) -> Result<String, Problem> {
        let (config, written) = Config::load_written(&self.path)?;
        config.check_places()?;
        // What can fail comes first, so that one thing that cannot be used keeps all of the earlier configuration.
        // Certificates are files of their own, which count as soon as they are good, whatever becomes of the rest.
        let peers = Peers::from_config(&config.peer)?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        let status = (self.apply)(&config)?;
        let shut_out = self.shuts_out_others && peers.has_other_users();
        self.access.replace(peers);
        let changed = self.written.changed(&written);
        let (mut applied, mut restart) = self.role.sort(changed);
        if shut_out {
            restart.extend(applied.extract_if(.., |key| key == PEER));
        }
        let (applied, restart) = (list(&applied), list(&restart));
        if restart == NOTHING {
            tracing::info!(cause, applied, "configuration reloaded");
        } else {
            tracing::warn!(cause, applied, needs_restart = restart, "configuration reloaded in part");
        }
        self.current.replace(config);
        self.written = written;
        Ok(status)
    }
}

const NOTHING: &str = "nothing";
const PEER: &str = "peer";

fn list(keys: &[String]) -> String {
    if keys.is_empty() { NOTHING.to_owned() } else { keys.join(", ") }
}
