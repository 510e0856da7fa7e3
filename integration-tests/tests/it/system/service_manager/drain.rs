//! Stopping: health first, then the work, then the process; a second signal ends it at once.
//!
//! Does not own: what becomes of the run of an agent that stops (`daemons`).

use packhorse_model::Subject;
use packhorse_service::{Address, connect};
use packhorse_testkit::Signal;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Host, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_before_the_end_and_a_second_signal_ends_at_once() {
    let mut host = Host::start();
    host.ctl(["create"]).run().expect_success();
    packhorse_testkit::GitRepo::open(host.site.path("default/app.git")).fill("main", 1);
    host.gate.close();
    let mut run = host.ctl(["create"]).spawn();
    host.gate.wait_until_reached();

    let address = format!("unix://{}", host.site.path("agent.sock").display());
    let address: Address = address.parse().expect("valid address");
    let channel = connect(&address, Subject::Agent, None).await.expect("the agent listens");
    let request = HealthCheckRequest { service: "packhorse.v1.AgentService".to_owned() };
    let mut health = HealthClient::new(channel).watch(request).await.expect("the agent answers").into_inner();
    for expected in [ServingStatus::Serving, ServingStatus::NotServing] {
        let told = health.message().await.expect("health is told").expect("one more");
        assert_eq!(told.status(), expected);
        if expected == ServingStatus::Serving {
            host.agent().signal(Signal::TERM);
        }
    }
    // Whoever still listens keeps the agent for some seconds more.
    host.agent().signal(Signal::TERM);
    assert_eq!(host.agent().wait(SOON), 143, "{:#?}", host.agent().lines());
    host.gate.open();
    assert_ne!(run.wait(SOON), 0, "its agent is gone");
    host.agent = None;
    host.stop(&["agent lost, trying again", "run or restore ended without success"]);
}
