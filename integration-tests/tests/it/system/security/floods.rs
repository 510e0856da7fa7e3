//! Callers that send too much, or nearly nothing, or are very many: each is bounded, and nobody else is held up.
//!
//! Does not own: the bounds, which stand in `service`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use packhorse_proto::v1::{
    BackupStorageRequest, CreateRequest, DescribeRequest, ListRequest, RepositoryFilter,
    agent_service_client::AgentServiceClient, backup_storage_request::Request,
    coordinator_service_client::CoordinatorServiceClient,
};
use packhorse_testkit::{Backupctl, Binary};
use tonic::{Code, transport::Channel};

use super::{super::site::Site, SOON, Secured, assert_counted, assert_refused_once, counts, start};

/// The beginning of a TLS record with a long ClientHello, of which nothing more comes.
const HELLO: [u8; 9] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];

#[test]
fn silent_and_slow_connections_hold_up_nobody() {
    let secured = Secured::start();
    let mut streams = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(secured.place()).expect("connect");
        if number % 2 == 0 {
            stream.write_all(&HELLO[..1 + number % HELLO.len()]).expect("write");
        }
        streams.push(stream);
    }
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    secured.ctl("ops.internal", ["create"]).run().expect_success();
    // Every one of them is cut off in the end.
    for mut stream in streams {
        stream.set_read_timeout(Some(SOON)).expect("set timeout");
        let _ = stream.write_all(&[0]);
        let read = stream.read(&mut [0; 64]);
        let waited = read.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited, "still open: {read:?}");
    }
    assert_refused_once(&secured.coordinator, &["slow", "127.0.0.1"]);
    let [coordinator, _] = secured.stop();
    let counts = counts(&coordinator);
    // The byte that asks whether one is still open is no TLS, where it comes before the daemon has lost patience.
    let of = |reason| counts.get(reason).copied().unwrap_or_default();
    assert_eq!(of("slow") + of("handshake"), 200, "{counts:?}");
    assert!(of("slow") >= 100, "{counts:?}");
}

#[test]
fn more_handshakes_than_there_is_room_for_hold_up_nobody() {
    let secured = Secured::start();
    let streams: Vec<_> = (0..600).map(|_| TcpStream::connect(secured.place()).expect("connect")).collect();
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    assert_refused_once(&secured.coordinator, &["crowded", "127.0.0.1"]);
    drop(streams);
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    let [coordinator, _] = secured.stop();
    let crowded = counts(&coordinator)["crowded"];
    // All but those that there is room for, and of these one made room for each of the honest calls at most.
    assert!((600 - 256..=600 - 256 + 2).contains(&crowded), "{crowded}");
}

#[test]
fn a_unix_socket_waits_for_nobody_either() {
    let site = Site::new();
    let socket = site.path("coordinator.sock");
    let config = format!(
        "[vault]\nurl = '{}'\n[coordinator]\nlisten = 'unix://{}'\n",
        site.vault_url(),
        socket.display()
    );
    site.write("coordinator.toml", &config);
    let (daemon, address) = start(&site, Binary::Coordinator, "coordinator");
    let mut streams: Vec<_> = (0..200).map(|_| UnixStream::connect(&socket).expect("connect")).collect();
    Backupctl::new().args(["list", "--coordinator", &address]).run().expect_success();
    for stream in &mut streams {
        stream.set_read_timeout(Some(SOON)).expect("set timeout");
        let mut all = Vec::new();
        let read = stream.read_to_end(&mut all);
        let waited = read.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited, "still open: {read:?}");
    }
    assert_refused_once(&daemon, &["slow", "uid"]);
}

fn long_pattern() -> RepositoryFilter {
    RepositoryFilter { include: vec!["a".repeat(5 << 20)], exclude: vec![] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_large_are_refused() {
    let secured = Secured::start();
    let channel = secured.channel(&secured.address, "ops.internal").await;
    let mut client = CoordinatorServiceClient::new(channel);
    for _ in 0..2 {
        let request = CreateRequest { filter: Some(long_pattern()), ..CreateRequest::default() };
        let status = client.create(request).await.expect_err("too large");
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
    }
    assert_refused_once(&secured.coordinator, &["size", "ops.internal", "CoordinatorService/Create"]);

    let channel = secured.channel(&secured.agent_address, "coordinator.internal").await;
    let message = BackupStorageRequest { request: Some(Request::Filter(long_pattern())) };
    let mut agent = AgentServiceClient::new(channel);
    agent.backup_storage(tokio_stream::iter([message])).await.expect_err("too large");
    assert_refused_once(&secured.agent, &["size", "coordinator.internal", "AgentService/BackupStorage"]);
    // Many small ones are not better.
    let part = RepositoryFilter { include: vec!["a".repeat(800); 1000], exclude: vec![] };
    let message = BackupStorageRequest { request: Some(Request::Filter(part)) };
    agent.backup_storage(tokio_stream::iter(vec![message; 100])).await.expect_err("too large");

    let mut request = tonic::Request::new(ListRequest {});
    request.metadata_mut().insert("x-much", "y".repeat(64 << 10).parse().expect("a header"));
    client.list(request).await.expect_err("headers are bounded too");
    // Such headers may cost the caller its connection, but nobody else theirs.
    let channel = secured.channel(&secured.address, "ops.internal").await;
    CoordinatorServiceClient::new(channel).list(ListRequest {}).await.expect("the coordinator goes on");
    let [coordinator, agent] = secured.stop();
    assert_counted(&coordinator, [("size", 2)]);
    // A job that is cut off is also one that the agent cannot take.
    assert_counted(&agent, [("request", 2), ("size", 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_one_connection_are_bounded() {
    let secured = Secured::start();
    let channel = secured.channel(&secured.agent_address, "coordinator.internal").await;
    let describe = |channel: &Channel| {
        let mut agent = AgentServiceClient::new(channel.clone());
        async move { agent.describe(DescribeRequest {}).await.map(drop) }
    };
    describe(&channel).await.expect("the agent has told its bounds");
    // None of these requests ever ends, so each holds its stream.
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let mut agent = AgentServiceClient::new(channel.clone());
        waiting.spawn(async move { agent.backup_storage(tokio_stream::pending()).await.map(drop) });
    }
    // They wait for each other on their own connection; another one is not held up.
    let last = tokio::time::timeout(SOON, async {
        loop {
            let mut last = Box::pin(describe(&channel));
            if tokio::time::timeout(Duration::from_secs(1), &mut last).await.is_err() {
                return;
            }
        }
    });
    last.await.expect("in the end there is no stream left");
    let other = secured.channel(&secured.agent_address, "coordinator.internal").await;
    describe(&other).await.expect("another connection is served");
    waiting.shutdown().await;
    secured.stop();
}
