//! Everybody who must not get in, or not so far: each is refused, logged once with who and what, and counted.
//!
//! Does not own: floods and paths, which have files of their own.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use packhorse_testkit::{CertificateAuthority, Signal, hermetic_command, wait_until};

use super::{PEERS, SOON, Secured, assert_counted, assert_refused_once, refusals, write_coordinator};

#[test]
fn certificates_that_are_not_good_are_refused() {
    let secured = Secured::start();
    let stranger = CertificateAuthority::new();
    stranger.issue("ops.internal").trusting(&secured.authority).write(&secured.site.path("forged"));
    secured.authority.issue_expired("ops.internal").write(&secured.site.path("expired"));
    secured.authority.issue("nobody.internal").write(&secured.site.path("unknown"));
    for certificate in ["forged", "expired", "unknown"] {
        for _ in 0..3 {
            let output = secured.ctl(certificate, ["list"]).run().expect_code(12);
            assert!(output.stderr.contains("next"), "{output:#?}");
        }
        if certificate == "unknown" {
            let what = "/packhorse.v1.CoordinatorService/List";
            assert_refused_once(&secured.coordinator, &["nobody.internal", what, "stranger"]);
        }
    }
    // Both come from one address and fail in the same step, and neither hides the other.
    for cause in ["of another authority", "an expired certificate"] {
        assert_refused_once(&secured.coordinator, &["handshake", "127.0.0.1", cause]);
    }
    assert_eq!(refusals(&secured.coordinator.lines(), &["handshake"]).len(), 2);
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    let [coordinator, _] = secured.stop();
    assert_counted(&coordinator, [("handshake", 6), ("stranger", 3)]);
}

#[test]
fn an_expired_certificate_is_refused_by_its_date() {
    let secured = Secured::start();
    secured.authority.issue_expired("ops.internal").write(&secured.site.path("expired"));
    let output = secured.ctl("expired", ["list"]).run().expect_code(12);
    assert!(output.stderr.to_lowercase().contains("expired"), "{output:#?}");
    assert_refused_once(&secured.coordinator, &["handshake", "xpired"]);
    secured.stop();
}

#[test]
fn an_observer_looks_and_changes_nothing() {
    let secured = Secured::start();
    secured.ctl("ops.internal", ["create", "--backup-id", "0001"]).run().expect_success();
    let looks = [&["list"][..], &["show", "0001"], &["agents"], &["status"], &["status", "--follow", "0001"]];
    for args in looks {
        secured.ctl("watch.internal", []).args(args).run().expect_success();
    }
    for args in [&["create"][..], &["restore", "0001", "--force"], &["cancel", "0001"]] {
        let output = secured.ctl("watch.internal", []).args(args).run().expect_code(12);
        assert!(
            output.stderr.contains("watch.internal") && output.stderr.contains("role operator"),
            "{output:#?}"
        );
    }
    for method in ["Create", "Restore", "Cancel"] {
        let what = format!("/packhorse.v1.CoordinatorService/{method}");
        assert_refused_once(&secured.coordinator, &["watch.internal", &what, "role"]);
    }
    secured.ctl("agent.internal", ["list"]).run().expect_code(12);
    assert_refused_once(&secured.coordinator, &["agent.internal", "CoordinatorService/List", "is agent"]);
    let [coordinator, agent] = secured.stop();
    assert_counted(&coordinator, [("role", 4)]);
    assert!(
        !agent.iter().any(|line| line.contains("refus")),
        "nothing of this came to the agent: {agent:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_coordinator_drives_an_agent() {
    use packhorse_proto::v1::{DescribeRequest, agent_service_client::AgentServiceClient};
    let secured = Secured::start();
    for (name, admitted) in
        [("coordinator.internal", true), ("ops.internal", false), ("agent.internal", false)]
    {
        let channel = secured.channel(&secured.agent_address, name).await;
        let answer = AgentServiceClient::new(channel).describe(DescribeRequest {}).await;
        assert_eq!(answer.is_ok(), admitted, "{name}: {answer:?}");
        if let Err(status) = answer {
            assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");
            assert_refused_once(&secured.agent, &[name, "/packhorse.v1.AgentService/Describe"]);
        }
    }
    let [_, agent] = secured.stop();
    assert_counted(&agent, [("stranger", 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_in_no_table_is_refused() {
    let secured = Secured::start();
    let channel = secured.channel(&secured.address, "ops.internal").await;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("connected");
    let path =
        tonic::codegen::http::uri::PathAndQuery::from_static("/packhorse.v1.CoordinatorService/Destroy");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let status = client.unary(tonic::Request::new(()), path, codec).await.expect_err("there is none");
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");
    assert_refused_once(&secured.coordinator, &["ops.internal", "CoordinatorService/Destroy", "method"]);
    let [coordinator, _] = secured.stop();
    assert_counted(&coordinator, [("method", 1)]);
}

#[test]
fn a_role_that_is_taken_away_is_gone() {
    let secured = Secured::start();
    secured.ctl("ops.internal", ["list"]).run().expect_success();
    write_coordinator(&secured.site, &secured.agent_address, &PEERS[1..]);
    secured.coordinator.signal(Signal::HUP);
    secured.coordinator.wait_for_line("configuration reloaded", SOON);
    secured.ctl("ops.internal", ["list"]).run().expect_code(12);
    assert_refused_once(&secured.coordinator, &["ops.internal", "has no role here"]);
    secured.ctl("watch.internal", ["list"]).run().expect_success();
    secured.stop();
}

#[test]
fn who_speaks_no_tls_is_not_understood() {
    let secured = Secured::start();
    let mut stream = TcpStream::connect(secured.place()).expect("connect");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("write");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP"), "{answer:?}");
    assert_refused_once(&secured.coordinator, &["handshake", "127.0.0.1"]);
    let plain = secured.address.replace("https", "http");
    secured.ctl_at(&plain, "ops.internal").arg("list").run().expect_code(14);
    wait_until("one line for both", SOON, || match refusals(&secured.coordinator.lines(), &["handshake"]) {
        lines if lines.len() == 1 => Ok(()),
        lines => Err(format!("{lines:?}")),
    });
    secured.stop();
}

/// What a client says that has no certificate: openssl's, because none of our programs would try.
fn without_certificate(secured: &Secured, address: &str) -> String {
    let authority = secured.site.write("authority.pem", &secured.authority.certificate());
    let mut client = hermetic_command("openssl");
    client.args(["s_client", "-quiet", "-tls1_3", "-alpn", "h2", "-connect"]);
    client.arg(address.trim_start_matches("https://")).arg("-CAfile").arg(authority);
    let output = client.stdin(Stdio::null()).output().expect("run openssl");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_client_without_a_certificate_is_refused_by_both_daemons() {
    let secured = Secured::start();
    for (daemon, address) in
        [(&secured.coordinator, &secured.address), (&secured.agent, &secured.agent_address)]
    {
        let said = without_certificate(&secured, address);
        assert!(said.contains("alert certificate required"), "{said}");
        assert_refused_once(daemon, &["handshake", "127.0.0.1", "connect without a certificate"]);
    }
    for log in secured.stop() {
        assert_counted(&log, [("handshake", 1)]);
    }
}

#[test]
fn a_coordinator_that_an_agent_refuses_names_that_agent_with_the_code_for_it() {
    let secured = Secured::start();
    let config = secured.site.path("agent.toml");
    let without = std::fs::read_to_string(&config).expect("read configuration");
    std::fs::write(&config, without.replace("san = 'coordinator.internal'", "san = 'other.internal'"))
        .expect("write configuration");
    let secured = secured.restarted();
    let named = format!("agent {}, /packhorse.v1.AgentService/Describe", secured.agent_address);
    let agents = secured.ctl("ops.internal", ["agents"]).run().expect_code(12);
    assert!(agents.stdout.contains("has no role here") && agents.stdout.contains(&named), "{agents:#?}");
    let created = secured.ctl("ops.internal", ["create"]).run().expect_code(12);
    assert!(created.stderr.contains("has no role here") && created.stderr.contains(&named), "{created:#?}");
    secured.stop();
}
