//! The standard health service of gRPC, which says that a process is stopping before it stops.
//!
//! Does not own: readiness for a certain job. Serving from the start to the first signal, not serving from then on, also
//! under the empty name that stands for the whole process.

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::health_reporter,
};

/// The health of the service `S` and of its process until `stopping` is cancelled.
pub async fn health<S: NamedService>(
    stopping: CancellationToken,
    tracker: &TaskTracker,
) -> HealthServer<impl Health> {
    let (reporter, service) = health_reporter();
    reporter.set_serving::<S>().await;
    tracker.spawn(async move {
        stopping.cancelled().await;
        reporter.set_not_serving::<S>().await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
    });
    service
}
