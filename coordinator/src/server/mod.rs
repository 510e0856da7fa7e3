//! The coordinator's gRPC service: runs, restores, and questions about the vault and the agents.
//!
//! Does not own: the work (`run`, `restore`, `inspect`). A run is a tracked task: it goes on when its caller goes away,
//! can be followed again, and ends when it is cancelled by name.

mod elsewhere;
mod find;
mod follow;
mod inspect;
mod restored;
mod resume;
mod rights;
mod scheduled;
mod schedules;
mod status;
mod tasks;

use std::sync::{Arc, Mutex, PoisonError};

use packhorse_model::{ErrorKind, Problem, RunSummary, Subject};
use packhorse_proto::{
    DESCRIPTORS, status_of_problem,
    v1::{
        self, TaskKind,
        coordinator_service_server::{CoordinatorService, CoordinatorServiceServer},
    },
};
use packhorse_service::{Live, access::Caller, daemon::Stages, health, reflection};
use packhorse_vault::{FormatMarker, Vault};
use serde::Serialize;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

pub use self::rights::access;
use self::{
    follow::Followed,
    schedules::Lasts,
    tasks::{Asked, Task, Tasks},
};
use crate::{
    CoordinatorOptions,
    fleet::Fleet,
    restore::RestoreRequest,
    run::{self, RunContext, RunRequest, Shares},
    schedule::Scheduler,
};

/// The service, before it is put on a listener.
pub struct Coordinator {
    shared: Arc<Shared>,
}

struct Shared {
    options: Live<CoordinatorOptions>,
    vault: Vault,
    tasks: Tasks,
    /// What all runs may take together.
    shares: Shares,
    stopping: CancellationToken,
    /// Done when the runs that its last life left are tasks of this one.
    knows_its_runs: CancellationToken,
    /// What became of the last time of each schedule.
    lasts: Mutex<Lasts>,
}

impl Shared {
    /// The options as they are now.
    fn options(&self) -> Arc<CoordinatorOptions> {
        self.options.now()
    }

    fn lasts(&self) -> std::sync::MutexGuard<'_, Lasts> {
        self.lasts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn context<'a>(&'a self, options: &'a CoordinatorOptions, task: &'a Task) -> RunContext<'a> {
        let Self { vault, shares, .. } = self;
        RunContext { vault, options, board: &task.board, stop: &task.stop, shares }
    }

    /// Starts a run as a task.
    fn start_run(self: &Arc<Self>, options: Arc<CoordinatorOptions>, request: RunRequest) -> Arc<Task> {
        let shared = Arc::clone(self);
        let resumable = options.identity.is_some() && !request.dry_run;
        let (dry_run, by) = (request.dry_run, request.requested_by.clone());
        let backup_id = request.backup_id.as_ref().map(ToString::to_string);
        let asked = Asked { kind: TaskKind::Create, resumable, dry_run, by, backup_id };
        self.tasks.start(asked, |task| async move {
            let context = shared.context(&options, &task);
            json(&named(&shared.vault, run::create(&context, request, task.name.clone()).await?))
        })
    }
}

impl Coordinator {
    /// A coordinator on a vault. When it is stopping it takes no new runs; at shutdown those under way are left.
    pub fn new(options: impl Into<Live<CoordinatorOptions>>, vault: Vault, stages: Stages) -> Self {
        let Stages { stopping, shutdown, tracker } = stages;
        let tasks = Tasks::new(shutdown, tracker);
        let knows_its_runs = CancellationToken::new();
        let options = options.into();
        let shares = Shares::new(options.now().limits);
        let lasts = Mutex::default();
        Self { shared: Arc::new(Shared { options, vault, tasks, shares, stopping, knows_its_runs, lasts }) }
    }

    /// Goes on with the runs that were left when it ended the last time, and starts what the options schedule, until it
    /// stops; does nothing before it is polled, which must not be before it listens.
    pub fn own_runs(&self) -> impl Future<Output = ()> + Send + use<> {
        let Shared { options, vault, stopping, .. } = &*self.shared;
        let scheduler = Scheduler {
            options: options.clone(),
            vault: vault.clone(),
            runs: Arc::clone(&self.shared),
            stopping: stopping.clone(),
        };
        let shared = Arc::clone(&self.shared);
        async move {
            let begun = resume::resume_all(shared).await;
            scheduler.run(begun).await;
        }
    }

    /// The service with health and reflection.
    pub async fn router(self) -> Result<Routes, Problem> {
        let Shared { tasks, stopping, .. } = &*self.shared;
        let health = health::<CoordinatorServiceServer<Service>>(stopping.clone(), tasks.tracker()).await;
        let reflection = reflection::<CoordinatorServiceServer<Service>>(DESCRIPTORS, Subject::Coordinator)?;
        Ok(Routes::new(CoordinatorServiceServer::new(Service { shared: self.shared }))
            .add_service(health)
            .add_service(reflection))
    }
}

struct Service {
    shared: Arc<Shared>,
}

/// Who calls, as the connection proved it.
fn who<T>(request: &Request<T>) -> String {
    let caller = request.extensions().get::<Caller>();
    caller.map_or_else(|| "unknown".to_owned(), |caller| caller.who().to_string())
}

type Events<T> = ReceiverStream<Result<T, Status>>;

fn json<T: Serialize>(value: &T) -> Result<String, Problem> {
    serde_json::to_string(value)
        .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Coordinator, "write summary").answered(e))
}

/// URL and identity of the vault, for summaries that are shown.
fn name_of(vault: &Vault) -> (Option<String>, Option<String>) {
    (Some(vault.label().to_owned()), Some(vault.id()))
}

fn named(vault: &Vault, summary: RunSummary) -> RunSummary {
    let (vault, vault_id) = name_of(vault);
    RunSummary { vault, vault_id, ..summary }
}

/// Why a vault was not made. A daemon makes no folder: where a file system is not mounted, it would be made below the mount
/// point.
fn not_made(problem: Problem, vault: &Vault, is_daemon: bool) -> Problem {
    let no_folder = vault.local_folder().is_some_and(|folder| !folder.exists());
    match is_daemon && no_folder && problem.kind == ErrorKind::NotFound {
        true => problem.next("make or mount the folder on the coordinator's host, then run again"),
        false => problem,
    }
}

impl Service {
    /// The options for a new task, which keeps them to its end; refused when the coordinator is about to stop.
    fn options_for_task(&self) -> Result<Arc<CoordinatorOptions>, Problem> {
        if self.shared.stopping.is_cancelled() {
            return Err(Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "start run")
                .answered("the coordinator is stopping")
                .next("run again when it is back"));
        }
        Ok(self.shared.options())
    }

    /// The stream of a task, with its name in the response's metadata, so that it is known before the first event.
    fn follow_task(&self, task: Arc<Task>) -> Response<Events<v1::RunEvent>> {
        let name = task.name.parse();
        let mut response = Response::new(ReceiverStream::new(self.shared.tasks.pass_on(task.board.clone())));
        if let Ok(name) = name {
            response.metadata_mut().insert(packhorse_proto::RUN_METADATA, name);
        }
        response
    }
}

#[tonic::async_trait]
impl CoordinatorService for Service {
    type CreateStream = Events<v1::RunEvent>;
    type RestoreStream = Events<v1::RunEvent>;
    type FollowStream = Events<v1::RunEvent>;
    type ShowStream = Events<v1::ShowResponse>;
    type FindStream = Events<v1::FindResponse>;

    async fn create(
        &self,
        request: Request<v1::CreateRequest>,
    ) -> Result<Response<Self::CreateStream>, Status> {
        let who = who(&request);
        let options = self.options_for_task().map_err(|e| status_of_problem(&e))?;
        let init = request.get_ref().init;
        let request =
            RunRequest::from_wire(request.into_inner(), &options).map_err(|e| status_of_problem(&e))?;
        if init && !request.dry_run {
            let made = FormatMarker::make_if_absent(&self.shared.vault.briefly()).await;
            made.map_err(|e| status_of_problem(&e.into()))?;
        }
        let (asked, backup) = (request.asked(), request.backup_id.clone());
        let task = self.shared.start_run(options, request.by(who.clone()));
        let backup = backup.map(|id| id.to_string());
        tracing::info!(who, run = task.name, backup, asked, "a backup was asked for");
        Ok(self.follow_task(task))
    }

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<Self::RestoreStream>, Status> {
        let who = who(&request);
        let request = RestoreRequest::from_wire(request.into_inner()).map_err(|e| status_of_problem(&e))?;
        let options = self.options_for_task().map_err(|e| status_of_problem(&e))?;
        let asked = request.asked();
        let task = restored::start(&self.shared, options, request, who.clone());
        tracing::info!(who, run = task.name, asked, "a restore was asked for");
        Ok(self.follow_task(task))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(status::status(&self.shared).await))
    }

    async fn follow(
        &self,
        request: Request<v1::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let found = follow::find(&self.shared, &request.into_inner().run).await;
        match found.map_err(|e| status_of_problem(&e))? {
            Followed::Task(task) => Ok(self.follow_task(task)),
            Followed::Committed(board) => {
                Ok(Response::new(ReceiverStream::new(self.shared.tasks.pass_on(board))))
            }
        }
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let who = who(&request);
        let name = request.into_inner().run;
        // A coordinator that has just started does not know yet what it resumes.
        if self.shared.tasks.find(&name).is_err() && self.shared.options().identity.is_some() {
            tokio::select! {
                () = self.shared.knows_its_runs.cancelled() => {}
                () = self.shared.stopping.cancelled() => {}
            }
        }
        let task = match self.shared.tasks.find(&name) {
            Ok(task) => task,
            Err(unknown) => {
                return Err(status_of_problem(&elsewhere::told(&self.shared, &name, unknown).await));
            }
        };
        tracing::info!(who, run = task.name, backup = task.backup_id(), "a cancel was asked for");
        task.stop.cancel(who);
        let end = task.board.wait().await.err();
        let run = task.shown_name();
        Ok(Response::new(v1::CancelResponse { run, end: end.as_ref().map(Into::into) }))
    }

    async fn list(&self, _request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        inspect::list(&self.shared.vault.briefly())
            .await
            .map(Response::new)
            .map_err(|e| status_of_problem(&e))
    }

    async fn init_vault(
        &self,
        _request: Request<v1::InitVaultRequest>,
    ) -> Result<Response<v1::InitVaultResponse>, Status> {
        let vault = self.shared.vault.briefly();
        let is_daemon = self.shared.options().identity.is_some();
        let marker = FormatMarker::make(&vault).await;
        let marker = marker.map_err(|e| status_of_problem(&not_made(e.into(), &vault, is_daemon)))?;
        let vault = v1::VaultName { url: vault.label().to_owned(), id: marker.vault_id };
        Ok(Response::new(v1::InitVaultResponse { vault: Some(vault) }))
    }

    async fn show(&self, request: Request<v1::ShowRequest>) -> Result<Response<Self::ShowStream>, Status> {
        let shown = inspect::show(&self.shared, request.into_inner()).await;
        shown.map(|events| Response::new(ReceiverStream::new(events))).map_err(|e| status_of_problem(&e))
    }

    async fn find(&self, request: Request<v1::FindRequest>) -> Result<Response<Self::FindStream>, Status> {
        let found =
            find::find(&self.shared.vault.briefly(), request.into_inner(), self.shared.tasks.tracker())
                .await
                .map_err(|e| status_of_problem(&e))?;
        Ok(Response::new(ReceiverStream::new(found)))
    }

    async fn agents(
        &self,
        _request: Request<v1::AgentsRequest>,
    ) -> Result<Response<v1::AgentsResponse>, Status> {
        let options = self.shared.options();
        let fleet = Fleet::of(&options).await;
        let fleet = fleet.map_err(|e| status_of_problem(&e))?;
        Ok(Response::new(inspect::agents(&fleet, &self.shared.vault.briefly(), options.tls.as_ref()).await))
    }
}
