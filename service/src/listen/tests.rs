//! Handshakes with a listener of this process, by clients that no program of ours would be; `bounds` has what it gives
//! to those that it knows.

mod bounds;

use std::{sync::Arc, time::Duration};

use packhorse_model::{ErrorKind, Subject};
use packhorse_testkit::CertificateAuthority;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::TlsConnector;
use tonic::Status;

use super::*;
use crate::{
    access::{Peers, Reason},
    config::TlsSection,
    connect,
};

struct Served {
    authority: CertificateAuthority,
    folder: TempDir,
    address: Address,
    access: Access,
    stop: CancellationToken,
    task: tokio::task::JoinSet<Result<(), Problem>>,
}

fn section(folder: &std::path::Path) -> TlsSection {
    let [certificate, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| folder.join(name));
    TlsSection { certificate, key, ca }
}

impl Served {
    async fn start() -> Self {
        Self::start_with(Bounds::default()).await
    }

    /// Serves health, which never ends for a call that watches it.
    async fn start_with(bounds: Bounds) -> Self {
        let (authority, folder) = (CertificateAuthority::new(), tempfile::tempdir().expect("folder"));
        authority.issue("server.internal").write(folder.path());
        let tls = Tls::open(&section(folder.path())).expect("good files");
        let peer = toml::from_str("san = 'friend.internal'\nrole = 'operator'").expect("valid");
        let peers = Peers::from_config(&[peer]).expect("known");
        let answer = |problem: &Problem| Status::permission_denied(problem.to_string());
        let access = Access::new(Subject::Coordinator, peers, &[], answer);
        let address = "https://127.0.0.1:0".parse().expect("valid");
        let mut listener = Listener::bind(&address, Some(&tls), access.clone()).await.expect("bound");
        listener.bounds = bounds;
        let (address, stop) = (listener.address().clone(), CancellationToken::new());
        let mut task = tokio::task::JoinSet::new();
        let health = tonic_health::server::health_reporter().1;
        task.spawn(listener.serve(Routes::new(health), stop.clone()));
        Self { authority, folder, address, access, stop, task }
    }

    async fn stream(&self) -> TcpStream {
        let Address::Tls { host, port } = &self.address else { panic!("{} has no TLS", self.address) };
        TcpStream::connect((host.as_str(), *port)).await.expect("connect")
    }

    /// A channel with a new certificate for `name`.
    async fn channel(&self, name: &str) -> Result<tonic::transport::Channel, Problem> {
        let folder = self.folder.path().join(name);
        self.authority.issue(name).write(&folder);
        let tls = Tls::open(&section(&folder)).expect("good files");
        connect(&self.address, Subject::Coordinator, Some(&tls)).await
    }

    async fn counted(&self, reason: Reason) -> u64 {
        tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                if let Some(count) = self.access.refusals().counts().get(&reason) {
                    return *count;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it is counted")
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.task.join_next().await.expect("a task").expect("no panic").expect("served");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_certificate_is_refused() {
    let served = Served::start().await;
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(served.authority.certificate().as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connected = TlsConnector::from(Arc::new(config)).connect(name, served.stream().await).await;
    let mut stream = connected.expect("the client is through before it is judged");
    stream.read_u8().await.expect_err("the server closes");
    assert_eq!(served.counted(Reason::Handshake).await, 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_says_which_side_refused_the_other() {
    let served = Served::start().await;
    let (mine, other) = (served.folder.path().join("mine"), CertificateAuthority::new());
    for (certificate, refused, answer) in [
        (served.authority.issue("friend.internal"), false, ""),
        (other.issue("friend.internal").trusting(&served.authority), true, "our certificate"),
        (other.issue("friend.internal"), true, "its certificate"),
        (served.authority.issue_expired("friend.internal"), true, "our certificate"),
    ] {
        certificate.write(&mine);
        let tls = Tls::open(&section(&mine)).expect("good files");
        let connected = connect(&served.address, Subject::Coordinator, Some(&tls)).await;
        assert_eq!(connected.is_err(), refused, "{connected:?}");
        if let Err(problem) = connected {
            assert_eq!(problem.kind, ErrorKind::Denied, "{problem}");
            assert!(problem.next.as_deref().unwrap_or_default().contains(answer), "{problem:?}");
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_certificates_nothing_is_bound_or_reached() {
    let address: Address = "https://127.0.0.1:0".parse().expect("valid");
    let answer = |problem: &Problem| Status::permission_denied(problem.to_string());
    let access = Access::new(Subject::Agent, Peers::own(), &[], answer);
    let Err(problem) = Listener::bind(&address, None, access).await else { panic!("it was bound") };
    assert_eq!(problem.kind, ErrorKind::Invalid);
    let problem = connect(&address, Subject::Agent, None).await.expect_err("no certificate to show");
    assert!(problem.next.unwrap_or_default().contains("[tls]"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_cut_off() {
    let (mut theirs, ours) = tokio::net::UnixStream::pair().expect("a pair of sockets");
    let (refusals, room) = (crate::access::Refusals::default(), Arc::new(tokio::sync::Semaphore::new(1)));
    let permit = room.try_acquire_owned().expect("room");
    let who = crate::access::Who::Local { uid: 1, gid: 1 };
    let mut connection = Connection::new(connection::Io::Unix(ours), who, refusals.clone(), permit);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, b"PRI * HTTP/2.0").await.expect("write");
    connection.read_exact(&mut [0; 14]).await.expect("what was sent");
    let error = connection.read_u8().await.expect_err("nothing more comes");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(refusals.counts().get(&Reason::Slow), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_calls_is_closed_when_it_is_next_heard_of() {
    let (mut theirs, ours) = tokio::net::UnixStream::pair().expect("a pair of sockets");
    let (refusals, room) = (crate::access::Refusals::default(), Arc::new(tokio::sync::Semaphore::new(1)));
    let permit = Arc::clone(&room).try_acquire_owned().expect("room");
    let mut connection =
        Connection::new(connection::Io::Unix(ours), crate::access::Who::Loopback, refusals.clone(), permit);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, &[b'x'; 24]).await.expect("write");
    connection.read_exact(&mut [0; 24]).await.expect("it began in time");
    tokio::time::advance(Duration::from_secs(599)).await;
    tokio::io::AsyncWriteExt::write_all(&mut theirs, b"ping").await.expect("write");
    connection.read_exact(&mut [0; 4]).await.expect("not yet idle for long");
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::io::AsyncWriteExt::write_all(&mut theirs, b"ping").await.expect("write");
    assert_eq!(connection.read(&mut [0; 4]).await.expect("the end"), 0, "as if it had hung up");
    assert!(refusals.counts().is_empty(), "an idle caller did nothing wrong");
    drop(connection);
    assert_eq!(room.available_permits(), 1);
}
