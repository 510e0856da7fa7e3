//! An agent that is not what it says: it passes every call on to a real one, and tells of itself what a test wants.
//!
//! Does not own: any answer but `Describe`. So all that follows from what it says is done by real daemons.

use std::{net::SocketAddr, thread};

use packhorse_model::Subject;
use packhorse_proto::v1::{
    BackupStorageEvent, BackupStorageRequest, CancelJobRequest, CancelJobResponse, DescribeRequest,
    DescribeResponse, RestoreStorageEvent, RestoreStorageRequest,
    agent_service_client::AgentServiceClient,
    agent_service_server::{AgentService, AgentServiceServer},
};
use packhorse_service::connect;
use tokio::sync::oneshot;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server},
};

type Change = fn(&mut DescribeResponse);

struct Passing {
    agent: AgentServiceClient<Channel>,
    change: Change,
}

#[tonic::async_trait]
impl AgentService for Passing {
    type BackupStorageStream = Streaming<BackupStorageEvent>;
    type RestoreStorageStream = Streaming<RestoreStorageEvent>;

    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let mut answer = self.agent.clone().describe(request.into_inner()).await?.into_inner();
        (self.change)(&mut answer);
        Ok(Response::new(answer))
    }

    async fn backup_storage(
        &self,
        request: Request<Streaming<BackupStorageRequest>>,
    ) -> Result<Response<Self::BackupStorageStream>, Status> {
        self.agent.clone().backup_storage(request.into_inner().filter_map(Result::ok)).await
    }

    async fn restore_storage(
        &self,
        request: Request<Streaming<RestoreStorageRequest>>,
    ) -> Result<Response<Self::RestoreStorageStream>, Status> {
        self.agent.clone().restore_storage(request.into_inner().filter_map(Result::ok)).await
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
    /// Stands before the agent at `address`, and changes what it says of itself.
    pub fn before(address: &str, change: Change) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let own: SocketAddr = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let address = address.parse().expect("an address");
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let channel = connect(&address, Subject::Agent, None).await.expect("the agent listens");
                let service = Passing { agent: AgentServiceClient::new(channel), change };
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
