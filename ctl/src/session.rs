//! A connection to the coordinator, for as long as one command needs it.
//!
//! Does not own: what is asked. The first signal cancels what this command started and waits for it to end; a second
//! one ends the process (`service::process`).

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
    embedded::Embedded,
};

/// Largest answer accepted: a list of many thousands of backups.
const MAX_ANSWER: usize = 64 << 20;

/// A connected coordinator.
pub struct Session {
    client: CoordinatorServiceClient<Channel>,
    address: Address,
    embedded: Option<Embedded>,
    stop: CancellationToken,
    signal: watch::Receiver<Option<Exit>>,
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
    let config = common.config.as_ref().map(|file| Config::load(file)).transpose()?;
    Tls::from_config(config.and_then(|config| config.tls).as_ref())
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
        let signal = process::cancel_on_signal(stop.clone());
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
        Ok(Self { client, address, embedded, stop, signal, json: common.json })
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
        tokio::select! {
            answer = call => answer.map_err(|status| self.problem(&status)),
            () = self.stop.cancelled() => Err(Problem::cancelled("wait for the coordinator")),
        }
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
            tracing::warn!(problem = %self.problem(&status), "cancel run");
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
