//! Stopping: health first, then the work, then the process; a second signal ends it at once.
//!
//! Does not own: what becomes of the run of an agent that stops, or of a coordinator whose grace is over (`daemons`).

use packhorse_model::Subject;
use packhorse_service::{Address, connect};
use packhorse_testkit::{Binary, Daemon, GitRepo, Signal};
use tonic::Streaming;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use super::{super::site::listed, Host, SOON};

/// A host with a backup, and a run that is held in the middle.
fn held() -> (Host, Daemon) {
    let host = Host::start();
    host.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    GitRepo::open(host.site.path("default/app.git")).fill("main", GitRepo::COMMITS_FOR_GIT);
    host.gate.close();
    let run = host.ctl(["create", "--backup-id", "0002"]).spawn();
    host.gate.wait_until_reached();
    (host, run)
}

/// Watches the health of a daemon's service.
async fn watch(host: &Host, socket: &str, service: &str) -> Streaming<HealthCheckResponse> {
    let address = format!("unix://{}", host.site.path(socket).display());
    let address: Address = address.parse().expect("valid address");
    let channel = connect(&address, Subject::Agent, None).await.expect("the daemon listens");
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel).watch(request).await.expect("the daemon answers").into_inner()
}

#[track_caller]
fn assert_told(told: Result<Option<HealthCheckResponse>, tonic::Status>, expected: ServingStatus) {
    assert_eq!(told.expect("health is told").expect("one more").status(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_before_the_end_and_a_second_signal_ends_at_once() {
    let (mut host, mut run) = held();
    let mut health = watch(&host, "agent.sock", "packhorse.v1.AgentService").await;
    assert_told(health.message().await, ServingStatus::Serving);
    host.agent().signal(Signal::TERM);
    assert_told(health.message().await, ServingStatus::NotServing);
    // Whoever still listens keeps the agent for some seconds more.
    host.agent().signal(Signal::TERM);
    assert_eq!(host.agent().wait(SOON), 143, "{:#?}", host.agent().lines());
    host.gate.open();
    assert_ne!(run.wait(SOON), 0, "its agent is gone");
    host.agent = None;
    host.stop(&["run or restore ended without success", "agent lost, trying again"]);
}

/// A held run, and a coordinator that is asked to stop and waits for it.
async fn draining() -> (Host, Daemon) {
    let (mut host, run) = held();
    let config = std::fs::read_to_string(host.site.path("coordinator.toml")).expect("configuration");
    let patience = "agent_patience = '1s'";
    host.replace("coordinator.toml", &config.replace(patience, &format!("{patience}\ngrace = '60s'")));
    host.coordinator().signal(Signal::HUP);
    host.coordinator().wait_for_line("configuration reloaded", SOON);
    let mut health = watch(&host, "coordinator.sock", "packhorse.v1.CoordinatorService").await;
    assert_told(health.message().await, ServingStatus::Serving);
    host.coordinator().signal(Signal::TERM);
    assert_told(health.message().await, ServingStatus::NotServing);
    host.coordinator().wait_for_line("stopping within 60s", SOON);
    (host, run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_is_stopped_takes_no_run_and_lets_the_one_at_hand_end() {
    let (mut host, mut run) = draining().await;
    let refused = host.ctl(["create"]).run().expect_code(14);
    assert!(refused.stderr.contains("the coordinator is stopping"), "{refused:?}");
    assert_eq!(host.coordinator().ended(), None, "it waits for the run");
    host.gate.open();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    assert_eq!(host.coordinator().wait(SOON), 0, "{:#?}", host.coordinator().lines());
    assert!(!run.lines().iter().any(|line| line.contains("coordinator lost")), "{:#?}", run.lines());
    host.coordinator().assert_no_complaints(&[]);
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    assert_eq!(listed(host.ctl([])), ["0002", "0001"]);
    host.stop(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_coordinator_at_once_and_the_next_one_resumes_its_run() {
    let (mut host, mut run) = draining().await;
    host.coordinator().signal(Signal::TERM);
    assert_eq!(host.coordinator().wait(SOON), 143, "{:#?}", host.coordinator().lines());
    assert_eq!(run.ended(), None, "its caller looks for the coordinator");
    host.coordinator = Some(host.daemon(Binary::Coordinator));
    host.coordinator().wait_for_line("resuming run", SOON);
    host.gate.open();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    assert_eq!(listed(host.ctl([])), ["0002", "0001"]);
    host.stop(&[]);
}
