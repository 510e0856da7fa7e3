//! The coordinator's gRPC service: runs, restores, and questions about the vault and the agents.
//!
//! Does not own: the work (`run`, `restore`, `inspect`). A run is a tracked task: it goes on when its caller goes away,
//! and ends when it is cancelled by name or the process stops.

mod inspect;
mod rights;
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
use packhorse_vault::Vault;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, service::Routes};

pub use self::rights::access;
use self::tasks::Tasks;
use crate::{
    CoordinatorOptions,
    board::Told,
    fleet::Fleet,
    restore::{self, RestoreRequest},
    run::{self, RunRequest},
};

/// The service, before it is put on a listener.
pub struct Coordinator {
    shared: Arc<Shared>,
}

struct Shared {
    options: CoordinatorOptions,
    vault: Vault,
    tasks: Tasks,
}

impl Coordinator {
    /// A coordinator on a vault; its runs stop when `shutdown` is cancelled and are tracked by `tracker`.
    pub fn new(
        options: CoordinatorOptions,
        vault: Vault,
        shutdown: CancellationToken,
        tracker: TaskTracker,
    ) -> Self {
        Self { shared: Arc::new(Shared { options, vault, tasks: Tasks::new(shutdown, tracker) }) }
    }

    /// The service with health and reflection.
    pub async fn router(self) -> Result<Routes, Problem> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<CoordinatorServiceServer<Service>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .map_err(|e| {
                Problem::new(ErrorKind::Internal, Subject::Coordinator, "serve reflection").answered(e)
            })?;
        Ok(Routes::new(CoordinatorServiceServer::new(Service { shared: self.shared }))
            .add_service(health_service)
            .add_service(reflection))
    }
}

struct Service {
    shared: Arc<Shared>,
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
        let request = RunRequest::from_wire(request.into_inner(), &self.shared.options)
            .map_err(|e| status_of_problem(&e))?;
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
            let Shared { vault, options, .. } = &*shared;
            json(&run::create(vault, options, request, run, &board, &cancel).await?)
        });
        Ok(named(started))
    }

    async fn restore(
        &self,
        request: Request<v1::RestoreRequest>,
    ) -> Result<Response<Self::RestoreStream>, Status> {
        use restore_event::Event;
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
            let Shared { vault, options, .. } = &*shared;
            json(&restore::restore(vault, options, request, run, &board, &cancel).await?)
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
        let fleet = Fleet::muster(&self.shared.options.agents, self.shared.options.tls.as_ref())
            .await
            .map_err(|e| status_of_problem(&e))?;
        Ok(Response::new(inspect::agents(&fleet)))
    }
}
