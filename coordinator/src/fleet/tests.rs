//! Agents that are not as they should be: each is told apart, and named.

use packhorse_proto::v1::{
    BackupStorageEvent, BackupStorageRequest, CancelJobRequest, CancelJobResponse, PlanRestoreResponse,
    RestoreStorageEvent, RestoreStorageRequest,
    agent_service_server::{AgentService, AgentServiceServer},
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;

/// An agent that only describes itself.
struct Described(DescribeResponse);

#[tonic::async_trait]
impl AgentService for Described {
    type BackupStorageStream = ReceiverStream<Result<BackupStorageEvent, Status>>;
    type RestoreStorageStream = ReceiverStream<Result<RestoreStorageEvent, Status>>;

    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn backup_storage(
        &self,
        _: Request<Streaming<BackupStorageRequest>>,
    ) -> Result<Response<Self::BackupStorageStream>, Status> {
        Err(Status::unimplemented("only describes itself"))
    }

    async fn restore_storage(
        &self,
        _: Request<Streaming<RestoreStorageRequest>>,
    ) -> Result<Response<Self::RestoreStorageStream>, Status> {
        Err(Status::unimplemented("only describes itself"))
    }

    async fn plan_restore(
        &self,
        _: Request<Streaming<RestoreStorageRequest>>,
    ) -> Result<Response<PlanRestoreResponse>, Status> {
        Err(Status::unimplemented("only describes itself"))
    }

    async fn cancel_job(&self, _: Request<CancelJobRequest>) -> Result<Response<CancelJobResponse>, Status> {
        Err(Status::unimplemented("only describes itself"))
    }
}

fn good(storages: &[&str]) -> DescribeResponse {
    DescribeResponse {
        version: env!("CARGO_PKG_VERSION").into(),
        git_version: "2.47.0".into(),
        storages: storages.iter().map(|name| (*name).to_owned()).collect(),
        protocol: PROTOCOL,
        clock_ms: Timestamp::now().as_millisecond(),
        ..DescribeResponse::default()
    }
}

/// Serves these agents in a folder, and musters them.
async fn muster(agents: Vec<DescribeResponse>) -> (TempDir, Fleet) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut addresses = Vec::new();
    for (number, described) in agents.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.sock"));
        let listener = UnixListener::bind(&path).expect("bind");
        let server =
            tonic::transport::Server::builder().add_service(AgentServiceServer::new(Described(described)));
        tokio::runtime::Handle::current()
            .spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        addresses.push(Address::Unix(path));
    }
    let fleet = Fleet::muster(&addresses, None).await.expect("mustered");
    (folder, fleet)
}

fn named(name: &str) -> StorageName {
    name.parse().expect("valid name")
}

#[tokio::test]
async fn a_storage_that_two_agents_claim_is_nobody_s_and_the_others_are_served() {
    let (_folder, fleet) = muster(vec![good(&["a", "shared"]), good(&["b", "shared"])]).await;
    assert_eq!(fleet.storages.keys().map(StorageName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    let problem = fleet.agent_of(&named("shared")).err().expect("nobody's");
    assert_eq!(problem.kind, ErrorKind::Invalid);
    let text = problem.to_string();
    assert!(text.contains("shared") && text.contains("0.sock") && text.contains("1.sock"), "{text}");
    assert!(problem.next.is_some());
    fleet.agent_of(&named("a")).expect("is served");
}

#[tokio::test]
async fn an_agent_of_another_protocol_is_not_used_and_one_of_another_version_is_remarked() {
    let other = DescribeResponse { protocol: PROTOCOL + 1, version: "9.9.9".into(), ..good(&["a"]) };
    let newer = DescribeResponse { version: "0.0.7".into(), ..good(&["b"]) };
    let (_folder, fleet) = muster(vec![other, newer]).await;
    let (_, problem) = fleet.unreachable().next().expect("the first");
    let text = problem.to_string();
    assert!(text.contains("9.9.9") && text.contains(&format!("protocol {}", PROTOCOL + 1)), "{text}");
    assert_eq!((problem.kind, problem.subject), (ErrorKind::Unavailable, Subject::Agent));
    let remarks = fleet.agent_of(&named("b")).expect("is used").remarks();
    assert!(matches!(&remarks[..], [remark] if remark.contains("0.0.7")), "{remarks:?}");
}

#[tokio::test]
async fn a_clock_that_is_off_by_a_day_is_remarked_in_either_direction() {
    let off = |hours: i64| {
        let clock = Timestamp::now().saturating_add(SignedDuration::from_hours(hours)).expect("in range");
        DescribeResponse { clock_ms: clock.as_millisecond(), ..good(&[if hours > 0 { "a" } else { "b" }]) }
    };
    let (_folder, fleet) = muster(vec![off(24), off(-24), good(&["c"])]).await;
    for (name, way) in [("a", "ahead of"), ("b", "behind")] {
        let remarks = fleet.agent_of(&named(name)).expect("is used").remarks();
        assert!(matches!(&remarks[..], [remark] if remark.contains(way)), "{remarks:?}");
    }
    assert!(fleet.agent_of(&named("c")).expect("is used").remarks().is_empty());
}

#[tokio::test]
async fn places_of_agents_are_compared_where_one_kernel_runs_them() {
    let extent = |path: &str| v1::Extent { device: "8:1".into(), path: path.as_bytes().to_vec() };
    let place = |name: &str, path: &str| {
        let (key, shown) = (format!("[[storage]] {name}"), path.to_owned());
        v1::Place { key, shown, extents: vec![extent(path)] }
    };
    let agent = |kernel: &str, name: &str, path: &str| {
        let (kernel, places) = (kernel.to_owned(), vec![place(name, path)]);
        DescribeResponse { kernel, places, ..good(&[name]) }
    };
    for (agents, nested) in [
        ([agent("k", "a", "/srv/git"), agent("k", "b", "/srv/git/b")], true),
        ([agent("k", "a", "/srv/git"), agent("k", "b", "/srv/git2")], false),
        ([agent("k", "a", "/srv/git"), agent("l", "b", "/srv/git/b")], false),
        ([agent("", "a", "/srv/git"), agent("", "b", "/srv/git/b")], false),
    ] {
        let (_folder, fleet) = muster(agents.to_vec()).await;
        let checked = fleet.check_places(&[]).await;
        assert_eq!(checked.is_err(), nested, "{checked:?}");
        if let Err(problem) = checked {
            let said = problem.to_string();
            assert!(said.contains("[[storage]] a") && said.contains("[[storage]] b"), "{said}");
        }
    }
    // A storage of an agent on this host within a folder of our own.
    let folder = tempfile::tempdir().expect("temporary folder");
    let storage: StorageName = "default".parse().expect("valid name");
    let inside = Place::storage(&storage, &folder.path().join("git")).locate().expect("located");
    let extents = inside.extents().iter().map(|extent| v1::Extent {
        device: extent.device.clone(),
        path: std::os::unix::ffi::OsStrExt::as_bytes(extent.path.as_os_str()).to_vec(),
    });
    let places =
        vec![v1::Place { key: inside.key().into(), shown: "git".into(), extents: extents.collect() }];
    let kernel = kernel().expect("a kernel");
    let (_agents, fleet) = muster(vec![DescribeResponse { kernel, places, ..good(&["default"]) }]).await;
    let own = [Place::directory("srv", folder.path())];
    let problem = fleet.check_places(&own).await.expect_err("the directory holds the storage");
    assert_eq!((problem.kind, problem.subject), (ErrorKind::Invalid, Subject::Configuration));
    assert!(problem.to_string().contains("[[directory]] srv"), "{problem}");
    assert_eq!(fleet.check_places(&[Place::directory("b", &folder.path().join("b"))]).await, Ok(()));
}
