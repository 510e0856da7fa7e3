//! What a listener gives to its callers: connections, streams, calls, silence and age, each with a small bound.
//!
//! Does not own: the values that are served with (`Bounds::default`).

use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_rustls::client::TlsStream;
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

use super::*;

/// Time for something that must happen.
const SOON: Duration = Duration::from_secs(30);
/// Time in which something that must not happen would have.
const AWHILE: Duration = Duration::from_millis(300);
/// Answers to `Watch` until they are dropped.
type Watching = Result<Streaming<HealthCheckResponse>, Status>;

async fn watch(channel: &Channel) -> Watching {
    let watched = HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await;
    watched.map(tonic::Response::into_inner)
}

async fn check(channel: &Channel) -> Result<(), Status> {
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_connection_wait_for_each_other_and_for_no_one_else() {
    let served = Served::start_with(Bounds { streams: 3, ..Bounds::default() }).await;
    let channel = served.channel("friend.internal").await.expect("a friend");
    check(&channel).await.expect("the settings have come");
    let mut watching = Vec::new();
    for _ in 0..3 {
        watching.push(watch(&channel).await.expect("there is room"));
    }
    let mut waiting = Box::pin(check(&channel));
    timeout(AWHILE, &mut waiting).await.expect_err("a fourth has to wait");
    check(&served.channel("friend.internal").await.expect("another connection")).await.expect("it is free");
    watching.pop();
    timeout(SOON, waiting).await.expect("there is room again").expect("served");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_all_connections_are_bounded() {
    let served = Served::start_with(Bounds { calls: 2, ..Bounds::default() }).await;
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(served.channel("friend.internal").await.expect("a friend"));
    }
    let mut watching = Vec::new();
    for channel in &channels[..2] {
        watching.push(watch(channel).await.expect("there is room"));
    }
    check(&channels[2]).await.expect_err("too many calls");
    assert_eq!(served.counted(Reason::Crowded).await, 1);
    watching.pop();
    timeout(SOON, async { while check(&channels[2]).await.is_err() {} }).await.expect("there is room again");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_strangers_take_no_room_of_friends() {
    let bounds = Bounds { connections: 2, strangers: 1, ..Bounds::default() };
    let served = Served::start_with(bounds).await;
    let stranger = served.channel("nobody.internal").await.expect("it waits for its refusal");
    let other = served.channel("nobody.internal").await;
    assert!(other.is_err() || check(&other.expect("connected")).await.is_err());
    assert_eq!(served.counted(Reason::Crowded).await, 1, "one stranger too many");
    let first = served.channel("friend.internal").await.expect("a friend");
    let second = served.channel("friend.internal").await.expect("another");
    for channel in [&first, &second] {
        check(channel).await.expect("friends are served beside strangers");
    }
    let third = served.channel("friend.internal").await;
    assert!(third.is_err() || check(&third.expect("connected")).await.is_err());
    assert_eq!(served.access.refusals().counts()[&Reason::Crowded], 2, "one friend too many");
    assert_eq!(check(&stranger).await.expect_err("refused").code(), Code::PermissionDenied);
    drop(second);
    timeout(SOON, async {
        loop {
            if let Ok(channel) = served.channel("friend.internal").await
                && check(&channel).await.is_ok()
            {
                return;
            }
        }
    })
    .await
    .expect("there is room again");
    served.stop().await;
}

/// What every HTTP/2 connection begins with, and a SETTINGS frame that sets nothing.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of a frame that asks for answer (RFC 9113, 6.7).
const PING: u8 = 6;
/// The type of a frame that ends a connection (RFC 9113, 6.8).
const GOAWAY: u8 = 7;

/// A friend that speaks HTTP/2 by hand.
async fn by_hand(served: &Served) -> TlsStream<TcpStream> {
    let folder = served.folder.path().join("by-hand");
    served.authority.issue("friend.internal").write(&folder);
    let tls = Tls::open(&section(&folder)).expect("good files");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connected = TlsConnector::from(tls.client()).connect(name, served.stream().await).await;
    let mut stream = connected.expect("a friend");
    stream.write_all(OPENING).await.expect("write");
    stream
}

/// The types of the frames that come until the other side says goodbye or closes; a frame's header has nine bytes.
async fn frames(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut types = Vec::new();
    let mut header = [0; 9];
    while stream.read_exact(&mut header).await.is_ok() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await.expect("the whole frame");
        types.push(header[3]);
        if header[3] == GOAWAY {
            break;
        }
    }
    types
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_a_ping_is_gone_and_who_does_stays() {
    // Also the time that an honest friend has for its answer.
    let alive = Duration::from_secs(1);
    let served = Served::start_with(Bounds { alive, ..Bounds::default() }).await;
    let friend = served.channel("friend.internal").await.expect("a friend");
    let mut watching = watch(&friend).await.expect("served");
    watching.message().await.expect("the first answer");
    let mut deaf = by_hand(&served).await;
    let told = timeout(SOON, frames(&mut deaf)).await.expect("the connection is closed");
    assert!(told.contains(&PING), "{told:?}");
    timeout(AWHILE, watching.message()).await.expect_err("a call of one that answers goes on");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_makes_way_for_a_new_one_and_its_calls_end_first() {
    let age = Duration::from_secs(2);
    let served = Served::start_with(Bounds { age, ..Bounds::default() }).await;
    let friend = served.channel("friend.internal").await.expect("a friend");
    let mut watching = watch(&friend).await.expect("served");
    watching.message().await.expect("the first answer");
    let mut old = by_hand(&served).await;
    let told = timeout(SOON, frames(&mut old)).await.expect("the connection is to end");
    assert!(told.contains(&GOAWAY), "{told:?}");
    timeout(AWHILE, watching.message()).await.expect_err("the call goes on");
    crate::call_again(|| check(&friend)).await.expect("the channel makes another connection");
    served.stop().await;
}
