//! The agent's gRPC service: takes one job for one storage, does it, tells of it.
//!
//! Does not own: the work (`backup`, `restore`). A job runs as a tracked task, whatever becomes of the connection, and its
//! coordinator may come back to it (`jobs`). One job per storage at a time. Everything that arrives is parsed before it is
//! used, and storages are found by name only, so no path from the network reaches the file system.

mod backup;
mod catalogue;
mod describe;
mod job;
mod jobs;
mod limits;
mod restore;
mod rights;

use std::{path::PathBuf, sync::Arc, time::Duration};

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{
    DESCRIPTORS, status_of_problem,
    v1::{
        self,
        agent_service_server::{AgentService, AgentServiceServer},
    },
};
use packhorse_service::{
    Live, Tls,
    config::{Config, GitalyManifests, StorageConfig},
    daemon::Stages,
    health,
    places::{self, Place},
    reflection,
};
use packhorse_vault::{FormatMarker, Vault};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming, service::Routes};

pub use self::rights::access;
use self::{jobs::Jobs, limits::Limits};
use crate::backup::Patience;

/// What an agent serves and how it works.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The storages, with their folders.
    pub storages: Vec<StorageConfig>,
    /// Repositories worked on at once, in all jobs together.
    pub jobs: usize,
    /// Uploads at once, likewise; 0 for no limit.
    pub uploads: usize,
    /// Bytes a second sent to the vault, likewise.
    pub bytes_per_second: u64,
    /// How long a job whose coordinator went away is kept for it before another run may have the storage.
    pub rejoin_within: Duration,
    /// How long a repository that hangs is waited for.
    pub patience: Patience,
    /// The git executable.
    pub git: PathBuf,
    /// Steps after which a new chain starts.
    pub max_chain: u32,
    /// Share of a repository's objects that a full step may hold although no ref reaches them, 0 to 1.
    pub max_garbage: f64,
    /// Bytes of a full step's pack from which on its index is stored.
    pub index_from: u64,
    /// Which manifests are written for Gitaly.
    pub manifests: GitalyManifests,
}

impl AgentOptions {
    /// The options that a configuration file sets.
    pub fn from_config(config: &Config) -> Self {
        let section = &config.agent_service;
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            storages: config.storage.clone(),
            jobs: if section.jobs == 0 { cpus } else { section.jobs },
            uploads: section.uploads,
            bytes_per_second: section.bandwidth.as_u64(),
            rejoin_within: section.rejoin_within.duration(),
            patience: Patience {
                stall: section.stall_timeout.duration(),
                whole: section.repository_timeout.duration(),
            },
            git: section.git.clone(),
            max_chain: section.max_chain.max(1),
            max_garbage: section.max_garbage,
            index_from: section.index_from.as_u64(),
            manifests: section.gitaly_manifests,
        }
    }

    /// The options of a process that is nothing but an agent; refused when there is no storage to serve.
    pub fn for_daemon(config: &Config) -> Result<Self, Problem> {
        let options = Self::from_config(config);
        if options.storages.is_empty() {
            return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "start agent")
                .on("[[storage]]")
                .answered("the configuration names none"));
        }
        Ok(options)
    }

    /// What an agent with these options does, in a few words.
    pub fn status(&self) -> String {
        let names: Vec<&str> = self.storages.iter().map(|storage| storage.name.as_str()).collect();
        format!("serving {} storages: {}", names.len(), names.join(", "))
    }

    /// Where its storages lie.
    fn places(&self) -> impl Iterator<Item = Place> {
        self.storages.iter().map(|storage| Place::storage(&storage.name, &storage.path))
    }

    fn storage(&self, name: &StorageName) -> Result<&StorageConfig, Problem> {
        self.storages.iter().find(|storage| storage.name == *name).ok_or_else(|| {
            Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
                .on(name)
                .answered("this agent does not serve it")
        })
    }
}

/// The service, before it is put on a listener.
pub struct Agent {
    shared: Arc<Shared>,
}

struct Shared {
    options: Live<AgentOptions>,
    vault: Vault,
    tls: Option<Tls>,
    jobs: Jobs,
    limits: Limits,
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Agent {
    /// An agent on a vault. When it is stopping its jobs finish what is at hand and take up nothing new; at shutdown they
    /// are cancelled.
    pub fn new(options: impl Into<Live<AgentOptions>>, vault: Vault, stages: Stages) -> Self {
        let Stages { stopping, tracker, .. } = stages.clone();
        let options = options.into();
        let (jobs, limits) = (Jobs::new(stages), Limits::new(&options.now()));
        let tls = None;
        Self { shared: Arc::new(Shared { options, vault, tls, jobs, limits, tracker, stopping }) }
    }

    /// The agent with the certificate that it shows, whose end it tells.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.tls = tls;
        }
        self
    }

    /// Looks once at everything that jobs will need, and logs what is missing; does nothing before it is polled.
    pub fn look(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            for (_, remark) in describe::missing(&shared.options.now()) {
                tracing::warn!("{remark}");
            }
            if let Err(error) = FormatMarker::of(&shared.vault.briefly()).await {
                let problem = Problem::from(error);
                tracing::warn!(next = problem.next, "{problem}");
            }
        }
    }

    /// The service with health and reflection.
    pub async fn router(self) -> Result<Routes, Problem> {
        let Shared { stopping, tracker, .. } = &*self.shared;
        let health = health::<AgentServiceServer<Service>>(stopping.clone(), tracker).await;
        let reflection = reflection::<AgentServiceServer<Service>>(DESCRIPTORS, Subject::Agent)?;
        let service = AgentServiceServer::new(Service { shared: self.shared });
        Ok(Routes::new(service).add_service(health).add_service(reflection))
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

    async fn plan_restore(
        &self,
        request: Request<Streaming<v1::RestoreStorageRequest>>,
    ) -> Result<Response<v1::PlanRestoreResponse>, Status> {
        let planned = restore::plan(&self.shared, request.into_inner()).await;
        planned.map(Response::new).map_err(|e| status_of_problem(&e))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let v1::CancelJobRequest { run, storage } = request.into_inner();
        let storage: StorageName = storage.parse().map_err(|e| status_of_problem(&Problem::from(e)))?;
        Ok(Response::new(v1::CancelJobResponse { found: self.shared.jobs.cancel(&storage, &run).await }))
    }
}

impl Shared {
    /// Refuses to work in storages of which one holds another, or the vault, or lies in it.
    async fn check_places(&self, options: &AgentOptions) -> Result<(), Problem> {
        let vault = self.vault.local_folder().map(Place::vault);
        let all: Vec<_> = vault.into_iter().chain(options.places()).collect();
        blocking(move || places::check(&all)).await
    }

    /// Refuses a job that is meant for another vault than the agent's.
    async fn check_vault(&self, vault_id: &str) -> Result<(), Problem> {
        let marker = FormatMarker::of(&self.vault).await?;
        if marker.vault_id == vault_id {
            return Ok(());
        }
        Err(Problem::new(ErrorKind::Invalid, Subject::Agent, "open vault")
            .on(self.vault.label())
            .answered("the coordinator uses another vault than this agent")
            .next("give both the same [vault] section"))
    }
}

/// Does what may wait for a disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
        Err(Problem::new(ErrorKind::Internal, Subject::Agent, "look at places").answered(panic))
    })
}
