//! The agent's gRPC service: takes one job for one storage, does it, tells of it.
//!
//! Does not own: the work (`backup`, `restore`). A job runs as a tracked task, so that it ends in an orderly way
//! whatever becomes of the connection; when the coordinator is gone, the job is cancelled. One job per storage at a
//! time. Everything that arrives is parsed before it is used, and storages are found by name only, so no path from the
//! network reaches the file system.

mod backup;
mod catalogue;
mod claim;
mod describe;
mod job;
mod restore;
mod rights;

use std::{path::PathBuf, sync::Arc};

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{
    DESCRIPTORS, status_of_problem,
    v1::{
        self,
        agent_service_server::{AgentService, AgentServiceServer},
    },
};
use packhorse_service::config::{Config, GitalyManifests, StorageConfig};
use packhorse_vault::{FormatMarker, Vault};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming, service::Routes};

use self::claim::Claims;
pub use self::rights::access;

/// What an agent serves and how it works.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The storages, with their folders.
    pub storages: Vec<StorageConfig>,
    /// Repositories worked on at once in each job.
    pub jobs: usize,
    /// The git executable.
    pub git: PathBuf,
    /// Steps after which a new chain starts.
    pub max_chain: u32,
    /// Write Gitaly's manifest for unchanged repositories too.
    pub manifest_every_run: bool,
}

impl AgentOptions {
    /// The options that a configuration file sets.
    pub fn from_config(config: &Config) -> Self {
        let section = &config.agent_service;
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            storages: config.storage.clone(),
            jobs: if section.jobs == 0 { cpus } else { section.jobs },
            git: section.git.clone(),
            max_chain: section.max_chain.max(1),
            manifest_every_run: section.gitaly_manifests == GitalyManifests::EveryRun,
        }
    }
}

/// The service, before it is put on a listener.
pub struct Agent {
    shared: Arc<Shared>,
}

struct Shared {
    options: AgentOptions,
    vault: Vault,
    claims: Claims,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Agent {
    /// An agent on a vault; its jobs stop when `shutdown` is cancelled and are tracked by `tracker`.
    pub fn new(
        options: AgentOptions,
        vault: Vault,
        shutdown: CancellationToken,
        tracker: TaskTracker,
    ) -> Self {
        let claims = Claims::default();
        Self { shared: Arc::new(Shared { options, vault, claims, tracker, shutdown }) }
    }

    /// The service with health and reflection.
    pub async fn router(self) -> Result<Routes, Problem> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<AgentServiceServer<Service>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Agent, "serve reflection").answered(e))?;
        let service = AgentServiceServer::new(Service { shared: self.shared });
        Ok(Routes::new(service).add_service(health_service).add_service(reflection))
    }
}

struct Service {
    shared: Arc<Shared>,
}

type Events<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl AgentService for Service {
    type BackupStorageStream = Events<v1::BackupStorageEvent>;
    type RestoreStorageStream = Events<v1::RestoreStorageEvent>;

    async fn describe(
        &self,
        _request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        describe::describe(&self.shared).await.map(Response::new).map_err(|e| status_of_problem(&e))
    }

    async fn backup_storage(
        &self,
        request: Request<Streaming<v1::BackupStorageRequest>>,
    ) -> Result<Response<Self::BackupStorageStream>, Status> {
        let started = backup::start(&self.shared, request.into_inner()).await;
        started.map(|events| Response::new(ReceiverStream::new(events))).map_err(|e| status_of_problem(&e))
    }

    async fn restore_storage(
        &self,
        request: Request<Streaming<v1::RestoreStorageRequest>>,
    ) -> Result<Response<Self::RestoreStorageStream>, Status> {
        let started = restore::start(&self.shared, request.into_inner()).await;
        started.map(|events| Response::new(ReceiverStream::new(events))).map_err(|e| status_of_problem(&e))
    }
}

impl Shared {
    fn storage(&self, name: &StorageName) -> Result<&StorageConfig, Problem> {
        self.options.storages.iter().find(|storage| storage.name == *name).ok_or_else(|| {
            Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
                .on(name)
                .answered("this agent does not serve it")
        })
    }

    /// Refuses a job that is meant for another vault than the agent's.
    async fn check_vault(&self, vault_id: &str) -> Result<(), Problem> {
        let marker = FormatMarker::read(&self.vault).await?;
        let own = marker.map(|marker| marker.vault_id).unwrap_or_default();
        if own == vault_id {
            return Ok(());
        }
        Err(Problem::new(ErrorKind::Invalid, Subject::Agent, "open vault")
            .on(self.vault.label())
            .answered("the coordinator uses another vault than this agent")
            .next("give both the same [vault] section"))
    }
}
