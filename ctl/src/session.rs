//! A connection to the coordinator, for as long as one command needs it.
//!
//! Does not own: what is asked. The first signal cancels what this command started and waits for it to end, or ends the
//! watching of what it did not start; a second one ends the process at once (`service::process`), and says what is left.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use packhorse_model::{ErrorKind, Exit, Problem, Subject};
use packhorse_proto::{
    problem_of_status,
    v1::{CancelRequest, coordinator_service_client::CoordinatorServiceClient},
};
use packhorse_service::{
    Address, Tls, call_again,
    config::{Config, TlsSection},
    connect, process,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, transport::Channel};

use crate::{
    args::{Common, StorageArg},
    config_file,
    embedded::Embedded,
};

/// How long an answer is waited for before that is said.
const SILENT: Duration = Duration::from_secs(5);
/// Largest answer accepted: a list of many thousands of backups.
const MAX_ANSWER: usize = 64 << 20;

/// How long after a signal the answer to a request that starts something is waited for: only it has the name by which
/// that can be cancelled.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// What this process is at, for those who end it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nothing that goes on without us.
    #[default]
    Asking,
    /// It asked for something, and has no answer yet.
    Starting,
    /// It follows what it started.
    Owning(String),
    /// It watches what somebody else started.
    Watching(String),
    /// What it followed has ended.
    Done,
}

impl Place {
    /// What is left behind by a process that is ended here, after a first signal.
    fn last_words(&self, is_embedded: bool) -> Option<String> {
        match self {
            Self::Asking | Self::Done => None,
            Self::Starting | Self::Owning(_) if is_embedded => Some(
                "left at once: it was being cancelled, and ends with this process; what was committed is in `backupctl list`".into(),
            ),
            Self::Starting => {
                Some("left at once: the coordinator may have started it; see `backupctl status`".into())
            }
            Self::Owning(run) => Some(format!(
                "left at once: {run} was being cancelled; see `backupctl status {run}`, and `backupctl cancel {run}` if it goes on"
            )),
            Self::Watching(run) => Some(format!("left at once: {run} goes on")),
        }
    }
}

/// A connected coordinator.
pub struct Session {
    client: CoordinatorServiceClient<Channel>,
    address: Address,
    embedded: Option<Embedded>,
    stop: CancellationToken,
    signal: watch::Receiver<Option<Exit>>,
    place: Arc<Mutex<Place>>,
    json: bool,
}

/// What a session in embedded mode starts with.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// A vault that exists.
    Vault,
    /// A place that is to become one, for this group.
    NewVault {
        /// Whose members share it.
        group: Option<&'a str>,
    },
}

/// Flags that say how our own coordinator and agent work mean nothing to another one.
fn refuse_embedded_flags(common: &Common, address: &Address, storages: &[StorageArg]) -> Result<(), Problem> {
    let certificate_of_file = matches!(address, Address::Tls { .. }) && common.tls_cert.is_none();
    // Of two that are both from the environment, neither beats the other. Which vault is meant must be plain.
    let unclear = common.vault.is_some() && !common.is_typed("coordinator");
    let flags = [
        ("--storage NAME=PATH", storages.iter().any(|storage| storage.path.is_some())),
        ("--jobs", common.jobs.is_some()),
        ("--vault", common.is_typed("vault")),
        ("PACKHORSE_VAULT", unclear),
        ("--config", common.is_typed("config") && !certificate_of_file),
        ("--git", common.is_typed("git")),
    ];
    flags.iter().find(|(_, given)| *given).map_or(Ok(()), |(flag, _)| Err(only_embedded(flag)))
}

/// The error of a flag that would be without effect.
pub fn only_embedded(flag: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "read flags")
        .on(flag)
        .answered("only has a meaning in embedded mode, and a coordinator is given")
        .next("leave it out, or add --embedded")
}

/// The certificate to show at an `https://` address: of the flags, or else of the file.
fn tls_for(address: &Address, common: &Common) -> Result<Option<Tls>, Problem> {
    if !matches!(address, Address::Tls { .. }) {
        return Ok(None);
    }
    if let (Some(certificate), Some(key), Some(ca)) = (&common.tls_cert, &common.tls_key, &common.tls_ca) {
        let (certificate, key, ca) = (certificate.clone(), key.clone(), ca.clone());
        return Tls::open(&TlsSection { certificate, key, ca }).map(Some);
    }
    let config = config_file::of(common)?.map(|file| Config::load(&file)).transpose()?;
    match config.and_then(|config| config.tls) {
        Some(section) => Tls::open(&section).map(Some),
        None => Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "set up TLS")
            .on(address)
            .answered("no certificate is given, and a coordinator at https:// wants one")
            .next(
                "give --tls-cert, --tls-key and --tls-ca (PACKHORSE_TLS_CERT, PACKHORSE_TLS_KEY, PACKHORSE_TLS_CA), or with \
                 --config a file with a [tls] section; `backupctl certs` makes certificates",
            )),
    }
}

impl Session {
    /// Connects to the coordinator that the flags name, or starts our own.
    pub async fn open(common: &Common, storages: &[StorageArg]) -> Result<Self, Problem> {
        Self::start(common, storages, Wanted::Vault).await
    }

    /// The same, for a vault that may have to be made.
    pub async fn start(
        common: &Common,
        storages: &[StorageArg],
        wanted: Wanted<'_>,
    ) -> Result<Self, Problem> {
        let stop = CancellationToken::new();
        let place = Arc::new(Mutex::new(Place::default()));
        let (at, is_embedded) = (Arc::clone(&place), common.coordinator_in_force().is_none());
        let signal = process::cancel_on_signal_and(stop.clone(), move || {
            let at = at.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(words) = at.last_words(is_embedded) {
                crate::render::note(&words);
            }
        });
        let (address, embedded, tls) = match common.coordinator_in_force() {
            Some(address) => {
                let address: Address = address.parse()?;
                refuse_embedded_flags(common, &address, storages)?;
                let tls = tls_for(&address, common)?;
                (address, None, tls)
            }
            None => {
                let embedded = Embedded::start(common, storages, wanted).await?;
                (embedded.address.clone(), Some(embedded), None)
            }
        };
        let channel = connect(&address, Subject::Coordinator, tls.as_ref()).await?;
        let client = CoordinatorServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        Ok(Self { client, address, embedded, stop, signal, place, json: common.json })
    }

    /// Notes what this process is at.
    pub fn is_at(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// Where the coordinator is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the coordinator is our own, and ends with us.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Waits for the first signal.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// A client for one call.
    pub fn client(&self) -> CoordinatorServiceClient<Channel> {
        self.client.clone()
    }

    /// The answer to a call; a signal ends the waiting.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Response<T>, Problem> {
        let told = self.tell_silence();
        tokio::select! {
            answer = call => answer.map_err(|status| self.problem(&status)),
            never = told => match never {},
            () = self.stop.cancelled() => Err(Problem::cancelled("wait for the coordinator")),
        }
    }

    /// The answer to a call that starts something. A signal does not end the waiting at once: what was started goes on
    /// without us, and the answer tells how to cancel it.
    pub async fn started<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Response<T>, Problem> {
        self.is_at(Place::Starting);
        let given_up = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_ANSWER).await;
        };
        let answer = tokio::select! {
            answer = call => answer.map_err(|status| self.problem(&status)),
            () = given_up => Err(Problem::cancelled("wait for the coordinator")
                .leaving("the coordinator did not answer: it may have started it, and then it goes on")
                .next("run `backupctl status`")),
        };
        if answer.is_err() {
            self.is_at(Place::Asking);
        }
        answer
    }

    /// Says after some seconds that there is no answer, and goes on waiting.
    pub async fn tell_silence(&self) -> Infallible {
        tokio::time::sleep(SILENT).await;
        // In embedded mode the vault itself says what it waits for.
        if !self.is_embedded() {
            crate::render::note(&format!(
                "no answer from {} for {} seconds; it may wait for its vault, which it tries for a minute",
                self.address,
                SILENT.as_secs()
            ));
        }
        std::future::pending().await
    }

    /// The problem of a call that failed.
    pub fn problem(&self, status: &Status) -> Problem {
        problem_of_status(status, Subject::Coordinator, &self.address.to_string())
    }

    /// Waits for the first signal, then cancels the run.
    pub async fn cancel_on_signal(&self, run: &str) {
        self.stop.cancelled().await;
        let cancel = || async { self.client().cancel(CancelRequest { run: run.to_owned() }).await };
        if let Err(status) = call_again(cancel).await {
            tracing::warn!(problem = %self.problem(&status), "the run could not be cancelled");
        }
        std::future::pending::<()>().await;
    }

    /// Ends the session; the exit code that a signal stands for beats `exit`.
    pub async fn close(self, exit: Result<Exit, Problem>) -> Result<Exit, Problem> {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
        match (&exit, *self.signal.borrow()) {
            (Err(problem), Some(signal)) => {
                crate::render::failure(problem, signal, self.json);
                Ok(signal)
            }
            _ => exit,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn a_coordinator_with_tls_needs_a_certificate_and_the_flags_for_it_are_named() {
        let line = ["backupctl", "list", "--system-config=", "--coordinator=https://a.internal:7443"];
        let args = Args::try_parse_from(line).expect("valid flags");
        let address: Address = "https://a.internal:7443".parse().expect("valid address");
        let problem = tls_for(&address, &args.common).expect_err("no certificate");
        let next = problem.next.unwrap_or_default();
        for named in ["--tls-cert", "--tls-key", "--tls-ca", "PACKHORSE_TLS_CERT", "[tls]"] {
            assert!(next.contains(named), "{named}: {next}");
        }
    }

    #[test]
    fn who_ends_the_process_at_once_is_told_what_goes_on() {
        let run = || "1795177711_2026_11_20_0.0.0".to_owned();
        let words = |place: Place, embedded| place.last_words(embedded).unwrap_or_default();
        assert_eq!(words(Place::Asking, false), "");
        assert_eq!(words(Place::Done, true), "");
        assert!(words(Place::Owning(run()), false).contains("was being cancelled"));
        assert!(words(Place::Owning(run()), false).contains(&format!("backupctl cancel {}", run())));
        assert!(words(Place::Owning(run()), true).contains("ends with this process"));
        assert!(words(Place::Starting, false).contains("may have started"));
        assert!(words(Place::Watching(run()), false).ends_with("goes on"));
    }
}
