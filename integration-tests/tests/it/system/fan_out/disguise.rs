//! An agent that is not what it says: it passes every call on to a real one, and tells what a test wants of itself, and
//! of what a backup came to.
//!
//! Does not own: any other answer. So all that follows from what it says is done by real daemons.

use std::{net::SocketAddr, pin::Pin, thread};

use packhorse_model::Subject;
use packhorse_proto::v1::{
    BackupStorageEvent, BackupStorageFinished, BackupStorageRequest, CancelJobRequest, CancelJobResponse,
    DescribeRequest, DescribeResponse, PlanRestoreResponse, RestoreStorageEvent, RestoreStorageRequest,
    agent_service_client::AgentServiceClient,
    agent_service_server::{AgentService, AgentServiceServer},
    backup_storage_event::Event,
};
use packhorse_service::connect;
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server},
};

/// What is changed on the way.
#[derive(Clone, Copy)]
pub struct Lies {
    /// What it says of itself.
    pub of_itself: fn(&mut DescribeResponse),
    /// What it says that a storage's backup came to.
    pub of_backups: fn(&mut BackupStorageFinished),
    /// Whether it is of a version that cannot plan restores.
    pub plans_nothing: bool,
}

struct Passing {
    agent: AgentServiceClient<Channel>,
    lies: Lies,
}

#[tonic::async_trait]
impl AgentService for Passing {
    type BackupStorageStream = Pin<Box<dyn Stream<Item = Result<BackupStorageEvent, Status>> + Send>>;
    type RestoreStorageStream = Streaming<RestoreStorageEvent>;

    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let mut answer = self.agent.clone().describe(request.into_inner()).await?.into_inner();
        (self.lies.of_itself)(&mut answer);
        Ok(Response::new(answer))
    }

    async fn backup_storage(
        &self,
        request: Request<Streaming<BackupStorageRequest>>,
    ) -> Result<Response<Self::BackupStorageStream>, Status> {
        let requests = request.into_inner().filter_map(Result::ok);
        let events = self.agent.clone().backup_storage(requests).await?.into_inner();
        let change = self.lies.of_backups;
        Ok(Response::new(Box::pin(events.map(move |event| {
            event.map(|mut event| {
                if let Some(Event::Finished(finished)) = &mut event.event {
                    change(finished);
                }
                event
            })
        }))))
    }

    async fn restore_storage(
        &self,
        request: Request<Streaming<RestoreStorageRequest>>,
    ) -> Result<Response<Self::RestoreStorageStream>, Status> {
        self.agent.clone().restore_storage(request.into_inner().filter_map(Result::ok)).await
    }

    async fn plan_restore(
        &self,
        request: Request<Streaming<RestoreStorageRequest>>,
    ) -> Result<Response<PlanRestoreResponse>, Status> {
        if self.lies.plans_nothing {
            return Err(Status::unimplemented(""));
        }
        self.agent.clone().plan_restore(request.into_inner().filter_map(Result::ok)).await
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        self.agent.clone().cancel_job(request.into_inner()).await
    }
}

/// A disguise, until it is dropped.
pub struct Disguise {
    /// Where it listens.
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Disguise {
    /// Stands before the agent at `address`, and changes what it says.
    pub fn before(address: &str, lies: Lies) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let own: SocketAddr = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let address = address.parse().expect("an address");
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let channel = connect(&address, Subject::Agent, None).await.expect("the agent listens");
                let service = Passing { agent: AgentServiceClient::new(channel), lies };
                listener.set_nonblocking(true).expect("set non-blocking");
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let server = Server::builder().add_service(AgentServiceServer::new(service));
                let incoming = TcpListenerStream::new(listener);
                tokio::select! {
                    served = server.serve_with_incoming(incoming) => served.expect("served"),
                    _ = stopped => {}
                }
            });
        });
        Self { address: format!("http://{own}"), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        if !thread::panicking() {
            ended.expect("a thread").expect("the disguise ended well");
        }
    }
}
