//! The certificates in use, and their renewal while the process runs.
//!
//! Does not own: connections that exist; they keep what they were made with. Before a new one is made, at most once a
//! second, the files are looked at, and read again when they changed. Files that are not good, because one was written
//! and the other is still to come, change nothing: the old ones stay in use until all are.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use packhorse_model::{ErrorKind, Problem, Subject};
use rustls::{ClientConfig, ServerConfig};

use super::files::{self, Configs, Stamps};
use crate::config::TlsSection;

/// How long before its end a certificate is said to need renewal.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Our certificate and the authorities that we trust; cheap to clone.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    section: TlsSection,
    configs: ArcSwap<Configs>,
    looked: Mutex<(Instant, Stamps)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("section", &self.shared.section).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files that a section names.
    pub fn open(section: &TlsSection) -> Result<Self, Problem> {
        let looked = Mutex::new((Instant::now(), files::stamps(section)));
        let configs = ArcSwap::from_pointee(files::load(section)?);
        Ok(Self { shared: Arc::new(Shared { section: section.clone(), configs, looked }) })
    }

    /// The same for a section that may be missing.
    pub fn from_config(section: Option<&TlsSection>) -> Result<Option<Self>, Problem> {
        section.map(Self::open).transpose()
    }

    /// Reads the files again now; when they are not good, the old ones stay in use.
    pub fn reload(&self) -> Result<(), Problem> {
        let now = (Instant::now(), files::stamps(&self.shared.section));
        *self.shared.looked.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.read()
    }

    /// What is to be said of our certificate: that it expires within thirty days, or has.
    pub fn remark(&self) -> Option<String> {
        let expires = self.shared.configs.load().expires?;
        let left = expires.duration_since(Timestamp::now());
        if left > SOON {
            return None;
        }
        let file = self.shared.section.certificate.display();
        let day = expires.strftime("%Y-%m-%d");
        Some(match left.is_negative() {
            true => format!("its certificate {file} expired on {day}: renew it"),
            false => {
                format!("its certificate {file} expires on {day}, in {} days: renew it", left.as_hours() / 24)
            }
        })
    }

    /// For a connection that comes in.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.look();
        Arc::clone(&self.shared.configs.load().server)
    }

    /// For a connection that goes out.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.look();
        Arc::clone(&self.shared.configs.load().client)
    }

    fn read(&self) -> Result<(), Problem> {
        let configs = files::load(&self.shared.section)?;
        self.shared.configs.store(Arc::new(configs));
        tracing::info!(certificate = %self.shared.section.certificate.display(), "certificates read again");
        Ok(())
    }

    fn look(&self) {
        {
            let mut looked = self.shared.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.0.elapsed() < LOOK {
                return;
            }
            looked.0 = Instant::now();
            let stamps = files::stamps(&self.shared.section);
            if looked.1 == stamps {
                return;
            }
            looked.1 = stamps;
        }
        if let Err(problem) = self.read() {
            tracing::error!(next = problem.next, "{problem}; the earlier certificates stay in use");
        }
    }
}

/// The error of an address that needs TLS where none is configured.
pub(crate) fn missing(address: &crate::Address) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "set up TLS")
        .on(address)
        .answered("no certificate is configured")
        .next("add a [tls] section with certificate, key and ca; `backupctl certs` makes them")
}

#[cfg(test)]
mod tests;
