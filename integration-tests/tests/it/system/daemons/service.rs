//! Daemons in good health: their work, their health checks, and where they refuse to listen.
//!
//! Does not own: failures. A daemon that has done its work has nothing in its log that asks for attention.

use packhorse_model::Subject;
use packhorse_service::{Address, connect};
use packhorse_testkit::{Binary, Daemon};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{
    super::site::{Site, assert_restored, json, listed, text},
    Fleet, SOON, STORAGES,
};

#[test]
fn agents_back_up_their_storages_and_restore_into_others() {
    let fleet = Fleet::start();
    let states = fleet.states();
    let summary = json(&fleet.ctl(["create", "--json", "--backup-id", "0001"]).run().expect_success());
    assert_eq!(summary["storages"].as_array().map(Vec::len), Some(4), "{summary:#}");
    fleet.change();
    let changed = fleet.states();
    fleet.ctl(["create", "--backup-id", "0002", "--storage", "second"]).run().expect_success();
    assert_eq!(listed(fleet.ctl([])), ["0002", "0001"]);
    let shown = json(&fleet.ctl(["show", "0002", "--json", "--storage", "second"]).run().expect_success());
    assert_eq!(text(&shown["storages"][0]["repositories"][0]["path"]), "app.git");

    fleet.assert_restores("0001", &states);
    // The backup holds the spare storages too, and two of its storages cannot become one.
    let into_one = ["restore", "0001", "--storage=default-spare", "--to-storage=default=default-spare"];
    let output = fleet.ctl(into_one).run().expect_code(2);
    assert!(output.stderr.contains("default-spare"), "{output:#?}");
    // Into a storage of the other agent, by way of the vault alone.
    let across = ["restore", "0002", "--storage", "second", "--to-storage", "second=default-spare"];
    fleet.ctl(across).run().expect_success();
    assert_restored(&changed[1], fleet.site.path("default-spare/app.git"));
    std::fs::remove_dir_all(fleet.site.path(STORAGES[0][0]).join("app.git")).expect("lose a repository");
    fleet.ctl(["restore", "0001", "--storage", "default"]).run().expect_success();
    assert_restored(&states[0], fleet.site.path("default/app.git"));
    assert_eq!(changed[1], fleet.repo(1).state(), "another storage was touched");
    fleet.stop(&["two storages of the backup would be restored into it"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_over_grpc() {
    let fleet = Fleet::start();
    let coordinator = format!("unix://{}", fleet.site.path("coordinator.sock").display());
    let [first, second] = fleet.addresses.clone();
    for (address, service) in [
        (coordinator, "packhorse.v1.CoordinatorService"),
        (first, "packhorse.v1.AgentService"),
        (second, "packhorse.v1.AgentService"),
    ] {
        let address: Address = address.parse().expect("valid address");
        let channel = connect(&address, Subject::Agent, None).await.expect("the daemon listens");
        for service in ["", service] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = HealthClient::new(channel.clone()).check(request).await;
            let status = answer.expect("the daemon answers").into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{service}");
        }
        let unknown = HealthCheckRequest { service: "packhorse.v1.Nothing".to_owned() };
        HealthClient::new(channel).check(unknown).await.expect_err("an unknown service is not serving");
    }
    fleet.stop(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_the_services_and_describes_them() {
    let fleet = Fleet::start();
    let coordinator = format!("unix://{}", fleet.site.path("coordinator.sock").display());
    for (address, service) in [
        (coordinator, "packhorse.v1.CoordinatorService"),
        (fleet.addresses[0].clone(), "packhorse.v1.AgentService"),
    ] {
        let address: Address = address.parse().expect("valid address");
        let channel = connect(&address, Subject::Agent, None).await.expect("the daemon listens");
        let asked = [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol(service.to_owned()),
            MessageRequest::FileContainingSymbol("packhorse.v1.Nothing".to_owned()),
        ];
        let requests = asked
            .map(|message| ServerReflectionRequest { host: String::new(), message_request: Some(message) });
        let mut client = ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(tokio_stream::iter(requests)).await;
        let mut answers = answers.expect("the daemon answers").into_inner();
        let mut next = async || answers.message().await.map(|answer| answer.and_then(|a| a.message_response));
        let Ok(Some(MessageResponse::ListServicesResponse(list))) = next().await else { panic!("no list") };
        let mut names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["grpc.health.v1.Health", service],
            "what is served, and nothing of the other daemon"
        );
        let Ok(Some(MessageResponse::FileDescriptorResponse(file))) = next().await else { panic!("no file") };
        assert!(!file.file_descriptor_proto.is_empty());
        next().await.expect_err("there is no such symbol");
    }
    fleet.stop(&[]);
}

#[test]
fn nothing_but_loopback_is_listened_on() {
    let site = Site::new();
    let storage = site.storage_section("default", "storage");
    for listen in ["http://0.0.0.0:0", "http://192.0.2.1:7443", "http://[::]:0", "https://127.0.0.1:1"] {
        for (binary, section) in [(Binary::Agent, "agent_service"), (Binary::Coordinator, "coordinator")] {
            let config =
                format!("[vault]\nurl = '{}'\n[{section}]\nlisten = '{listen}'\n{storage}", site.vault_url());
            let config = site.write("packhorse.toml", &config);
            let mut daemon = Daemon::spawn(binary, ["--config".as_ref(), config.as_os_str()]);
            assert_eq!(daemon.wait(SOON), 2, "{listen}");
            let line = daemon.wait_for_line("ERROR", SOON);
            assert!(line.contains(listen), "{line}");
        }
    }
}

#[test]
fn a_second_daemon_does_not_take_the_socket_of_a_living_one() {
    let mut fleet = Fleet::start();
    let config = fleet.site.path("coordinator.toml");
    let mut second = Daemon::spawn(Binary::Coordinator, ["--config".as_ref(), config.as_os_str()]);
    assert_eq!(second.wait(SOON), 1);
    second.wait_for_line("another process listens there", SOON);
    fleet.ctl(["agents"]).run().expect_success();

    // One that was killed leaves its socket, which the next one takes.
    fleet.coordinator().kill();
    fleet.coordinator = Some(fleet.daemon(Binary::Coordinator, "coordinator", "coordinator ready"));
    fleet.ctl(["agents"]).run().expect_success();
    fleet.stop(&[]);
}
