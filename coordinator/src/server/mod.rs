//! The coordinator's gRPC service: runs, restores, and questions about the vault and the agents.
//!
//! Does not own: the work (`run`, `restore`, `inspect`). A run is a tracked task: it goes on when its caller goes away,
//! and ends when it is cancelled by name or the process stops.

mod inspect;
mod scheduled;
mod tasks;

use std::sync::Arc;

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_proto::{
    DESCRIPTORS, status_of_problem,
    v1::{
        self,
        coordinator_service_server::{CoordinatorService, CoordinatorServiceServer},
        restore_event, run_event,
    },
};
use packhorse_service::{Live, health};
use packhorse_vault::Vault;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, transport::server::Router};

use self::tasks::Tasks;
use crate::{
    CoordinatorOptions,
    board::Told,
    fleet::Fleet,
    restore::{self, RestoreRequest},
    run::{self, RunRequest},
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
    shutdown: CancellationToken,
}

impl Coordinator {
    /// A coordinator on a vault; its runs stop when `shutdown` is cancelled and are tracked by `tracker`.
    pub fn new(
        options: impl Into<Live<CoordinatorOptions>>,
        vault: Vault,
        shutdown: CancellationToken,
        tracker: TaskTracker,
    ) -> Self {
        let (options, tasks) = (options.into(), Tasks::new(shutdown.clone(), tracker));
        Self { shared: Arc::new(Shared { options, vault, tasks, shutdown }) }
    }

    /// Starts what the options schedule until the coordinator stops; does nothing before it is polled.
    pub fn schedules(&self) -> impl Future<Output = ()> + Send + use<> {
        let Shared { options, vault, tasks, shutdown } = &*self.shared;
        let scheduler = Scheduler {
            options: options.clone(),
            vault: vault.clone(),
            runs: Arc::clone(&self.shared),
            tracker: tasks.tracker().clone(),
            stopping: shutdown.clone(),
        };
        scheduler.run()
    }

    /// The service with health and reflection.
    pub async fn router(self) -> Result<Router, Problem> {
        let Shared { tasks, shutdown, .. } = &*self.shared;
        let health = health::<CoordinatorServiceServer<Service>>(shutdown.clone(), tasks.tracker()).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .map_err(|e| {
                Problem::new(ErrorKind::Internal, Subject::Coordinator, "serve reflection").answered(e)
            })?;
        Ok(tonic::transport::Server::builder()
            .add_service(CoordinatorServiceServer::new(Service { shared: self.shared }))
            .add_service(health)
            .add_service(reflection))
    }
}

struct Service {
    shared: Arc<Shared>,
}

impl Service {
    /// The options for a new task, which keeps them to its end; refused when the coordinator is about to stop.
    fn options_for_task(&self) -> Result<Arc<CoordinatorOptions>, Problem> {
        if self.shared.shutdown.is_cancelled() {
            return Err(Problem::new(ErrorKind::Unavailable, Subject::Coordinator, "start run")
                .answered("the coordinator is stopping")
                .next("run again when it is back"));
        }
        Ok(self.shared.options.now())
    }
}

type Events<T> = ReceiverStream<Result<T, Status>>;

fn json<T: Serialize>(value: &T) -> Result<String, Problem> {
    serde_json::to_string(value)
        .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Coordinator, "write summary").answered(e))
}

/// A stream of events, with the name for `Cancel` in the response's metadata, so that it is known before the first one.
fn named<T>((run, events): (String, mpsc::Receiver<Result<T, Status>>)) -> Response<Events<T>> {
    let mut response = Response::new(ReceiverStream::new(events));
    if let Ok(name) = run.parse() {
        response.metadata_mut().insert(packhorse_proto::RUN_METADATA, name);
    }
    response
}

#[tonic::async_trait]
impl CoordinatorService for Service {
    type CreateStream = Events<v1::RunEvent>;
    type RestoreStream = Events<v1::RestoreEvent>;
    type ShowStream = Events<v1::ShowResponse>;

    async fn create(
        &self,
        request: Request<v1::CreateRequest>,
    ) -> Result<Response<Self::CreateStream>, Status> {
        use run_event::Event;
        let options = self.options_for_task().map_err(|e| status_of_problem(&e))?;
        let request =
            RunRequest::from_wire(request.into_inner(), &options).map_err(|e| status_of_problem(&e))?;
        let shared = Arc::clone(&self.shared);
        let told = |told| v1::RunEvent {
            event: Some(match told {
                Told::Accepted(accepted) => Event::Accepted(accepted),
                Told::Progress(progress) => Event::Progress(progress),
                Told::Failure(failure) => Event::Failure(failure),
            }),
        };
        let ended = |json| v1::RunEvent { event: Some(Event::SummaryJson(json)) };
        let started = self.shared.tasks.start(told, ended, |run, board, cancel| async move {
            json(&run::create(&shared.vault, &options, request, run, &board, &cancel).await?)
        });
        Ok(named(started))
    }

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<Self::RestoreStream>, Status> {
        use restore_event::Event;
        let options = self.options_for_task().map_err(|e| status_of_problem(&e))?;
        let request = RestoreRequest::from_wire(request.into_inner()).map_err(|e| status_of_problem(&e))?;
        let shared = Arc::clone(&self.shared);
        let told = |told| v1::RestoreEvent {
            event: Some(match told {
                Told::Accepted(accepted) => Event::Accepted(accepted),
                Told::Progress(progress) => Event::Progress(progress),
                Told::Failure(failure) => Event::Failure(failure),
            }),
        };
        let ended = |json| v1::RestoreEvent { event: Some(Event::SummaryJson(json)) };
        let started = self.shared.tasks.start(told, ended, |run, board, cancel| async move {
            json(&restore::restore(&shared.vault, &options, request, run, &board, &cancel).await?)
        });
        Ok(named(started))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let found = self.shared.tasks.cancel(&request.into_inner().run);
        Ok(Response::new(v1::CancelResponse { found }))
    }

    async fn list(&self, _request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        inspect::list(&self.shared.vault).await.map(Response::new).map_err(|e| status_of_problem(&e))
    }

    async fn show(&self, request: Request<v1::ShowRequest>) -> Result<Response<Self::ShowStream>, Status> {
        let events = inspect::show(&self.shared.vault, request.into_inner(), self.shared.tasks.tracker())
            .await
            .map_err(|e| status_of_problem(&e))?;
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn agents(
        &self,
        _request: Request<v1::AgentsRequest>,
    ) -> Result<Response<v1::AgentsResponse>, Status> {
        let fleet =
            Fleet::muster(&self.shared.options.now().agents).await.map_err(|e| status_of_problem(&e))?;
        Ok(Response::new(inspect::agents(&fleet)))
    }
}
